/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { authorize } from '../../core/authorization/authorize.ts'
import { answerRequest } from '../../core/authorization/consent.ts'
import type { Context } from '../../core/context.ts'
import { isAuthorizationServer } from '../../core/oauth/authorization-server.ts'
import type { ErrorCode } from '../../lib/errors.ts'
import { readFormText } from '../body.ts'
import { acceptCookie, type BrowserGuard } from '../browser.ts'
import { PAGE_HEADERS, pageAnswer, seeOther, siteOf } from '../pages/answer.tsx'
import { ConsentPage, GoOnPage, RefusedPage, tickedIn } from '../pages/consent.tsx'
import { FIELDS, orRefused } from '../pages/forms.ts'
import { AUTHORIZE } from '../pages/return-to.ts'
import { originOf } from '../request-state.ts'

/** What a page says where a person would not understand the words for an app. */
const MEANWHILE = new Map<ErrorCode, string>([
  ['unauthorized_client', 'This app may no longer be allowed here.'],
  ['invalid_target', 'That for which the app asks is no longer here.'],
  ['invalid_token', 'You are no longer signed in. Go back to the app and start again.'],
  ['conflict', 'This was answered already. Go back to the app and start again.'],
])

/** The pages by which a person allows an app (oauth.md, section 4). */
export const authorizeRoutes = (context: Context, guard: BrowserGuard) => {
  if (!isAuthorizationServer(context.config)) return new Elysia()
  const site = siteOf(context.config)
  const page = { detail: { hide: true } }
  const place = `${site.base}${AUTHORIZE}`
  const refuse = (sentence: string, status = 400, headers: Record<string, string> = {}) =>
    pageAnswer(<RefusedPage site={site} sentence={sentence} />, status, headers)
  /** What is refused meanwhile: the client withdrawn, the resource gone, the session over, the request answered by another form. */
  const orRefusedPage = (work: () => Promise<Response>) =>
    orRefused(work, ({ sentence, status, headers, problem }) =>
      refuse(MEANWHILE.get(problem.problem) ?? sentence, status, headers),
    )
  /** By GET alone. After a form no redirect may lead to a client. */
  const found = (location: string) =>
    new Response(null, { status: 302, headers: { ...PAGE_HEADERS, location } })
  const over = (path: string, query: string) =>
    found(`${site.base}${path}?return_to=${encodeURIComponent(`${place}?${query}`)}`)

  return new Elysia()
    .use(guard)
    .get(
      AUTHORIZE,
      async ({ request, state }) => {
        const here = await acceptCookie(context, state)
        return orRefusedPage(async () => {
          const query = new URL(request.url).search.slice(1)
          const outcome = await authorize(context, originOf(state), query, here)
          switch (outcome.kind) {
            case 'refused':
              return refuse(outcome.sentence)
            case 'redirect':
              return found(outcome.to)
            case 'sign_in':
              return over('/login', outcome.query)
            case 'enrol':
              return over('/login/enrol', outcome.query)
            case 'consent':
              return pageAnswer(<ConsentPage site={site} view={outcome.view} refusal={null} />)
          }
        })
      },
      page,
    )
    .post(
      AUTHORIZE,
      // OpenID Connect lets any site post here. It reads no cookie and changes nothing.
      ({ body }) => seeOther(`${place}?${new URLSearchParams(body as string)}`),
      { ...page, parse: ({ request }) => readFormText(request) },
    )
    .post(
      '/oauth/consent',
      async ({ body, state }) => {
        const here = await acceptCookie(context, state)
        if (!here) return refuse('You are no longer signed in. Go back to the app and start again.')
        const { request: requestId = '', decision } = body
        if (decision !== 'allow' && decision !== 'cancel') return refuse('The form cannot be read.')
        return orRefusedPage(async () => {
          const answered = await answerRequest(context, originOf(state), here, {
            requestId,
            isAllowed: decision === 'allow',
            ticked: tickedIn(body),
          })
          switch (answered.kind) {
            case 'refused':
              return refuse(answered.sentence)
            case 'again':
              return pageAnswer(
                <ConsentPage site={site} view={answered.view} refusal="Tick what it may do, or cancel." />,
                422,
              )
            case 'redirect':
              return pageAnswer(<GoOnPage site={site} to={answered.to} />)
          }
        })
      },
      { ...page, ownOrigin: 'form', body: FIELDS },
    )
}
