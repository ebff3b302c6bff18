/** The path of PUBLIC_URL, which the server writes into the page: every link and every request begins with it. */
export const PATH = saidOf('latchkey-path') ?? ''

/** Whether Latchkey makes tokens for apps. With ALGORITHM=HS256 it does not, and has no routes for them. */
export const HAS_APPS = saidOf('latchkey-apps') === 'on'

/** What the server wrote into the page. */
function saidOf(name: string): string | undefined {
  return document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content
}

/** Where the console is. */
export const CONSOLE = `${PATH}/console`

/** Where the API answers to this page. Commands that are copied name it too. */
export const API_URL = `${location.origin}${PATH}`

/** How long after "back" a page may take to be drawn. */
const BACK_MS = 500
let wentBackAt = Number.NEGATIVE_INFINITY
addEventListener('popstate', () => {
  wentBackAt = performance.now()
})

/** Whether the person went back: the browser then scrolls to where they were. */
export const isGoingBack = (): boolean => performance.now() - wentBackAt < BACK_MS
