/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { authenticateApp } from '../../core/authorization/client-authentication.ts'
import { answerDevice, beginDevice, showDevice } from '../../core/authorization/device.ts'
import type { Context } from '../../core/context.ts'
import { isAuthorizationServer } from '../../core/oauth/authorization-server.ts'
import { failClient, readClient } from '../../core/oauth/client.ts'
import { DeviceAuthorization, DeviceForm } from '../../core/oauth/model.ts'
import { isEnrolmentDue } from '../../core/second-factors/enrolment.ts'
import type { Guard } from '../auth.ts'
import { readForm } from '../body.ts'
import { acceptCookie, type BrowserGuard } from '../browser.ts'
import { describe } from '../openapi/describe.ts'
import { pageAnswer, seeOther, siteOf } from '../pages/answer.tsx'
import { tickedIn } from '../pages/consent.tsx'
import { DeviceChoicePage, DeviceDonePage, DevicePage } from '../pages/device.tsx'
import { FIELDS, orRefused, textOf } from '../pages/forms.ts'
import type { Limits } from '../rate-limit.ts'
import { originOf, type RequestState } from '../request-state.ts'
import { countGuesses } from './oauth.ts'

/** Where a device begins (RFC 8628, section 3.1). It polls at the token endpoint. */
export const deviceRoutes = (context: Context, guard: Guard, limits: Limits) => {
  const countingGuesses = countGuesses(limits)
  return new Elysia({ tags: ['OAuth'] }).use(guard).post(
    '/oauth/device_authorization',
    async ({ body, request, state, set }) => {
      const client = await countingGuesses(state, async () => {
        const credentials = readClient(request.headers.get('authorization'), body)
        return (await authenticateApp(context, credentials, body)) ?? failClient()
      })
      set.headers['cache-control'] = 'no-store'
      const { scope, resource } = body
      return beginDevice(context, originOf(state), client, { scope, resource })
    },
    {
      parse: ({ request }) => readForm(request),
      body: DeviceForm,
      response: { 200: DeviceAuthorization },
      detail: describe(
        'authorizeDevice',
        'Begin to sign a person in from a device without a browser (RFC 8628)',
        {
          description:
            'For apps that an admin registered for the grant `urn:ietf:params:oauth:grant-type:device_code`. The device shows `user_code` and `verification_uri`, and polls the token endpoint with `device_code`. An app that has a secret authenticates as at the token endpoint.',
          errors: ['invalid_client', 'unauthorized_client', 'invalid_target', 'invalid_scope'],
        },
      ),
    },
  )
}

/** A parameter of the query; empty where it is missing, or is there more than once. */
/** No code is longer. What is longer is not drawn again either. */
const MAX_CODE_LENGTH = 32

/** The page at which a person allows a device (oauth.md, section 7, rule 4). */
export const devicePages = (context: Context, guard: BrowserGuard, limits: Limits) => {
  const { config } = context
  if (!isAuthorizationServer(config)) return new Elysia()
  const site = siteOf(config)
  const page = { detail: { hide: true } }
  const form = { ...page, ownOrigin: 'form', body: FIELDS } as const
  /** The browser session; or where the person goes first, to come back with the code that they have. */
  const enter = async (state: RequestState, code: string) => {
    const here = await acceptCookie(context, state)
    if (here && !isEnrolmentDue(config, here.user)) return { here }
    const back = `${site.base}/device${code === '' ? '' : `?${new URLSearchParams({ user_code: code })}`}`
    const to = here ? '/login/enrol' : '/login'
    return { away: seeOther(`${site.base}${to}?return_to=${encodeURIComponent(back)}`) }
  }
  const refuse = (sentence: string, userCode: string, status: number, headers: Record<string, string> = {}) =>
    pageAnswer(<DevicePage site={site} userCode={userCode} refusal={sentence} />, status, headers)

  return new Elysia()
    .use(guard)
    .get(
      '/device',
      async ({ query, state }) => {
        const userCode = (textOf(query.user_code) ?? '').slice(0, MAX_CODE_LENGTH)
        const entered = await enter(state, userCode)
        if ('away' in entered) return entered.away
        return pageAnswer(<DevicePage site={site} userCode={userCode} refusal={null} />)
      },
      page,
    )
    .post(
      '/device',
      async ({ body, state }) => {
        const userCode = (body.user_code ?? '').slice(0, MAX_CODE_LENGTH)
        const entered = await enter(state, userCode)
        if ('away' in entered) return entered.away
        return orRefused(
          async () => {
            const view = await limits.countWrong('device', state, () =>
              showDevice(context, entered.here, body.user_code ?? ''),
            )
            if (view === null)
              return refuse('No device waits with this code. Look at the device again.', userCode, 422)
            return pageAnswer(<DeviceChoicePage site={site} view={view} refusal={null} />)
          },
          ({ sentence, status, headers }) => refuse(sentence, userCode, status, headers),
        )
      },
      form,
    )
    .get('/device/answer', () => seeOther(`${site.base}/device`), page)
    .post(
      '/device/answer',
      async ({ body, state }) => {
        const entered = await enter(state, '')
        if ('away' in entered) return entered.away
        const { request: requestId = '', decision } = body
        if (decision !== 'allow' && decision !== 'cancel') return refuse('The form cannot be read.', '', 400)
        return orRefused(
          async () => {
            const answered = await answerDevice(context, originOf(state), entered.here, {
              requestId,
              isAllowed: decision === 'allow',
              ticked: tickedIn(body),
            })
            switch (answered.kind) {
              case 'gone':
                return refuse('This was answered already, or it took too long. Type the code again.', '', 400)
              case 'again':
                return pageAnswer(
                  <DeviceChoicePage
                    site={site}
                    view={answered.view}
                    refusal="Tick what it may do, or cancel."
                  />,
                  422,
                )
              default:
                return pageAnswer(<DeviceDonePage site={site} end={answered.kind} />)
            }
          },
          ({ sentence, status, headers }) => refuse(sentence, '', status, headers),
        )
      },
      form,
    )
}
