/** @jsxImportSource hono/jsx */

import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { isAuthorizationServer } from '../../core/oauth/authorization-server.ts'
import { findPlaceAfterLogout } from '../../core/openid/logout.ts'
import { UserInfo } from '../../core/openid/model.ts'
import { describePerson } from '../../core/openid/userinfo.ts'
import { endBrowserSession } from '../../core/sessions/browser.ts'
import { verifyCredential } from '../../core/verify/verify-credential.ts'
import { BEARER_CHALLENGE, fail, Problem } from '../../lib/errors.ts'
import { hasBody, readForm } from '../body.ts'
import { acceptCookie, type BrowserGuard } from '../browser.ts'
import { readCredential } from '../credential.ts'
import { describe } from '../openapi/describe.ts'
import { pageAnswer, seeOther, siteOf } from '../pages/answer.tsx'
import { clearedCookie, readCookie } from '../pages/cookie.ts'
import { logoutQuery, readLogout } from '../pages/logout-query.ts'
import { SignOutPage } from '../pages/sign-out.tsx'
import { originOf, type RequestState } from '../request-state.ts'

type Seen = { request: Request; state: RequestState }

/** OpenID Connect: who the person of a token is, and signing out at the request of an app. */
export const openIdRoutes = (context: Context, guard: BrowserGuard) => {
  const { config } = context
  if (!isAuthorizationServer(config)) return new Elysia()
  const site = siteOf(config)
  const answer = async ({ request, state }: Seen) => {
    // By RFC 6750, section 3.1: no error code where nothing was presented.
    const token =
      readBearer(request) ??
      fail('invalid_token', {
        detail: 'Send an access token.',
        headers: { 'WWW-Authenticate': BEARER_CHALLENGE },
      })
    const principal = await verifyCredential(context, token)
    if (principal.kind !== 'refused') state.credential = { kind: 'accepted', principal }
    return describePerson(principal)
  }
  const readBearer = (request: Request) => {
    try {
      return readCredential(config, request)
    } catch (error) {
      if (!(error instanceof Problem) || error.problem !== 'ambiguous_credentials') throw error
      return fail(error.problem, {
        headers: { 'WWW-Authenticate': `${BEARER_CHALLENGE}, error="invalid_request"` },
      })
    }
  }
  const described = (id: string) => ({
    response: { 200: UserInfo },
    detail: describe(id, 'Who the person of an access token is (OpenID Connect Core, section 5.3)', {
      description:
        'Takes access tokens whose `aud` is this address, and those of first-party apps; both with the scope `openid`.',
      security: [{ bearer: [] }],
      errors: ['insufficient_scope', 'mfa_enrolment_required'],
    }),
  })
  const hidden = { detail: { hide: true } }

  return new Elysia({ tags: ['OAuth'] })
    .use(guard)
    .get('/oauth/userinfo', answer, described('getUserInfo'))
    .post('/oauth/userinfo', answer, { ...described('postUserInfo'), parse: () => null })
    .get(
      '/oauth/logout',
      async ({ query, request, state }) => {
        const here = await acceptCookie(context, state)
        const asked = readLogout(query)
        const after = await findPlaceAfterLogout(context, here?.user.id ?? null, asked)
        const back = after ? logoutQuery({ ...asked, clientId: after.clientId }) : ''
        if (!here) return seeOther(`${site.base}/logged-out${back}`)
        if (!after?.isProven)
          return pageAnswer(<SignOutPage site={site} email={here.user.email} back={back} />)
        await endBrowserSession(context, originOf(state), readCookie(config, request))
        return new Response(null, {
          status: 302,
          headers: {
            location: after.place,
            'set-cookie': clearedCookie(config),
            'cache-control': 'no-store',
          },
        })
      },
      hidden,
    )
    .post(
      '/oauth/logout',
      // From a page of an app. It reads no cookie and changes nothing: the GET that follows decides.
      ({ body }) => {
        const query = new URLSearchParams(body as Record<string, string>).toString()
        return seeOther(`${site.base}/oauth/logout${query === '' ? '' : `?${query}`}`)
      },
      { ...hidden, parse: ({ request }) => (hasBody(request) ? readForm(request) : {}) },
    )
}
