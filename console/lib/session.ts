import { CONSOLE, PATH } from './place.ts'
import { asRefusal, Refusal, refusalOf } from './refusal.ts'
import { createStore } from './store.ts'

/**
 * The browser session, whose credential is a cookie that no script sees. Its access token, for five minutes, is in memory
 * alone (console.md, section 1.2).
 */
let token: { value: string; endsAt: number } | null = null
let asking: Promise<string> | null = null

/** How long a person may be still before the console asks for no further token, so that the session can run idle. */
const IDLE_MS = 5 * 60_000
const ACTIVE = ['pointerdown', 'keydown', 'wheel', 'touchstart'] as const
/** A token that is about to end is not begun with. */
const MARGIN_MS = 10_000

let lastActive = Date.now()
const listeners = new Set<() => void>()
for (const name of ACTIVE) {
  addEventListener(
    name,
    () => {
      const wasIdle = isIdle()
      lastActive = Date.now()
      if (wasIdle) for (const listener of listeners) listener()
    },
    { capture: true, passive: true },
  )
}

/** Whether the person has done nothing for five minutes. */
const isIdle = (): boolean => Date.now() - lastActive > IDLE_MS

/** Calls back when the person is there again after five minutes. */
export const onReturn = (listener: () => void) => listeners.add(listener)

/** What is asked of the person in place, over whatever page is open; null: nothing. */
type Question = {
  kind: 'sign-in' | 'prove'
  answered(): void
  refused(refusal: Refusal): void
}
export const question = createStore<Question | null>(null)
let answer: Promise<void> | null = null

/** Asks the person; requests that wait for the same answer share it. */
export function askInPlace(kind: Question['kind']): Promise<void> {
  answer ??= new Promise<void>((answered, refused) => question.set({ kind, answered, refused })).finally(
    () => {
      answer = null
      question.set(null)
    },
  )
  return answer
}

/** Sends a request of the console itself, with the cookie. */
export async function post(
  path: string,
  body?: object,
  { method = 'POST', bearer }: { method?: string; bearer?: string } = {},
): Promise<unknown> {
  const headers = new Headers()
  if (body) headers.set('content-type', 'application/json')
  if (bearer !== undefined) headers.set('authorization', `Bearer ${bearer}`)
  const init = { method, headers, ...(body && { body: JSON.stringify(body) }) }
  const response = await fetch(`${PATH}${path}`, init).catch((error: unknown) => {
    throw asRefusal(error)
  })
  const text = await response.text()
  const value: unknown = text === '' ? null : await parse(text)
  if (!response.ok) throw refusalOf(response.status, value)
  return value
}

const parse = async (text: string): Promise<unknown> => {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

type Issued = { access_token: string; expires_in: number }

/** Takes a token that an answer gave, in place of the present one. */
export function takeToken(issued: Issued): string {
  token = { value: issued.access_token, endsAt: Date.now() + issued.expires_in * 1000 }
  return token.value
}

/** Forgets the token: the API does not take it any more. */
export function dropToken(): void {
  token = null
}

/**
 * An access token. Asks the person to sign in where the session has ended.
 * @throws Refusal idle, where the person has been away for five minutes
 */
export async function getToken(): Promise<string> {
  if (token && token.endsAt - MARGIN_MS > Date.now()) return token.value
  if (isIdle()) throw new Refusal(0, 'idle', '')
  asking ??= requestToken().finally(() => {
    asking = null
  })
  return asking
}

async function requestToken(): Promise<string> {
  for (;;) {
    try {
      return takeToken((await post('/session/token')) as Issued)
    } catch (error) {
      const refusal = asRefusal(error)
      if (refusal.status !== 401) throw refusal
      if (token === null && !hasBegun) return goToSignIn()
      await askInPlace('sign-in')
    }
  }
}

/** Whether this page has shown anything yet that would be lost by leaving. */
let hasBegun = false
export const begin = () => {
  hasBegun = true
}

/** The sign-in page, and back to where the person wanted to go. Never resolves: the page is left. */
function goToSignIn(): Promise<never> {
  const here = location.pathname + location.search
  location.assign(`${PATH}/login?return_to=${encodeURIComponent(here)}`)
  return new Promise(() => {})
}

const channel = new BroadcastChannel(`latchkey-console:${CONSOLE}`)
channel.onmessage = ({ data }) => {
  if (data === 'signed-out') leave()
}

function leave(): void {
  dropToken()
  isLeaving = true
  location.replace(`${PATH}/logged-out`)
}

/** Whether the console is being left on purpose: then no unsaved form may hold the page. */
let isLeaving = false
export const mayLeave = (): boolean => isLeaving

/** Ends the browser session, here and in every other tab. */
export async function signOut(): Promise<void> {
  await post('/session', undefined, { method: 'DELETE' })
  leaveSignedOut()
}

/** Leaves in every tab, where the session has ended already. */
export function leaveSignedOut(): void {
  channel.postMessage('signed-out')
  leave()
}
