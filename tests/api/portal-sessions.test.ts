import { describe, expect, test } from 'bun:test'
import { hashToken } from '../../src/lib/tokens.ts'
import { type Answer, call, newKey } from '../support/client.ts'
import { everyLimit } from '../support/limits.ts'
import { addLoggedIn, addPerson, PASSWORD } from '../support/people.ts'
import { makePortal, openPortal } from '../support/portal.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const PORTAL = 'latchkey:portal'
const MINUTE_MS = 60_000

const service = useService({ portalReturnOrigins: ['https://app.example.com', 'http://localhost:3000'] })
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
/** The person behind the product's back end, whom an admin lets make portal sessions. */
const maker = prepare(() => addLoggedIn(service, sql, { scopes: ['read', 'write', PORTAL] }))

const newAccount = async (bearer: string, scopes: string[] = ['read']): Promise<string> =>
  (await call(service, 'POST /service-accounts', { bearer, json: { name: 'customer', scopes } })).body.id
const made = prepare(async () => ({
  key: await newKey(service, maker.access, { scopes: ['read', 'write', PORTAL] }),
  account: await newAccount(maker.access),
}))

type Json = Record<string, unknown>
const make = (json: Json, apiKey = made.key.key) => call(service, 'POST /portal/sessions', { apiKey, json })
const makeAsAdmin = (json: Json) => call(service, 'POST /portal/sessions', { bearer: admin.access, json })
const ofAccount = () => ({ service_account_id: made.account })
const expectMade = (answer: Answer) => expect([answer.status, answer.text]).toEqual([201, answer.text])

describe('a portal session is made', () => {
  test('by a key with latchkey:portal, for an account that its owner manages', async () => {
    const answer = await make({ ...ofAccount(), scopes: ['read'], may: ['create'] })
    expectMade(answer)
    const { id, url, expires_at } = answer.body
    expect(url).toMatch(/\/portal#pl_[0-9A-Za-z]{49}$/)
    expect(url.startsWith(`${service.config.publicUrl}/portal#`)).toBe(true)
    const lastsMs = Date.parse(expires_at) - service.context.clock()
    expect(Math.abs(lastsMs - 15 * MINUTE_MS)).toBeLessThan(30_000)
    const [row] = await sql`SELECT * FROM latchkey.portal_sessions WHERE id = ${id}`
    expect(Buffer.from(row?.link_hash)).toEqual(Buffer.from(hashToken(url.split('#')[1])))
    expect(row).toMatchObject({ made_by_key: made.key.id, made_by_user: null, bearer_hash: null })
    expect([row?.scopes, row?.may]).toEqual([['read'], ['read', 'create']])
    const [event] = await sql`SELECT * FROM latchkey.audit_events WHERE target_id = ${id}`
    expect(event).toMatchObject({
      action: 'portal.session_created',
      actor_type: 'key',
      actor_id: made.key.id,
    })
    expect(event?.details).toMatchObject({
      maker: { type: 'key', id: made.key.id },
      owner: { type: 'service_account', id: made.account },
    })
    expect(JSON.stringify(event)).not.toContain('pl_')
  })

  test('by an admin, for a user or any account', async () => {
    const customer = await addPerson(sql)
    expectMade(await makeAsAdmin({ user_id: customer.id }))
    expectMade(await makeAsAdmin(ofAccount()))
  })

  test('by nobody else', async () => {
    const person = await addLoggedIn(service, sql, { scopes: ['read', PORTAL] })
    const ofPerson = { service_account_id: await newAccount(person.access) }
    const asPerson = (bearer: string) => call(service, 'POST /portal/sessions', { bearer, json: ofPerson })
    // The scope is for keys: a person's own token needs an admin.
    expectProblem(await asPerson(person.access), 'forbidden')
    const { key } = await newKey(service, person.access, { scopes: ['read'] })
    expectProblem(await make(ofPerson, key), 'insufficient_scope')
    const form = { grant_type: 'password', username: admin.email, password: PASSWORD, scope: 'read' }
    const narrowed = await call(service, 'POST /oauth/token', { form })
    expectProblem(await asPerson(narrowed.body.access_token), 'forbidden')
    const portal = await openPortal(service, { apiKey: made.key.key }, ofAccount())
    expectProblem(await asPerson(portal.bearer), 'wrong_credential_kind')
    expectMade(await make(ofPerson, (await newKey(service, person.access, { scopes: ['read', PORTAL] })).key))
  })

  test('for an owner whom the maker may not manage: as for an unknown one', async () => {
    const other = await addLoggedIn(service, sql)
    const theirs = await newAccount(other.access)
    for (const id of [theirs, Bun.randomUUIDv7(), 'x', '']) {
      expectProblem(await make({ service_account_id: id }), 'not_found')
    }
    expectProblem(await make({ external_id: 'nobody' }), 'not_found')
    expectProblem(await makeAsAdmin({ user_id: Bun.randomUUIDv7() }), 'not_found')
    expectMade(await make(ofAccount()))
  })

  test('by the external id of the account, compared in NFC', async () => {
    const account = await newAccount(maker.access)
    const external_id = 'Zoe\u0308/..'
    await call(service, `PATCH /service-accounts/${account}`, { bearer: admin.access, json: { external_id } })
    for (const name of [external_id, external_id.normalize('NFC')]) {
      const { access } = await openPortal(service, { apiKey: made.key.key }, { external_id: name })
      expect(access.owner).toMatchObject({ type: 'service_account', id: account })
    }
    const other = await addLoggedIn(service, sql)
    const theirs = await newAccount(other.access)
    const json = { external_id: 'another’s' }
    await call(service, `PATCH /service-accounts/${theirs}`, { bearer: admin.access, json })
    for (const name of ['another’s', 'Zoe/..', 'constructor']) {
      expectProblem(await make({ external_id: name }), 'not_found')
    }
    expectMade(await makeAsAdmin({ external_id: 'another’s' }))
  })

  test('by a key of a service account, for the accounts that this account manages', async () => {
    const json = { name: 'back end', scopes: ['read', PORTAL] }
    const backEnd = (await call(service, 'POST /service-accounts', { bearer: admin.access, json })).body.id
    const { key } = await newKey(service, admin.access, {
      service_account_id: backEnd,
      scopes: ['read', PORTAL],
    })
    const customer = await newAccount(maker.access)
    expectProblem(await make({ service_account_id: customer }, key), 'not_found')
    await call(service, `PUT /service-accounts/${customer}/managers`, {
      bearer: maker.access,
      json: { service_account_id: backEnd },
    })
    expectMade(await make({ service_account_id: customer, scopes: ['read'] }, key))
    // It does not manage itself.
    expectProblem(await make({ service_account_id: backEnd }, key), 'not_found')
  })

  test('for a user only by an admin, and never for an admin', async () => {
    const customer = await addPerson(sql)
    expectProblem(await make({ user_id: customer.id }), 'forbidden')
    expectProblem(await make({ user_id: Bun.randomUUIDv7() }), 'forbidden')
    expectProblem(await makeAsAdmin({ user_id: admin.id }), 'forbidden')
    expectMade(await makeAsAdmin({ user_id: customer.id }))
  })

  test('not for a disabled owner', async () => {
    const account = await newAccount(maker.access)
    await call(service, `PATCH /service-accounts/${account}`, {
      bearer: maker.access,
      json: { is_active: false },
    })
    expectProblem(await make({ service_account_id: account }), 'conflict')
  })

  test('with scopes that its maker could grant, and none of Latchkey’s own', async () => {
    const narrow = await newKey(service, maker.access, { scopes: ['read', PORTAL] })
    expectProblem(await make({ ...ofAccount(), scopes: 'write' }, narrow.key), 'insufficient_scope')
    for (const scope of [PORTAL, 'latchkey:keys.read', 'latchkey:support']) {
      expectProblem(await make({ ...ofAccount(), scopes: [scope] }), 'insufficient_scope')
      expectProblem(await makeAsAdmin({ ...ofAccount(), scopes: ['read', scope] }), 'insufficient_scope')
    }
    expectMade(await make({ ...ofAccount(), scopes: 'read' }, narrow.key))
  })

  test.each([
    ['no owner', {}],
    ['two owners', { user_id: 'a', service_account_id: 'b' }],
    ['an owner and an external id', { service_account_id: 'b', external_id: 'c' }],
    ['no power', { may: [] }],
    ['an unknown power', { may: ['delete'] }],
    ['an inherited name as power', { may: ['constructor'] }],
    ['a life that is too short', { expires_in_seconds: 59 }],
    ['a life that is too long', { expires_in_seconds: 3601 }],
    ['a life that is no number', { expires_in_seconds: '900' }],
    ['a malformed scope', { scopes: ['READ'] }],
    ['an unknown member', { metadata: {} }],
  ])('%s is 422', async (_, json: Json) => {
    const named = Object.keys(json).some((name) => name.endsWith('_id')) || Object.keys(json).length === 0
    expectProblem(await make({ ...(!named && ofAccount()), ...json }), 'validation_failed')
  })

  test.each([
    'http://app.example.com/',
    'https://app.example.com.evil.example/',
    'https://app.example.com@evil.example/',
    'https://user:pass@app.example.com/',
    'https://evil.example/?https://app.example.com',
    'javascript:alert(1)',
    'data:text/html,x',
    '//app.example.com/',
    '/keys',
    'https://app.example.com:8443/',
    'https:app.example.com.evil.example',
    '',
    'constructor',
  ])('a return_url of another place is 422: %s', async (return_url) => {
    const answer = await make({ ...ofAccount(), return_url })
    expectProblem(answer, 'validation_failed')
    expect(answer.body.errors[0].path).toBe('/return_url')
  })

  test('a return_url of an origin that is named, or of our own', async () => {
    const own = `${new URL(service.config.publicUrl).origin}/console`
    for (const return_url of ['https://app.example.com/a?b=c#d', 'http://localhost:3000/keys', own]) {
      const { access } = await openPortal(service, { apiKey: made.key.key }, { ...ofAccount(), return_url })
      expect(access.return_url).toBe(return_url)
    }
  })

  test('no session outlives the key that made it', async () => {
    const expires_at = new Date(service.context.clock() + 2 * MINUTE_MS).toISOString()
    const brief = await newKey(service, maker.access, { scopes: ['read', PORTAL], expires_at })
    const answer = await make(ofAccount(), brief.key)
    expect(answer.body.expires_at).toBe(expires_at)
  })
})

describe('a link', () => {
  const exchange = (token: unknown) => call(service, 'POST /portal/exchange', { json: { token } })

  test('gives the bearer, and says what the session is for', async () => {
    const { token } = await makePortal(
      service,
      { apiKey: made.key.key },
      { ...ofAccount(), scopes: ['write', 'read'], may: ['revoke', 'create'], expires_in_seconds: 60 },
    )
    const answer = await exchange(token)
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({
      access_token: expect.stringMatching(/^pt_[0-9A-Za-z]{49}$/),
      expires_in: expect.any(Number),
      owner: { type: 'service_account', id: made.account, label: 'customer' },
      // `write` lies beyond the account's ceiling.
      scopes: ['read'],
      may: ['read', 'create', 'revoke'],
      return_url: null,
      name: service.config.portalName,
    })
    expect(answer.body.expires_in).toBeWithin(50, 61)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    const [row] = await sql`SELECT bearer_hash FROM latchkey.portal_sessions
      WHERE link_hash = ${Buffer.from(hashToken(token))}`
    expect(Buffer.from(row?.bearer_hash)).toEqual(Buffer.from(hashToken(answer.body.access_token)))
  })

  test('works once, also for many at once', async () => {
    const { token } = await makePortal(service, { apiKey: made.key.key }, ofAccount())
    const answers = await Promise.all(Array.from({ length: 30 }, () => exchange(token)))
    const statuses = answers.map(({ status }) => status)
    expect(statuses.filter((status) => status === 200)).toHaveLength(1)
    // 503: too many wait for the one that holds the locks.
    expect(statuses.filter((status) => ![200, 401, 503].includes(status))).toEqual([])
    expect(statuses).toContain(401)
    expectProblem(await exchange(token), 'invalid_token')
  })

  test('works for five minutes, and no longer than its session', async () => {
    const long = await makePortal(
      service,
      { apiKey: made.key.key },
      { ...ofAccount(), expires_in_seconds: 3600 },
    )
    const short = await makePortal(
      service,
      { apiKey: made.key.key },
      { ...ofAccount(), expires_in_seconds: 60 },
    )
    service.advance(61_000)
    expectProblem(await exchange(short.token), 'invalid_token')
    service.advance(4 * MINUTE_MS)
    expectProblem(await exchange(long.token), 'invalid_token')
    const late = await makePortal(service, { apiKey: made.key.key }, ofAccount())
    service.advance(4 * MINUTE_MS)
    expect((await exchange(late.token)).status).toBe(200)
  })

  test('is dead as soon as its session, its owner or its maker is', async () => {
    const account = await newAccount(maker.access)
    const key = await newKey(service, maker.access, { scopes: ['read', PORTAL] })
    const fresh = () => makePortal(service, { apiKey: key.key }, { service_account_id: account })
    const ended = await fresh()
    expect((await call(service, `DELETE /portal/sessions/${ended.id}`, { apiKey: key.key })).status).toBe(204)
    expectProblem(await exchange(ended.token), 'invalid_token')
    const ofDisabled = await fresh()
    const setActive = (is_active: boolean) =>
      call(service, `PATCH /service-accounts/${account}`, { bearer: maker.access, json: { is_active } })
    await setActive(false)
    expectProblem(await exchange(ofDisabled.token), 'invalid_token')
    await setActive(true)
    const ofRevoked = await fresh()
    await call(service, `DELETE /keys/${key.id}`, { bearer: maker.access })
    expectProblem(await exchange(ofRevoked.token), 'invalid_token')
  })

  test.each([
    ['unknown', `pl_${'0'.repeat(49)}`],
    ['empty', ''],
    ['long', 'p'.repeat(8192)],
    ['an inherited name', 'constructor'],
    ['text that no database stores', 'pl_\u0000'],
  ])('that is %s is 401', async (_, token) => {
    const answer = await exchange(token)
    expectProblem(answer, 'invalid_token')
  })

  test('of another shape is 422', async () => {
    for (const token of [null, 1, {}, ['x'], 'p'.repeat(8193)]) {
      expectProblem(await exchange(token), 'validation_failed')
    }
  })

  test('is no credential itself, and no bearer is a link', async () => {
    const { token } = await makePortal(service, { apiKey: made.key.key }, ofAccount())
    expectProblem(await call(service, 'GET /keys', { bearer: token }), 'invalid_token')
    expectProblem(await call(service, 'GET /keys', { apiKey: token }), 'invalid_token')
    const { bearer } = await openPortal(service, { apiKey: made.key.key }, ofAccount())
    expectProblem(await exchange(bearer), 'invalid_token')
    expect((await exchange(token)).status).toBe(200)
  })
})

describe('guesses at links', () => {
  const unreached = { limit: 1_000_000, windowSeconds: 60 }
  const limited = useService({
    rateLimits: { ...everyLimit(unreached), unknown_credential: { limit: 5, windowSeconds: 60 } },
  })

  test('count as unknown credentials', async () => {
    const guess = () => call(limited, 'POST /portal/exchange', { json: { token: 'pl_guess' } })
    for (let i = 0; i < 5; i++) expect((await guess()).status).toBe(401)
    expect((await guess()).status).toBe(429)
    expect((await call(limited, 'GET /keys', { apiKey: 'x' })).status).toBe(429)
  })
})
