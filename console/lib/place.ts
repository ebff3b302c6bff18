/** The path of PUBLIC_URL, which the server writes into the page: every link and every request begins with it. */
export const PATH = document.querySelector<HTMLMetaElement>('meta[name="latchkey-path"]')?.content ?? ''

/** Where the console is. */
export const CONSOLE = `${PATH}/console`

/** Where the API answers to this page. Commands that are copied name it too. */
export const API_URL = `${location.origin}${PATH}`
