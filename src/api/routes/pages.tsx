import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { logIn } from '../../core/login/log-in.ts'
import { endBrowserSession, findBrowserSession } from '../../core/sessions/browser.ts'
import { signUp } from '../../core/users/accounts.ts'
import { fail } from '../../lib/errors.ts'
import type { BrowserGuard } from '../browser.ts'
import { homeOf, pageAnswer, seeOther, siteOf } from '../pages/answer.tsx'
import { clearedCookie, readCookie } from '../pages/cookie.ts'
import { FIELDS, orRefused, takeEmail, takePassword } from '../pages/forms.ts'
import { asksForNewLogin, readReturnTo } from '../pages/return-to.ts'
import { NOTICES, SignedOutPage, SignInPage, StartPage } from '../pages/sign-in.tsx'
import { beginInBrowser } from '../pages/sign-in-here.ts'
import { SignUpPage } from '../pages/sign-up.tsx'
import { originOf, type RequestState } from '../request-state.ts'

/** The session of the browser that asks, if it is signed in. */
const sessionHere = (context: Context, state: RequestState) =>
  findBrowserSession(context, originOf(state), readCookie(context.config, state.request))

/** `/`, for a browser. */
export const startPage =
  (context: Context) =>
  async (state: RequestState): Promise<Response> => {
    const here = await sessionHere(context, state)
    const email = here?.user.email ?? null
    const { docs, console } = context.config
    const parts = { hasDocs: docs, hasConsole: console === 'on' }
    return pageAnswer(<StartPage site={siteOf(context.config)} {...parts} email={email} />)
  }

/** A parameter of the query; null where it is missing, or is there more than once. */
const textOf = (value: unknown): string | null => (typeof value === 'string' ? value : null)

/**
 * The pages: forms that are drawn here and post to themselves. What is right is answered by 303, what is refused by the
 * same page with a sentence, and with the status of the JSON route that does the same.
 */
export const pageRoutes = (context: Context, guard: BrowserGuard) => {
  const { config } = context
  const site = siteOf(config)
  const isSignUpOpen = config.signup === 'open'
  const page = { detail: { hide: true } }
  const form = { ...page, ownOrigin: 'form', body: FIELDS } as const
  const signIn = { site, isSignUpOpen, hasPasskeys: false }
  const signUpPage = { site, passwordMinLength: config.passwordMinLength }
  const requireSignUp = () => {
    if (!isSignUpOpen) fail('not_found')
  }

  return new Elysia()
    .use(guard)
    .get(
      '/login',
      async ({ query, state }) => {
        const returnTo = readReturnTo(config, textOf(query.return_to))
        const here = await sessionHere(context, state)
        if (here && !asksForNewLogin(returnTo, here.session.authTime, context.clock())) {
          return seeOther(returnTo ?? homeOf(config))
        }
        const notice = NOTICES.get(textOf(query.notice) ?? '')
        return pageAnswer(<SignInPage {...signIn} returnTo={returnTo} notice={notice} refusal={null} />)
      },
      page,
    )
    .post(
      '/login',
      ({ body, request, state }) => {
        const returnTo = readReturnTo(config, body.return_to)
        return orRefused(
          async () => {
            const origin = originOf(state)
            const credentials = { email: takeEmail(body), password: takePassword(body) }
            const wanted = { kind: 'browser', remember: body.remember === 'true' } as const
            const signedIn = await logIn(context, origin, credentials, wanted)
            const cookie = await beginInBrowser(context, origin, request, signedIn)
            return seeOther(returnTo ?? homeOf(config), { 'set-cookie': cookie })
          },
          ({ sentence, status, headers }) =>
            pageAnswer(
              <SignInPage {...signIn} email={body.email ?? ''} returnTo={returnTo} refusal={sentence} />,
              status,
              headers,
            ),
        )
      },
      form,
    )
    .get(
      '/signup',
      () => {
        requireSignUp()
        return pageAnswer(<SignUpPage {...signUpPage} refusal={null} />)
      },
      page,
    )
    .post(
      '/signup',
      ({ body, state }) => {
        requireSignUp()
        return orRefused(
          async () => {
            await signUp(context, originOf(state), { email: takeEmail(body), password: takePassword(body) })
            return seeOther(`${site.base}/login?notice=signed_up`)
          },
          ({ sentence, status, headers }) =>
            pageAnswer(
              <SignUpPage {...signUpPage} email={body.email ?? ''} refusal={sentence} />,
              status,
              headers,
            ),
        )
      },
      form,
    )
    .post(
      '/logout',
      async ({ request, state }) => {
        await endBrowserSession(context, originOf(state), readCookie(config, request))
        return seeOther(`${site.base}/logged-out`, { 'set-cookie': clearedCookie(config) })
      },
      { ...page, ownOrigin: 'form' },
    )
    .get('/logged-out', () => pageAnswer(<SignedOutPage site={site} />), page)
    .get(
      '/.well-known/change-password',
      () => {
        const place = config.console === 'on' ? 'console/account' : 'forgot-password'
        return new Response(null, { status: 302, headers: { location: `${site.base}/${place}` } })
      },
      page,
    )
}
