import { API_URL } from '../lib/place.ts'
import { asRefusal, type Refusal, refusalOf } from '../lib/refusal.ts'
import { createStore } from '../lib/store.ts'

export type Power = 'read' | 'create' | 'rotate' | 'revoke'

/** What a link was exchanged for. */
export type Access = {
  access_token: string
  owner: { type: 'user' | 'service_account'; id: string; label: string | null }
  scopes: readonly string[]
  may: readonly Power[]
  return_url: string | null
  name: string
}

/** A session that is open, until when, and the link that opened it, which is used up. */
type Open = { kind: 'open'; access: Access; endsAt: number; link: string }
type State =
  | { kind: 'none' }
  /** `error`: why the last try to exchange it failed. */
  | { kind: 'link'; link: string; isOpening: boolean; error: Refusal | null }
  | { kind: 'dead' }
  | Open
  | { kind: 'over'; returnUrl: string | null }

const STORED = 'latchkey-portal'
const LINK = /^#(pl_[0-9A-Za-z]{1,100})$/
const isFramed = window.self !== window.top

/** The session of this tab. Its bearer is in memory and, where the browser allows it, in the storage of the tab. */
export const session = createStore<State>({ kind: 'none' })

/** Takes the token out of the address bar, where a picture of the screen or the history would keep it. */
function takeLink(): string | null {
  const link = LINK.exec(location.hash)?.[1] ?? null
  if (location.hash !== '') history.replaceState(history.state, '', location.pathname + location.search)
  return link
}

function begin(): void {
  const link = takeLink()
  const stored = load()
  // The same link again, as a frame that is drawn anew has it: the session that it opened goes on.
  if (stored && (link === null || stored.link === link)) {
    open(stored)
    return
  }
  if (link === null) return
  // A new link may be another customer's: nothing leads back to the customer before, also where the link is dead.
  store(null)
  session.set({ kind: 'link', link, isOpening: false, error: null })
  // In a frame the product has asked for it; a link in a mail may be opened by a scanner, and then waits for a click.
  if (isFramed) void exchange()
}

/** Exchanges the link for the session. */
export async function exchange(): Promise<void> {
  const state = session.get()
  if (state.kind !== 'link' || state.isOpening) return
  const { link } = state
  session.set({ kind: 'link', link, isOpening: true, error: null })
  try {
    const answer = (await send('POST', '/portal/exchange', { token: link })) as Access & {
      expires_in: number
    }
    open({ kind: 'open', access: answer, endsAt: Date.now() + answer.expires_in * 1000, link })
  } catch (error) {
    const refusal = asRefusal(error)
    if (refusal.status === 401) session.set({ kind: 'dead' })
    else session.set({ kind: 'link', link, isOpening: false, error: refusal })
  }
}

let timer: ReturnType<typeof setTimeout> | undefined

function open(opened: Open): void {
  store(opened)
  session.set(opened)
  clearTimeout(timer)
  timer = setTimeout(close, opened.endsAt - Date.now())
}

/** Forgets a session that is over. */
export function close(): void {
  const state = session.get()
  if (state.kind !== 'open') return
  clearTimeout(timer)
  store(null)
  session.set({ kind: 'over', returnUrl: state.access.return_url })
}

/** Ends the session. Where the service is out of reach, it ends by itself soon. */
export async function signOut(): Promise<void> {
  const state = session.get()
  if (state.kind !== 'open') return
  const { access_token } = state.access
  close()
  await send('DELETE', '/portal/session', undefined, access_token).catch(() => {})
}

async function send(method: string, path: string, body?: object, bearer?: string): Promise<unknown> {
  const headers = new Headers()
  if (body) headers.set('content-type', 'application/json')
  if (bearer !== undefined) headers.set('authorization', `Bearer ${bearer}`)
  // No cookie goes along: this page knows nothing of who is signed in to Latchkey itself.
  const init = { method, headers, credentials: 'omit', ...(body && { body: JSON.stringify(body) }) } as const
  const response = await fetch(`${API_URL}${path}`, init)
  const value: unknown = await response.json().catch(() => null)
  if (!response.ok) throw refusalOf(response.status, value)
  return value
}

/** In a frame of another site some browsers refuse to store anything: then memory alone has the session. */
function store(opened: Open | null): void {
  try {
    if (opened) sessionStorage.setItem(STORED, JSON.stringify(opened))
    else sessionStorage.removeItem(STORED)
  } catch {}
}

function load(): Open | null {
  try {
    const opened = JSON.parse(sessionStorage.getItem(STORED) ?? 'null') as Open | null
    return opened && opened.endsAt > Date.now() ? opened : null
  } catch {
    return null
  }
}

begin()
// A new link that is pasted into the same tab loads no new page.
addEventListener('hashchange', begin)
