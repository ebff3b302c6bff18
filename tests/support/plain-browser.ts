import { OWN } from './browser.ts'

/** A page as a person sees it, with its forms. `status` 0: an address outside of this machine, which is not opened. */
export type Page = { url: URL; status: number; headers: Headers; text: string; forms: Form[] }
/** A form with the values that it has so far. `buttons`: the names of those that say something. */
type Form = { action: URL; method: string; fields: [name: string, value: string][]; buttons: string[] }

/** Goes on where answers and pages send a browser, keeps cookies, and sends forms. It runs no script. */
export type PlainBrowser = {
  open(to: URL | string): Promise<Page>
  /** Sends a form with the values that it has, but for these. */
  send(form: Form, values?: Record<string, string>): Promise<Page>
}

const MOST_STEPS = 20
const HERE = ['127.0.0.1', 'localhost']

export function newPlainBrowser(): PlainBrowser {
  const cookies = new Map<string, Bun.Cookie>()

  const cookiesFor = ({ hostname, pathname }: URL) =>
    [...cookies.entries()]
      .filter(([key, cookie]) => key.startsWith(`${hostname} `) && pathname.startsWith(cookie.path))
      .map(([, { name, value }]) => `${name}=${value}`)
      .join('; ')

  async function go(to: URL, method = 'GET', body: string | null = null, steps = 0): Promise<Page> {
    if (steps > MOST_STEPS) throw new Error(`Sent on and on, at last to ${to}`)
    if (!HERE.includes(to.hostname))
      return { url: to, status: 0, headers: new Headers(), text: '', forms: [] }
    const headers = new Headers({ accept: 'text/html', cookie: cookiesFor(to) })
    if (body !== null) {
      headers.set('content-type', 'application/x-www-form-urlencoded')
      headers.set('origin', to.origin)
      for (const [name, value] of Object.entries(OWN)) headers.set(name, value)
    }
    const answer = await fetch(to, { method, headers, body, redirect: 'manual' })
    for (const line of answer.headers.getSetCookie()) {
      const cookie = Bun.Cookie.parse(line)
      const key = `${to.hostname} ${cookie.path} ${cookie.name}`
      if (cookie.isExpired() || cookie.value === '') cookies.delete(key)
      else cookies.set(key, cookie)
    }
    const text = await answer.text()
    const location = answer.headers.get('location')
    if (location !== null) return go(new URL(location, to), 'GET', null, steps + 1)
    const { forms, onward } = readPage(text, to)
    if (onward) return go(onward, 'GET', null, steps + 1)
    return { url: to, status: answer.status, headers: answer.headers, text, forms }
  }

  return {
    open: (to) => go(new URL(to)),
    send({ action, method, fields }, values = {}) {
      const kept = fields.filter(([name]) => !Object.hasOwn(values, name))
      const all = new URLSearchParams([...kept, ...Object.entries(values)]).toString()
      if (method === 'POST') return go(action, 'POST', all)
      return go(new URL(`?${all}`, action))
    },
  }
}

/** The forms of a page, and where it goes on by itself. */
function readPage(text: string, at: URL): { forms: Form[]; onward: URL | null } {
  const forms: Form[] = []
  let onward: URL | null = null
  new HTMLRewriter()
    .on('meta[http-equiv="refresh"]', {
      element(meta) {
        const [, to] = /url=(.*)/.exec(meta.getAttribute('content') ?? '') ?? []
        if (to !== undefined) onward = new URL(to.replaceAll('&amp;', '&'), at)
      },
    })
    .on('form', {
      element(form) {
        const action = new URL((form.getAttribute('action') ?? '').replaceAll('&amp;', '&'), at)
        const method = (form.getAttribute('method') ?? 'get').toUpperCase()
        forms.push({ action, method, fields: [], buttons: [] })
      },
    })
    .on('form input, form button', {
      element(control) {
        const [name, type] = [control.getAttribute('name'), control.getAttribute('type')]
        const form = forms.at(-1)
        if (!form || name === null || control.hasAttribute('disabled')) return
        if (control.tagName === 'button' || type === 'submit') form.buttons.push(name)
        else if (!['checkbox', 'radio'].includes(type ?? '') || control.hasAttribute('checked'))
          form.fields.push([name, (control.getAttribute('value') ?? '').replaceAll('&amp;', '&')])
      },
    })
    .transform(text)
  return { forms, onward }
}

/** The form of a page that has all of these fields or buttons. */
export const formWith = ({ forms }: Page, ...names: string[]): Form | undefined =>
  forms.find(({ fields, buttons }) =>
    names.every((name) => buttons.includes(name) || fields.some(([field]) => field === name)),
  )

/**
 * Goes through Latchkey's pages as a person does: signs in where a page asks for it, sends the code of a device that a
 * link filled in, and answers what is asked.
 * @returns where that leads
 */
export async function allowByForms(
  browser: PlainBrowser,
  to: URL | string,
  { email, password }: { email: string; password: string },
  decision: 'allow' | 'cancel' = 'allow',
): Promise<Page> {
  let page = await browser.open(to)
  const login = formWith(page, 'email', 'password')
  if (login) page = await browser.send(login, { email, password })
  const code = formWith(page, 'user_code')
  if (code) page = await browser.send(code)
  const consent = formWith(page, 'request', 'decision')
  return consent ? browser.send(consent, { decision }) : page
}
