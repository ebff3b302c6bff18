import { type Answer, type Call, call } from './client.ts'
import type { TestService } from './service.ts'

/** What a browser sends with a request of a page of our own origin. */
export const OWN = { 'sec-fetch-site': 'same-origin' }

/** The pages, and what they load: every route that stands in no document but answers to browsers. */
export const PAGES = [
  'GET /.well-known/change-password',
  'GET /console',
  'GET /console/*',
  'GET /logged-out',
  'GET /oauth/logout',
  'GET /login',
  'GET /login/enrol',
  'GET /login/verify',
  'GET /pages/page.js',
  'GET /pages/style.css',
  'GET /portal',
  'GET /portal/assets/*',
  'GET /forgot-password',
  'GET /reset-password',
  'GET /setup',
  'GET /signup',
  'GET /verify-email',
  'GET /device',
  'GET /device/answer',
  'GET /oauth/authorize',
  'POST /device',
  'POST /device/answer',
  'POST /login',
  'POST /login/enrol',
  'POST /login/verify',
  'POST /forgot-password',
  'POST /logout',
  'POST /oauth/logout',
  'POST /oauth/authorize',
  'POST /oauth/consent',
  'POST /reset-password',
  'POST /setup',
  'POST /signup',
  'POST /verify-email',
]

/** Asks as a page of our own origin does; follows no redirect. */
export function ask(service: Pick<TestService, 'url'>, route: string, options: Call = {}): Promise<Answer> {
  return call(service, route, { ...options, headers: { ...OWN, ...options.headers } })
}

/** The cookie that an answer sets, as a browser sends it back; null where it sets none. */
export const cookieOf = ({ headers }: Pick<Answer, 'headers'>): string | null =>
  headers.get('set-cookie')?.split(';')[0] ?? null

/** Signs a person in as a browser does; gives the `Cookie` header. */
export async function signIn(
  service: Pick<TestService, 'url'>,
  { email, password }: { email: string; password: string },
  more: { remember?: boolean; headers?: Record<string, string> } = {},
): Promise<{ cookie: string }> {
  const { headers = {}, ...remember } = more
  const answer = await ask(service, 'POST /session', { json: { email, password, ...remember }, headers })
  const cookie = cookieOf(answer)
  if (answer.status !== 204 || cookie === null)
    throw new Error(`POST /session: ${answer.status} ${answer.text}`)
  return { cookie }
}
