import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { logIn } from '../../core/login/log-in.ts'
import { BrowserCredentials, BrowserPasskeyLogin, PasswordChange } from '../../core/login/model.ts'
import { changePasswordInBrowser } from '../../core/login/password.ts'
import { finishSignIn, signInByPasskey } from '../../core/login/second-step.ts'
import { SecondStep } from '../../core/second-factors/model.ts'
import { endBrowserSession, issueBrowserToken, makeSessionCookie } from '../../core/sessions/browser.ts'
import { AccessToken } from '../../core/sessions/model.ts'
import type { BrowserGuard } from '../browser.ts'
import { describe, noContent } from '../openapi/describe.ts'
import { clearedCookie, formatCookie, readCookie } from '../pages/cookie.ts'
import { beginInBrowser } from '../pages/sign-in-here.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'

const OWN_ORIGIN =
  'For pages of the origin of PUBLIC_URL: Sec-Fetch-Site has to be same-origin, or Origin that origin.'
const COOKIE = `Needs the cookie of a browser session. ${OWN_ORIGIN}`

/** Sessions of browsers, whose credential is a cookie (docs/sign-in.md). */
export const browserSessionRoutes = (context: Context, guard: BrowserGuard) =>
  new Elysia({ prefix: '/session', tags: ['Browser sessions'] })
    .use(guard)
    .post(
      '',
      async ({ body: { email, password, remember = false }, request, state, set, status }) => {
        const origin = originOf(state)
        const signedIn = await logIn(context, origin, { email, password }, { kind: 'browser', remember })
        set.headers['set-cookie'] = await beginInBrowser(context, origin, request, signedIn)
        return status(204, undefined)
      },
      {
        ...NEEDS['POST /session'],
        body: BrowserCredentials,
        response: noContent('Signed in; the answer sets the cookie'),
        detail: describe('signIn', 'Sign in with e-mail and password, by a cookie', {
          description: OWN_ORIGIN,
          errors: ['cross_site', 'invalid_login', 'too_many_attempts', 'mfa_required', 'email_not_verified'],
        }),
      },
    )
    .delete(
      '',
      async ({ request, state, set, status }) => {
        await endBrowserSession(context, originOf(state), readCookie(context.config, request))
        set.headers['set-cookie'] = clearedCookie(context.config)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /session'],
        response: noContent('The session is over, if there was one; the answer clears the cookie'),
        detail: describe('signOut', 'End the browser session', {
          description: OWN_ORIGIN,
          errors: ['cross_site'],
        }),
      },
    )
    .post(
      '/mfa',
      async ({ body, request, state, set, status }) => {
        const origin = originOf(state)
        const signedIn = await finishSignIn(context, origin, 'browser', body)
        set.headers['set-cookie'] = await beginInBrowser(context, origin, request, signedIn)
        return status(204, undefined)
      },
      {
        ...NEEDS['POST /session/mfa'],
        body: SecondStep,
        response: noContent('Signed in; the answer sets the cookie'),
        detail: describe('finishSignIn', 'Finish a sign-in by its `mfa_token` and a second factor', {
          description: OWN_ORIGIN,
          errors: [
            'cross_site',
            'invalid_token',
            'invalid_code',
            'email_not_verified',
            'too_many_attempts',
            'conflict',
          ],
        }),
      },
    )
    .post(
      '/passkey',
      async ({ body: { response, remember = false }, request, state, set, status }) => {
        const origin = originOf(state)
        const wanted = { kind: 'browser', scopes: null, remember } as const
        const signedIn = await signInByPasskey(context, origin, response, wanted)
        set.headers['set-cookie'] = await beginInBrowser(context, origin, request, signedIn)
        return status(204, undefined)
      },
      {
        ...NEEDS['POST /session/passkey'],
        body: BrowserPasskeyLogin,
        response: noContent('Signed in; the answer sets the cookie'),
        detail: describe('signInByPasskey', 'Sign in by a passkey, by a cookie', {
          description: OWN_ORIGIN,
          errors: ['cross_site', 'invalid_login', 'email_not_verified', 'conflict'],
        }),
      },
    )
    .post('/token', ({ browser }) => issueBrowserToken(context, browser), {
      ...NEEDS['POST /session/token'],
      response: { 200: AccessToken },
      detail: describe('getSessionToken', 'An access token of the browser session, for five minutes', {
        description: COOKIE,
        errors: ['cross_site', 'missing_credential'],
      }),
    })
    .post(
      '/password',
      async ({ browser, body, state, set }) => {
        const { session, principal } = browser
        const salt = await changePasswordInBrowser(context, originOf(state), principal, body)
        const { value, maxAgeSeconds } = makeSessionCookie(context, {
          ...session,
          sessionId: session.id,
          salt,
        })
        set.headers['set-cookie'] = formatCookie(context.config, value, maxAgeSeconds)
        return issueBrowserToken(context, browser)
      },
      {
        ...NEEDS['POST /session/password'],
        body: PasswordChange,
        response: { 200: AccessToken },
        detail: describe('changePasswordInBrowser', 'Set a new password; every other session ends', {
          description: COOKIE,
          errors: [
            'cross_site',
            'missing_credential',
            'invalid_login',
            'reauthentication_required',
            'conflict',
          ],
        }),
      },
    )
