/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { requireRecent } from '../../core/change/recent.ts'
import type { Context } from '../../core/context.ts'
import { resendVerification } from '../../core/email/by-address.ts'
import { isLinkOfAnother, verifyEmail } from '../../core/email/change-email.ts'
import { logIn } from '../../core/login/log-in.ts'
import { requestPasswordReset, resetPassword } from '../../core/login/password-reset.ts'
import { finishSignIn } from '../../core/login/second-step.ts'
import { type SignIn, signIn as signInWith } from '../../core/login/sign-in.ts'
import { findPlaceAfterLogout } from '../../core/openid/logout.ts'
import type { Principal } from '../../core/principal.ts'
import { isEnrolmentDue } from '../../core/second-factors/enrolment.ts'
import { beginTotp, confirmTotp } from '../../core/second-factors/factors.ts'
import { listMethodsOfStep } from '../../core/second-factors/methods.ts'
import { relyingPartyOf } from '../../core/second-factors/webauthn.ts'
import { endBrowserSession } from '../../core/sessions/browser.ts'
import { isSetupOpen, setUpAdmin, signUp } from '../../core/users/accounts.ts'
import { fail, type Problem } from '../../lib/errors.ts'
import { acceptCookie, type BrowserGuard } from '../browser.ts'
import { homeOf, pageAnswer, seeOther, siteOf } from '../pages/answer.tsx'
import { GoOnPage } from '../pages/consent.tsx'
import { clearedCookie, readCookie } from '../pages/cookie.ts'
import { EnrolmentPage, RecoveryCodesPage } from '../pages/enrolment.tsx'
import { FIELDS, orRefused, takeEmail, takePassword, takeSecondStep, textOf } from '../pages/forms.ts'
import { ForgotPasswordPage, NewPasswordPage, SetupPage, VerifyEmailPage } from '../pages/links.tsx'
import { logoutQuery, readLogout } from '../pages/logout-query.ts'
import { asksForNewLogin, queryToApp, readReturnTo } from '../pages/return-to.ts'
import { SecondStepPage } from '../pages/second-step.tsx'
import { NOTICES, SignedOutPage, SignInPage, StartPage } from '../pages/sign-in.tsx'
import { beginInBrowser } from '../pages/sign-in-here.ts'
import { SignUpPage } from '../pages/sign-up.tsx'
import type { Limits } from '../rate-limit.ts'
import { originOf, type RequestState } from '../request-state.ts'

/** `/`, for a browser. */
export const startPage =
  (context: Context) =>
  async (state: RequestState): Promise<Response> => {
    const here = await acceptCookie(context, state)
    const email = here?.user.email ?? null
    const { docs, console } = context.config
    const parts = { hasDocs: docs, hasConsole: console === 'on' }
    return pageAnswer(<StartPage site={siteOf(context.config)} {...parts} email={email} />)
  }

/** Of a one-time token that is unknown, used, void or over. */
const DEAD_LINK = 'This link does not work, or no longer. Ask for a new one.'

/**
 * The pages: forms that are drawn here and post to themselves. What is right is answered by 303, what is refused by the
 * same page with a sentence, and with the status of the JSON route that does the same.
 */
export const pageRoutes = (context: Context, guard: BrowserGuard, limits: Limits) => {
  const { config } = context
  const site = siteOf(config)
  const isSignUpOpen = config.signup === 'open'
  const page = { detail: { hide: true } }
  const form = { ...page, ownOrigin: 'form', body: FIELDS } as const
  const hasPasskeys = relyingPartyOf(config) !== null
  const signIn = { site, isSignUpOpen, hasPasskeys }
  const enrol = { site, hasPasskeys }
  const signUpPage = { site, passwordMinLength: config.passwordMinLength }
  const verify = { site, canMail: context.mail.isOn }
  const reset = { site, passwordMinLength: config.passwordMinLength }
  const setUp = reset
  const requireSetup = async () => {
    if (!(await isSetupOpen(context))) fail('not_found')
  }
  const requireSignUp = () => {
    if (!isSignUpOpen) fail('not_found')
  }

  /** Sends a person on after a form: by a page where the way leads to an app, by a redirect elsewhere. */
  const goTo = (to: string, headers: Record<string, string> = {}) =>
    queryToApp(config, to) === null
      ? seeOther(to, headers)
      : pageAnswer(<GoOnPage site={site} to={to} />, 200, headers)
  /**
   * Sends a person on who is signed in now: first to a second factor where one is due.
   * @param lead how: `seeOther` where nothing was posted
   */
  const goOn = (
    user: SignIn['user'],
    returnTo: string | null,
    headers: Record<string, string> = {},
    lead: typeof seeOther = goTo,
  ) =>
    isEnrolmentDue(config, user)
      ? seeOther(
          `${site.base}/login/enrol${returnTo === null ? '' : `?return_to=${encodeURIComponent(returnTo)}`}`,
          headers,
        )
      : lead(returnTo ?? homeOf(config), headers)
  /** A factor is set up by a person who has just proved who they are. */
  const signInFirst = (returnTo: string | null): string => {
    const to = new URLSearchParams({ ...(returnTo !== null && { return_to: returnTo }), max_age: '600' })
    return `${site.base}/login?return_to=${encodeURIComponent(`${site.base}/login/enrol?${to}`)}`
  }
  /** The page of the second step where the password was right; null for any other refusal. */
  const secondStepOf = ({ problem, extra }: Problem, returnTo: string | null): Response | null => {
    if (problem !== 'mfa_required') return null
    const { mfa_token: mfaToken, methods } = extra.members as { mfa_token: string; methods: string[] }
    const step = { site, mfaToken, methods, returnTo }
    return pageAnswer(<SecondStepPage {...step} refusal={null} />, 403)
  }

  return new Elysia()
    .use(guard)
    .get(
      '/login',
      async ({ query, state }) => {
        const returnTo = readReturnTo(config, textOf(query.return_to))
        const here = await acceptCookie(context, state)
        if (here && !asksForNewLogin(context, returnTo, here.session.authTime)) {
          return goOn(here.user, returnTo, {}, seeOther)
        }
        const notice = NOTICES.get(textOf(query.notice) ?? '')
        const hint = queryToApp(config, returnTo)?.get('login_hint')
        return pageAnswer(
          <SignInPage
            {...signIn}
            returnTo={returnTo}
            notice={notice}
            refusal={null}
            {...(hint != null && { email: hint })}
          />,
        )
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
            return goOn(signedIn.user, returnTo, { 'set-cookie': cookie })
          },
          ({ sentence, status, headers, problem }) =>
            secondStepOf(problem, returnTo) ??
            pageAnswer(
              <SignInPage {...signIn} email={body.email ?? ''} returnTo={returnTo} refusal={sentence} />,
              status,
              headers,
            ),
        )
      },
      form,
    )
    .get('/login/verify', () => seeOther(`${site.base}/login`), page)
    .post(
      '/login/verify',
      ({ body, request, state }) => {
        const returnTo = readReturnTo(config, body.return_to)
        const mfaToken = body.mfa_token ?? ''
        return orRefused(
          async () => {
            const origin = originOf(state)
            const signedIn = await finishSignIn(context, origin, 'browser', takeSecondStep(body))
            const cookie = await beginInBrowser(context, origin, request, signedIn)
            return goOn(signedIn.user, returnTo, { 'set-cookie': cookie })
          },
          async ({ sentence, status, headers, problem }) => {
            if (problem.problem === 'invalid_token') {
              const refusal = 'That took too long. Sign in again.'
              return pageAnswer(
                <SignInPage {...signIn} returnTo={returnTo} refusal={refusal} />,
                status,
                headers,
              )
            }
            const methods = await listMethodsOfStep(context, mfaToken)
            const step = { site, mfaToken, methods, returnTo }
            return pageAnswer(<SecondStepPage {...step} refusal={sentence} />, status, headers)
          },
        )
      },
      form,
    )
    .get(
      '/login/enrol',
      async ({ query, state }) => {
        const returnTo = readReturnTo(config, textOf(query.return_to))
        const here = await acceptCookie(context, state)
        if (!here) return seeOther(signInFirst(returnTo))
        if (here.user.hasSecondFactor) return seeOther(returnTo ?? homeOf(config))
        const enrolment = { ...enrol, returnTo, next: returnTo ?? homeOf(config) }
        return pageAnswer(<EnrolmentPage {...enrolment} pending={null} asksCode={false} refusal={null} />)
      },
      page,
    )
    .post(
      '/login/enrol',
      async ({ body, state }) => {
        const returnTo = readReturnTo(config, body.return_to)
        const here = await acceptCookie(context, state)
        if (!here) return seeOther(signInFirst(returnTo))
        const next = returnTo ?? homeOf(config)
        const enrolment = { ...enrol, returnTo, next }
        return orRefused(
          async () => {
            const authorize = (caller: Principal) => requireRecent(context, caller)
            authorize(here.principal)
            // Asked again within the change, of the session's row as it is then.
            const origin = { ...originOf(state), authorize }
            if (body.code === undefined) {
              const pending = await beginTotp(context, origin, here.principal)
              return pageAnswer(<EnrolmentPage {...enrolment} pending={pending} asksCode refusal={null} />)
            }
            const { recovery_codes: codes } = await confirmTotp(context, origin, here.principal, body.code)
            if (!codes) return goTo(next)
            return pageAnswer(<RecoveryCodesPage site={site} codes={codes} next={next} />)
          },
          ({ sentence, status, headers, problem }) =>
            ['reauthentication_required', 'invalid_token'].includes(problem.problem)
              ? seeOther(signInFirst(returnTo))
              : pageAnswer(
                  <EnrolmentPage
                    {...enrolment}
                    pending={null}
                    asksCode={problem.problem === 'invalid_code'}
                    refusal={sentence}
                  />,
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
            const credentials = { email: takeEmail(body), password: takePassword(body) }
            const user = await signUp(context, originOf(state), credentials)
            return seeOther(`${site.base}/login?notice=${user === null ? 'mailed' : 'signed_up'}`)
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
    .get(
      '/verify-email',
      async ({ query, state }) => {
        const here = await acceptCookie(context, state)
        const token = textOf(query.token) ?? ''
        const isSent = query.notice === 'mailed'
        const asksPassword = !here || (await isLinkOfAnother(context, token, here.user.id))
        return pageAnswer(
          <VerifyEmailPage
            {...verify}
            token={token}
            asksPassword={asksPassword}
            isSent={isSent}
            refusal={null}
          />,
        )
      },
      page,
    )
    .post(
      '/verify-email',
      async ({ body, state }) => {
        const here = await acceptCookie(context, state)
        const token = body.token ?? ''
        return orRefused(
          async () => {
            const origin = originOf(state)
            if (body.email !== undefined) {
              await resendVerification(context, origin, takeEmail(body))
              return seeOther(`${site.base}/verify-email?notice=mailed`)
            }
            const password = body.password === undefined ? {} : { password: takePassword(body) }
            await verifyEmail(context, origin, here?.principal ?? null, { token, ...password })
            return here ? goOn(here.user, null) : seeOther(`${site.base}/login?notice=verified`)
          },
          ({ sentence, status, headers, problem }) => {
            const asksPassword = !here || problem.problem !== 'invalid_token'
            const refusal = problem.problem === 'invalid_token' ? DEAD_LINK : sentence
            return pageAnswer(
              <VerifyEmailPage
                {...verify}
                token={token}
                asksPassword={asksPassword}
                email={body.email ?? ''}
                refusal={refusal}
              />,
              status,
              headers,
            )
          },
        )
      },
      form,
    )
    .get(
      '/forgot-password',
      ({ query }) =>
        pageAnswer(<ForgotPasswordPage site={site} isSent={query.notice === 'mailed'} refusal={null} />),
      page,
    )
    .post(
      '/forgot-password',
      ({ body, state }) =>
        orRefused(
          async () => {
            await requestPasswordReset(context, originOf(state), takeEmail(body))
            return seeOther(`${site.base}/forgot-password?notice=mailed`)
          },
          ({ sentence, status, headers }) =>
            pageAnswer(
              <ForgotPasswordPage site={site} email={body.email ?? ''} isSent={false} refusal={sentence} />,
              status,
              headers,
            ),
        ),
      form,
    )
    .get(
      '/reset-password',
      ({ query }) =>
        pageAnswer(<NewPasswordPage {...reset} token={textOf(query.token) ?? ''} refusal={null} />),
      page,
    )
    .post(
      '/reset-password',
      ({ body, state }) => {
        const token = body.token ?? ''
        return orRefused(
          async () => {
            const new_password = takePassword(body, 'new_password')
            await resetPassword(context, originOf(state), { token, new_password })
            return seeOther(`${site.base}/login?notice=password_set`)
          },
          ({ sentence, status, headers, problem }) => {
            const refusal = problem.problem === 'invalid_token' ? DEAD_LINK : sentence
            return pageAnswer(<NewPasswordPage {...reset} token={token} refusal={refusal} />, status, headers)
          },
        )
      },
      form,
    )
    .get(
      '/setup',
      async ({ query }) => {
        await requireSetup()
        return pageAnswer(<SetupPage {...setUp} token={textOf(query.token) ?? ''} refusal={null} />)
      },
      page,
    )
    .post(
      '/setup',
      async ({ body, request, state }) => {
        await requireSetup()
        const token = body.token ?? ''
        return orRefused(
          async () => {
            const origin = originOf(state)
            const credentials = { email: takeEmail(body), password: takePassword(body) }
            const admin = await setUpAdmin(context, origin, { token, ...credentials })
            const wanted = { kind: 'browser', scopes: null, remember: false } as const
            const signedIn = await signInWith(context, origin, admin, wanted)
            const cookie = await beginInBrowser(context, origin, request, signedIn)
            return goOn(signedIn.user, null, { 'set-cookie': cookie })
          },
          async ({ sentence, status, headers, problem }) => {
            if (problem.problem === 'not_found') throw problem
            // A token is guessed at.
            const isGuess = problem.problem === 'invalid_token'
            if (isGuess) await limits.consume('unknown_credential', state)
            return pageAnswer(
              <SetupPage
                {...setUp}
                token={token}
                email={body.email ?? ''}
                refusal={isGuess ? DEAD_LINK : sentence}
              />,
              status,
              headers,
            )
          },
        )
      },
      form,
    )
    .post(
      '/logout',
      async ({ query, request, state }) => {
        await endBrowserSession(context, originOf(state), readCookie(config, request))
        const back = logoutQuery(readLogout(query))
        return seeOther(`${site.base}/logged-out${back}`, { 'set-cookie': clearedCookie(config) })
      },
      { ...page, ownOrigin: 'none' },
    )
    .get(
      '/logged-out',
      async ({ query }) => {
        const back = await findPlaceAfterLogout(context, null, readLogout(query))
        return pageAnswer(<SignedOutPage site={site} back={back} />)
      },
      page,
    )
    .get(
      '/.well-known/change-password',
      () => {
        const place = config.console === 'on' ? 'console/account' : 'forgot-password'
        return new Response(null, { status: 302, headers: { location: `${site.base}/${place}` } })
      },
      page,
    )
}
