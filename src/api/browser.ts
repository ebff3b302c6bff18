import { Elysia } from 'elysia'
import type { Context } from '../core/context.ts'
import type { BrowserSession } from '../core/sessions/browser.ts'
import { findBrowserSession } from '../core/sessions/browser.ts'
import { fail } from '../lib/errors.ts'
import { readForm, readJson } from './body.ts'
import { readCookie } from './pages/cookie.ts'
import { requireOwnOrigin } from './pages/own-origin.ts'
import { originOf, type RequestState, stated } from './request-state.ts'

/** The body that a route for browsers takes; `none`: what comes along is not read. */
export type BrowserBody = 'form' | 'json' | 'none'

type Seen = { request: Request; state: RequestState }

/** The plugin that routes for browsers `use`. */
export type BrowserGuard = ReturnType<typeof browserGuard>

/**
 * The guard of pages and of the routes below /session: two macros. Each decides before the body is read.
 *
 * - `ownOrigin`: the request comes from a page of our own origin.
 * - `browser`: the same, and with the cookie of a live browser session, which the route gets as `browser`.
 */
export function browserGuard(context: Context) {
  // The hooks name what they use: Elysia reads their text, and would otherwise parse the bodies of all routes.
  const hooks = (body: BrowserBody, check: (state: RequestState) => Promise<void> | void) => ({
    async parse({ request, state }: Seen) {
      await check(state)
      if (body === 'none') return null
      const read = await (body === 'form' ? readForm(request) : readJson(request))
      // The session may have ended, or got another cookie, while the body came: it is looked up again.
      state.browser = null
      await check(state)
      return read
    },
    // Elysia does not parse where there is no body.
    transform: ({ state }: Seen) => check(state),
  })
  const checkOrigin = ({ request }: RequestState) => requireOwnOrigin(context.config, request)
  const checkCookie = async (state: RequestState): Promise<void> => {
    checkOrigin(state)
    // No challenge: a browser would ask its person for a password by itself.
    if (!(await acceptCookie(context, state)))
      fail('missing_credential', { isChallenged: false, detail: 'Sign in first.' })
  }
  return new Elysia({ name: 'browser-guard' }).use(stated).macro({
    ownOrigin: (body: BrowserBody) => hooks(body, checkOrigin),
    browser: (body: BrowserBody) => ({
      ...hooks(body, checkCookie),
      resolve: ({ state }: Seen) => ({ browser: state.browser as BrowserSession }),
    }),
  })
}

/** The browser session of a request, which becomes its caller; null where the browser is not signed in. */
export async function acceptCookie(context: Context, state: RequestState): Promise<BrowserSession | null> {
  if (state.browser) return state.browser
  const value = readCookie(context.config, state.request)
  state.browser = await findBrowserSession(context, originOf(state), value)
  if (state.browser) state.credential = { kind: 'accepted', principal: state.browser.principal }
  return state.browser
}
