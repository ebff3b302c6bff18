import { describe, expect, test } from 'bun:test'
import { decodeJwt } from 'jose'
import { DEFAULT_RATE_LIMITS } from '../../src/config/rate-limits.ts'
import { deleteOutdated } from '../../src/core/housekeeping/delete-outdated.ts'
import { verifyCredential } from '../../src/core/verify/verify-credential.ts'
import {
  type App,
  type AtBrowser,
  addApi,
  addApp,
  addAtBrowser,
  askTokens,
  refresh,
} from '../support/apps.ts'
import { ask } from '../support/browser.ts'
import { type Answer, type Call, call } from '../support/client.ts'
import { basic, expectOAuthError } from '../support/oauth.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code'

const service = useService({ isIssuer: true, trustedProxies: ['127.0.0.1/32'] })
const sql = useSql(service)
const person = prepare(() => addAtBrowser(service, sql))
const api = prepare(() => addApi(sql))
const app = prepare(() => addApp(sql, { grants: [DEVICE, 'refresh_token'], redirectUris: [] }))

type Device = { device_code: string; user_code: string; verification_uri_complete: string }

const begin = (
  form: Record<string, string> = {},
  of: Pick<App, 'clientId'> = app,
  more: Call = {},
): Promise<Answer> =>
  call(service, 'POST /oauth/device_authorization', {
    form: { client_id: of.clientId, resource: api.identifier, ...form },
    ...more,
  })

async function newDevice(
  form: Record<string, string> = {},
  of: Pick<App, 'clientId'> = app,
): Promise<Device> {
  const answer = await begin(form, of)
  if (answer.status !== 200) throw new Error(`A device: ${answer.status} ${answer.text}`)
  return answer.body
}

const poll = ({ device_code }: Pick<Device, 'device_code'>, of: Pick<App, 'clientId' | 'secret'> = app) =>
  askTokens(service, of, { grant_type: DEVICE, device_code })

const type = (code: string, by: Pick<AtBrowser, 'cookie'> = person, headers: Call['headers'] = {}) =>
  ask(service, 'POST /device', { form: { user_code: code }, headers: { cookie: by.cookie, ...headers } })

/** The id of the device on a page that asks. */
function requestOf({ text }: Pick<Answer, 'text'>): string {
  const [, id] = /name="request" value="([^"]+)"/.exec(text) ?? []
  if (id === undefined) throw new Error(`No page that asks: ${text}`)
  return id
}

const shownIn = ({ text }: Pick<Answer, 'text'>) =>
  [...text.matchAll(/name="scope\.([^"]+)"/g)].map(([, name]) => name ?? '')

const answer = (
  request: string,
  {
    scopes = [],
    decision = 'allow',
    by = person,
    headers = {},
  }: { scopes?: string[]; decision?: string; by?: Pick<AtBrowser, 'cookie'>; headers?: Call['headers'] } = {},
) =>
  ask(service, 'POST /device/answer', {
    form: { request, decision, ...Object.fromEntries(scopes.map((scope) => [`scope.${scope}`, 'on'])) },
    headers: { cookie: by.cookie, ...headers },
  })

/** Allows a device all that its page shows. */
async function allow({ user_code }: Pick<Device, 'user_code'>, by: Pick<AtBrowser, 'cookie'> = person) {
  const page = await type(user_code, by)
  const done = await answer(requestOf(page), { scopes: shownIn(page), by })
  expect(`${done.status} ${/<h1>([^<]*)/.exec(done.text)?.[1]}`).toBe('200 Done')
}

const expectRefused = (answered: Answer, error: string) => expectOAuthError(answered, 400, error)

describe('a device begins', () => {
  test('with a code for its person, and one for itself that is stored hashed', async () => {
    const { status, body, headers } = await begin({ scope: 'notes.read' })
    expect(status).toBe(200)
    expect(headers.get('cache-control')).toBe('no-store')
    expect(body.user_code).toMatch(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/)
    const page = `${service.config.publicUrl}/device`
    expect(body).toEqual({
      device_code: expect.stringMatching(/^dc_\w{43,}$/),
      user_code: body.user_code,
      verification_uri: page,
      verification_uri_complete: `${page}?user_code=${body.user_code}`,
      expires_in: 600,
      interval: 5,
    })
    const rows = await sql`SELECT * FROM latchkey.device_codes`
    expect(rows.length).toBeGreaterThan(0)
    expect(JSON.stringify(rows)).not.toContain(body.device_code)
    expect(JSON.stringify(rows)).toContain(body.user_code.replace('-', ''))
  })

  test('only as an app that an admin registered for it, and that proves which one it is', async () => {
    const other = await addApp(sql)
    expectRefused(await begin({}, other), 'unauthorized_client')
    for (const source of ['metadata', 'dynamic'] as const)
      expectRefused(await begin({}, await addApp(sql, { grants: [DEVICE], source })), 'unauthorized_client')
    expectOAuthError(await begin({}, { clientId: Bun.randomUUIDv7() }), 401, 'invalid_client')
    const web = await addApp(sql, { grants: [DEVICE], kind: 'confidential' })
    expectOAuthError(await begin({}, web), 401, 'invalid_client')
    expectOAuthError(await begin({ client_secret: 'wrong' }, web), 401, 'invalid_client')
    const headers = basic(web.clientId, web.secret ?? '')
    expect((await begin({}, web, { headers })).status).toBe(200)
  })

  test('with a resource and scopes that there are', async () => {
    expectRefused(await begin({ resource: 'https://unknown.example.com' }), 'invalid_target')
    expectRefused(await begin({ resource: '' }), 'invalid_target')
    expectRefused(await begin({ scope: 'unheard-of' }), 'invalid_scope')
    expectRefused(await begin({ scope: 'latchkey:keys.read' }), 'invalid_scope')
    const twice = `client_id=${app.clientId}&resource=${api.identifier}&resource=${api.identifier}`
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    expectRefused(
      await call(service, 'POST /oauth/device_authorization', { raw: twice, headers }),
      'invalid_target',
    )
  })
})

describe('the page', () => {
  test('only fills the field from the link, and sends a person to sign in with it', async () => {
    const { user_code, verification_uri_complete } = await newDevice()
    const { pathname, search } = new URL(verification_uri_complete)
    const page = await call(service, `GET ${pathname}${search}`, { headers: { cookie: person.cookie } })
    expect(page.status).toBe(200)
    expect(page.text).toContain(`value="${user_code}"`)
    expect(page.text).not.toContain('Notebook')
    expect(page.headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
    const [device] =
      await sql`SELECT session_id FROM latchkey.device_codes WHERE user_code = ${user_code.replace('-', '')}`
    expect(device).toEqual({ session_id: null })
    const away = await call(service, `GET ${pathname}${search}`)
    expect(away.status).toBe(303)
    const to = new URL(away.headers.get('location') ?? '', 'http://localhost')
    expect([to.pathname, to.searchParams.get('return_to')]).toEqual(['/login', `${pathname}${search}`])
    const login = {
      form: { email: person.email, password: 'correct-horse-battery', return_to: pathname + search },
    }
    const back = await ask(service, 'POST /login', login)
    expect([back.status, back.headers.get('location')]).toEqual([303, pathname + search])
  })

  test('shows app, resource, scopes, and from where and when the device asked', async () => {
    const begun = await begin({ scope: 'notes.read notes.write' }, app, {
      headers: { 'x-forwarded-for': '203.0.113.77' },
    })
    const page = await type(begun.body.user_code)
    expect(page.status).toBe(200)
    const time = new Date(service.context.clock()).toISOString()
    for (const text of [
      'Notebook',
      'Notes',
      api.identifier,
      'Read your notes',
      'Write notes for you',
      person.email,
      begun.body.user_code,
    ])
      expect(page.text).toContain(text)
    expect(page.text).toContain('You started this on another device, at <strong>203.0.113.77</strong>')
    expect(page.text).toContain(time.slice(0, 10))
    // The two buttons are alike.
    expect(
      page.text.match(/<button type="submit" name="decision" value="(allow|cancel)" class="plain">/g),
    ).toHaveLength(2)
  })

  test('reads a code in any case, with or without the hyphen', async () => {
    const { user_code } = await newDevice()
    for (const code of [
      user_code.toLowerCase(),
      user_code.replace('-', ''),
      ` ${user_code.replace('-', ' ')} `,
    ])
      expect(requestOf(await type(code))).toBeString()
    for (const code of [
      '',
      'BCDF',
      `${user_code}B`,
      '<b>',
      `${user_code}\u0000`.replace('\u0000', 'A'),
      'B'.repeat(5000),
    ]) {
      const refused = await type(code)
      expect(refused.status).toBe(422)
      expect(refused.text).not.toContain('<b>')
    }
  })

  test('takes posts from a page of our own origin alone', async () => {
    const device = await newDevice()
    const foreign = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example.com' }
    expectProblem(await type(device.user_code, person, foreign), 'cross_site')
    expectProblem(await type(device.user_code, person, { 'sec-fetch-site': 'same-site' }), 'cross_site')
    const page = await type(device.user_code)
    expectProblem(await answer(requestOf(page), { scopes: shownIn(page), headers: foreign }), 'cross_site')
    expectRefused(await poll(device), 'authorization_pending')
    expect((await answer(requestOf(page), { scopes: shownIn(page) })).status).toBe(200)
    expect((await poll(device)).status).toBe(200)
  })

  test('takes an answer from the browser session alone that typed the code last', async () => {
    const device = await newDevice()
    const stranger = await addAtBrowser(service, sql)
    const request = requestOf(await type(device.user_code))
    for (const decision of ['allow', 'cancel'])
      expect((await answer(request, { by: stranger, scopes: ['notes.read'], decision })).status).toBe(400)
    expect((await answer(request, { by: { cookie: '' } })).status).toBe(303)
    expectRefused(await poll(device), 'authorization_pending')
    // The code goes on to another session; the page of the first one is then worth nothing.
    await type(device.user_code, stranger)
    expect((await answer(request, { scopes: ['notes.read'] })).status).toBe(400)
    const page = await type(device.user_code)
    expect((await answer(requestOf(page), { scopes: shownIn(page) })).status).toBe(200)
    const { body } = await poll(device)
    expect(decodeJwt(body.access_token).sub).toBe(person.id)
  })

  test('refuses an answer to a device that was answered, is over, or is unknown', async () => {
    const device = await newDevice()
    const request = requestOf(await type(device.user_code))
    await sql`UPDATE latchkey.device_codes SET expires_at = now() - interval '1 second' WHERE id = ${request}`
    expect((await answer(request, { scopes: ['notes.read'] })).status).toBe(400)
    expect((await type(device.user_code)).status).toBe(422)
    for (const id of ['', 'x', Bun.randomUUIDv7()]) expect((await answer(id)).status).toBe(400)
    const used = await newDevice()
    await allow(used)
    expect((await type(used.user_code)).status).toBe(422)
  })

  test('asks again each time, and says what was allowed before', async () => {
    const by = await addAtBrowser(service, sql)
    const first = await newDevice({ scope: 'notes.read' })
    await allow(first, by)
    const page = await type((await newDevice({ scope: 'notes.read' })).user_code, by)
    expect(page.text).toContain('allowed before')
    expect(page.text).toContain('value="allow"')
  })

  test('shows what the person may grant, and gives what they ticked', async () => {
    const device = await newDevice({ scope: 'notes.read notes.write notes.purge' })
    const page = await type(device.user_code)
    expect(shownIn(page)).toEqual(['notes.read', 'notes.write'])
    expect((await answer(requestOf(page), { scopes: [] })).status).toBe(422)
    expect((await answer(requestOf(page), { scopes: ['notes.purge', 'admin'] })).status).toBe(422)
    await answer(requestOf(page), { scopes: ['notes.read', 'notes.purge', 'admin'] })
    const { body } = await poll(device)
    expect(body.scope).toBe('notes.read')
    const none = await type((await newDevice({ scope: 'notes.purge' })).user_code)
    expect(none.status).toBe(400)
    expect(none.text).toContain('None of these scopes')
  })
})

describe('with a second factor that is due', () => {
  const strict = useService({ isIssuer: true, requireMfa: 'all' }, service)

  test('the page sends a person to set it up, and takes no answer', async () => {
    const device = await newDevice()
    const page = await type(device.user_code)
    const headers = { cookie: person.cookie }
    const form = { request: requestOf(page), decision: 'allow', 'scope.notes.read': 'on' }
    for (const away of [
      await call(strict, `GET /device?user_code=${device.user_code}`, { headers }),
      await ask(strict, 'POST /device', { form: { user_code: device.user_code }, headers }),
      await ask(strict, 'POST /device/answer', { form, headers }),
    ]) {
      expect(away.status).toBe(303)
      expect(away.headers.get('location')).toContain('/login/enrol?return_to=')
    }
    expectRefused(await poll(device), 'authorization_pending')
  })

  test('the device gets nothing for a yes from before', async () => {
    const device = await newDevice()
    await allow(device)
    const grant_type = 'urn:ietf:params:oauth:grant-type:device_code'
    const form = { grant_type, device_code: device.device_code, client_id: app.clientId }
    const refused = await call(strict, 'POST /oauth/token', { form })
    expect([refused.status, refused.body.error]).toEqual([403, 'mfa_enrolment_required'])
    expect((await poll(device)).status).toBe(200)
  })
})

describe('a device polls', () => {
  test('until its person said yes, and gets tokens of a session under the grant', async () => {
    const device = await newDevice({ scope: 'notes.read openid' })
    expectRefused(await poll(device), 'authorization_pending')
    await allow(device)
    const { status, body, headers } = await poll(device)
    expect(status).toBe(200)
    expect(headers.get('cache-control')).toBe('no-store')
    expect(body).toMatchObject({ token_type: 'bearer', scope: 'openid notes.read' })
    expect(decodeJwt(body.access_token)).toMatchObject({
      aud: api.identifier,
      sub: person.id,
      client_id: app.clientId,
      amr: ['pwd'],
    })
    expect(decodeJwt(body.id_token)).toMatchObject({ aud: app.clientId, sub: person.id })
    expect((await verifyCredential(service.context, body.access_token)).kind).toBe('client')
    expect((await refresh(service, app, body.refresh_token)).status).toBe(200)
    const [event] = await sql`SELECT actor_type, actor_id, details FROM latchkey.audit_events
      WHERE action IN ('grant.allowed', 'grant.widened') ORDER BY at DESC, id DESC LIMIT 1`
    expect(event).toMatchObject({ actor_type: 'user', actor_id: person.id })
    // A second use.
    expectRefused(await poll(device), 'invalid_grant')
    expect((await verifyCredential(service.context, body.access_token)).kind).toBe('client')
  })

  test('not faster than it may; each time it does, five seconds are added for good', async () => {
    const device = await newDevice()
    const after = (seconds: number) => {
      service.advance(seconds * 1000)
      return poll(device)
    }
    expectRefused(await poll(device), 'authorization_pending')
    expectRefused(await poll(device), 'slow_down')
    // Ten seconds from now on.
    expectRefused(await after(6), 'slow_down')
    // Fifteen.
    expectRefused(await after(11), 'slow_down')
    expectRefused(await after(20.5), 'authorization_pending')
    expectRefused(await after(20.5), 'authorization_pending')
    expectRefused(await after(15), 'slow_down')
    await allow(device)
    // After the yes nothing is too fast.
    expect((await poll(device)).status).toBe(200)
  })

  test('twice at once: one poll gets the tokens', async () => {
    for (let round = 0; round < 3; round++) {
      const device = await newDevice()
      await allow(device)
      const answers = await Promise.all([poll(device), poll(device), poll(device)])
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 400, 400])
      for (const refused of answers.filter(({ status }) => status === 400))
        expectRefused(refused, 'invalid_grant')
    }
  })

  test('in vain where its person said no', async () => {
    const device = await newDevice()
    const page = await type(device.user_code)
    const done = await answer(requestOf(page), { decision: 'cancel' })
    expect(done.text).toContain('Cancelled')
    for (let i = 0; i < 2; i++) expectRefused(await poll(device), 'access_denied')
    expect((await answer(requestOf(page), { scopes: shownIn(page) })).status).toBe(400)
  })

  test('in vain after ten minutes, also where its person said yes', async () => {
    const [waiting, allowed] = [await newDevice(), await newDevice()]
    await allow(allowed)
    service.advance(601_000)
    for (const device of [waiting, allowed]) expectRefused(await poll(device), 'expired_token')
  })

  test('with its own code, as the app that began', async () => {
    const device = await newDevice()
    await allow(device)
    const another = await addApp(sql, { grants: [DEVICE] })
    expectRefused(await poll(device, another), 'invalid_grant')
    expectRefused(await poll(device, await addApp(sql)), 'unauthorized_client')
    for (const device_code of ['dc_unknown', device.user_code, `${device.device_code}x`])
      expectRefused(await poll({ device_code }), 'invalid_grant')
    expectRefused(await askTokens(service, app, { grant_type: DEVICE }), 'invalid_request')
    expectOAuthError(
      await askTokens(
        service,
        { clientId: '', secret: null },
        { grant_type: DEVICE, device_code: device.device_code },
      ),
      401,
      'invalid_client',
    )
    expect((await poll(device)).status).toBe(200)
  })

  test('in vain where what it stands on ended meanwhile', async () => {
    const by = await addAtBrowser(service, sql)
    const ends: [string, (userId: string) => Promise<unknown>][] = [
      ['grant', (id) => sql`DELETE FROM latchkey.oauth_grants WHERE user_id = ${id}`],
      [
        'browser session',
        (id) =>
          sql`UPDATE latchkey.sessions SET ended_at = now(), ended_reason = 'logout' WHERE user_id = ${id} AND kind = 'browser'`,
      ],
    ]
    for (const [what, end] of ends) {
      const device = await newDevice()
      await allow(device, by)
      await end(by.id)
      expect([what, (await poll(device)).body.error]).toEqual([what, 'invalid_grant'])
    }
    const mine = await addApp(sql, { grants: [DEVICE] })
    const device = await newDevice({}, mine)
    await allow(device)
    await sql`UPDATE latchkey.oauth_clients SET is_active = false WHERE id = ${mine.id}`
    expectOAuthError(await poll(device, mine), 401, 'invalid_client')
  })
})

describe('limits', () => {
  const limited = useService({ rateLimits: DEFAULT_RATE_LIMITS, trustedProxies: ['127.0.0.1/32'] }, service)
  const at = (from: string) => ({ 'x-forwarded-for': from })
  const guess = (code: string, cookie: string, from: string) =>
    ask(limited, 'POST /device', { form: { user_code: code }, headers: { cookie, ...at(from) } })

  test('ten wrong codes an hour and person, from any address; then no right one either', async () => {
    const by = await addAtBrowser(service, sql)
    const { user_code } = await newDevice()
    // Right ones do not count.
    for (let i = 0; i < 3; i++)
      expect((await guess(user_code, by.cookie, `198.51.100.${i}`)).status).toBe(200)
    for (let i = 0; i < 10; i++)
      expect((await guess('BBBB-BBBB', by.cookie, `198.51.100.${i}`)).status).toBe(422)
    expect((await guess('BBBB-BBBB', by.cookie, '198.51.100.99')).status).toBe(429)
    expect((await guess(user_code, by.cookie, '198.51.100.98')).status).toBe(429)
    expect((await guess(user_code, person.cookie, '198.51.100.99')).status).toBe(200)
  })

  test('ten beginnings a minute and address', async () => {
    const form = { client_id: app.clientId, resource: api.identifier }
    const from = (address: string) =>
      call(limited, 'POST /oauth/device_authorization', { form, headers: at(address) })
    for (let i = 0; i < 10; i++) expect((await from('198.51.101.1')).status).toBe(200)
    expectOAuthError(await from('198.51.101.1'), 429, 'temporarily_unavailable')
    expect((await from('198.51.101.2')).status).toBe(200)
  })

  test('unknown device codes count as unknown credentials; waiting does not', async () => {
    const device = await newDevice()
    const ask = (device_code: string, address: string) =>
      call(limited, 'POST /oauth/token', {
        form: { grant_type: DEVICE, client_id: app.clientId, device_code },
        headers: at(address),
      })
    for (let i = 0; i < 61; i++)
      expect((await ask(device.device_code, '198.51.102.1')).body.error).toBe(
        i === 0 ? 'authorization_pending' : 'slow_down',
      )
    for (let i = 0; i < 60; i++) expect((await ask('dc_x', '198.51.102.1')).body.error).toBe('invalid_grant')
    expectOAuthError(await ask('dc_x', '198.51.102.1'), 429, 'temporarily_unavailable')
  })
})

test('a day after their end, codes are deleted', async () => {
  const [over, fresh] = [await newDevice(), await newDevice()]
  const age = (user_code: string, hours: number) =>
    sql`UPDATE latchkey.device_codes SET expires_at = ${new Date(service.context.clock() - hours * 3_600_000)} WHERE user_code = ${user_code.replace('-', '')}`
  await age(over.user_code, 25)
  await age(fresh.user_code, 23)
  await deleteOutdated(service.context, { vacuums: false })
  expectRefused(await poll(over), 'invalid_grant')
  expectRefused(await poll(fresh), 'expired_token')
})

test('the metadata names the endpoint and the grant', async () => {
  const { body } = await call(service, 'GET /.well-known/oauth-authorization-server')
  expect(body.device_authorization_endpoint).toBe(`${service.config.publicUrl}/oauth/device_authorization`)
  expect(body.grant_types_supported).toContain(DEVICE)
})

describe('with a shared secret', () => {
  const shared = useService({ algorithm: 'HS256' })

  test('there is no device flow', async () => {
    for (const route of ['GET /device', 'POST /device', 'POST /device/answer'])
      expect([route, (await ask(shared, route)).status]).toEqual([route, 404])
    expect(
      (await call(shared, 'POST /oauth/device_authorization', { form: { client_id: 'x' } })).status,
    ).toBe(404)
    const form = { grant_type: DEVICE, client_id: 'x', device_code: 'dc_x' }
    expectRefused(await call(shared, 'POST /oauth/token', { form }), 'unsupported_grant_type')
    const { body } = await call(shared, 'GET /.well-known/oauth-authorization-server')
    expect(body.device_authorization_endpoint).toBeUndefined()
    expect(body.grant_types_supported).not.toContain(DEVICE)
  })
})
