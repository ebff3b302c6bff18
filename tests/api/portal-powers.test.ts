import { describe, expect, test } from 'bun:test'
import { type Answer, type Call, call, newKey } from '../support/client.ts'
import { addLoggedIn, addPerson, LABELLER } from '../support/people.ts'
import { openPortal } from '../support/portal.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const PORTAL = 'latchkey:portal'
const ALL = ['read', 'create', 'rotate', 'revoke']

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const maker = prepare(() => addLoggedIn(service, sql, { scopes: [...LABELLER, PORTAL] }))
const made = prepare(async () => {
  const json = { name: 'customer', scopes: ['read', 'write'] }
  const account: string = (await call(service, 'POST /service-accounts', { bearer: maker.access, json })).body
    .id
  const key = await newKey(service, maker.access, { scopes: ['read', 'write', PORTAL] })
  const ofAccount = (scopes: string[]) =>
    newKey(service, maker.access, { service_account_id: account, scopes, name: scopes.join() })
  return {
    account,
    key,
    within: await ofAccount(['read']),
    beyond: await ofAccount(['read', 'write']),
    /** A key of the maker, who manages the account. */
    makers: await newKey(service, maker.access, { scopes: ['read'] }),
  }
})

type Json = Record<string, unknown>
const open = (may: readonly string[], scopes: string[] = ['read']) =>
  openPortal(service, { apiKey: made.key.key }, { service_account_id: made.account, scopes, may })
const as = (bearer: string, route: string, options: Call = {}) => call(service, route, { bearer, ...options })
const create = (bearer: string, json: Json = {}) => as(bearer, 'POST /keys', { json })
const expectForbidden = (answer: Answer) => expectProblem(answer, 'forbidden')

describe('with `read`', () => {
  test('the keys and the uses of the owner are shown, and nothing else', async () => {
    const { bearer } = await open(['read'])
    const list = await as(bearer, 'GET /keys?expand=owner,usage')
    const ids = list.body.map(({ id }: { id: string }) => id)
    expect(ids).toContain(made.within.id)
    expect(ids).toContain(made.beyond.id)
    for (const key of list.body) {
      expect(key.owner).toEqual({ type: 'service_account', id: made.account, label: 'customer' })
    }
    expect((await as(bearer, `GET /keys?service_account_id=${made.account}`)).body.length).toBe(ids.length)
    expect((await as(bearer, `GET /keys/${made.within.id}`)).body.id).toBe(made.within.id)
    expect((await as(bearer, `GET /keys/${made.within.id}/usage`)).status).toBe(200)
    const usage = await as(bearer, 'GET /usage?group=key')
    expect([usage.status, usage.body.top]).toEqual([200, []])
    expect((await as(bearer, `GET /usage?service_account_id=${made.account}`)).status).toBe(200)
  })

  test('what its maker could see beside it stays hidden', async () => {
    const { bearer } = await open(ALL)
    for (const id of [made.makers.id, made.key.id]) {
      expectProblem(await as(bearer, `GET /keys/${id}`), 'not_found')
      expectProblem(await as(bearer, `GET /keys/${id}/usage`), 'not_found')
      expectProblem(await as(bearer, `POST /keys/${id}/rotate`), 'not_found')
      expectProblem(await as(bearer, `DELETE /keys/${id}`), 'not_found')
    }
    for (const query of [`user_id=${maker.id}`, 'all=true'])
      expectForbidden(await as(bearer, `GET /keys?${query}`))
    const json = { name: 'other', scopes: ['read'] }
    const other = (await call(service, 'POST /service-accounts', { bearer: maker.access, json })).body.id
    for (const route of ['GET /keys', 'GET /usage']) {
      expectProblem(await as(bearer, `${route}?service_account_id=${other}`), 'not_found')
    }
    expectProblem(await as(bearer, `GET /usage?user_id=${maker.id}`), 'not_found')
    // The control: the maker sees them.
    expect((await as(maker.access, `GET /keys?service_account_id=${other}`)).status).toBe(200)
  })

  test('an external id finds the uses of its own keys alone', async () => {
    const labelled = await newKey(service, maker.access, { external_id: 'shared' })
    const { bearer } = await open(['read'])
    await call(service, 'POST /keys/verify', {
      bearer: (await newKey(service, admin.access, { scopes: ['latchkey:verify'] })).key,
      json: { key: labelled.key },
    })
    const answer = await as(bearer, 'GET /usage?external_id=shared')
    expect([answer.status, answer.body.totals.VALID]).toEqual([200, 0])
  })

  test('nothing is changed', async () => {
    const { bearer } = await open(['read'])
    expectForbidden(await create(bearer))
    expectForbidden(await as(bearer, `POST /keys/${made.within.id}/rotate`))
    expectForbidden(await as(bearer, `DELETE /keys/${made.within.id}`))
  })
})

describe('with `create`', () => {
  test('a key is made for the owner, by nobody who is named', async () => {
    const { bearer } = await open(['create'])
    const json = { name: 'mine', description: 'of the customer', scopes: ['read'], expires_in_days: 30 }
    const answer = await create(bearer, json)
    expect(answer.status).toBe(201)
    expect(answer.body).toMatchObject({
      name: 'mine',
      description: 'of the customer',
      scopes: ['read'],
      service_account_id: made.account,
      user_id: null,
      created_by: null,
      rate_limit: null,
    })
    const verifier = await newKey(service, admin.access, { scopes: ['latchkey:verify'] })
    const verified = await call(service, 'POST /keys/verify', {
      bearer: verifier.key,
      json: { key: answer.body.key, scopes: ['read'] },
    })
    expect(verified.body).toMatchObject({ valid: true, owner: { type: 'service_account', id: made.account } })
  })

  test('its key outlives the session, and the key that made the session', async () => {
    const brief = await newKey(service, maker.access, {
      scopes: ['read', 'write', PORTAL],
      expires_at: new Date(service.context.clock() + 600_000).toISOString(),
    })
    const portal = await openPortal(
      service,
      { apiKey: brief.key },
      { service_account_id: made.account, scopes: ['read'], may: ['create'] },
    )
    const { body } = await create(portal.bearer, { scopes: ['read'] })
    expect(body.expires_at).toBeNull()
    await call(service, `DELETE /keys/${brief.id}?created=true`, { bearer: maker.access })
    expectProblem(await as(portal.bearer, 'GET /keys'), 'invalid_token')
    expect((await call(service, 'GET /auth/me', { apiKey: body.key })).status).toBe(200)
  })

  test('only with scopes of the session that the owner still holds', async () => {
    const { bearer } = await open(['create'])
    for (const scopes of [['write'], ['read', 'write'], ['latchkey:keys.read'], [PORTAL]]) {
      expectProblem(await create(bearer, { scopes }), 'insufficient_scope')
    }
    const wide = await open(['create'], ['read', 'write'])
    const setScopes = (scopes: string[]) =>
      call(service, `PATCH /service-accounts/${made.account}`, { bearer: maker.access, json: { scopes } })
    await setScopes(['read'])
    expectProblem(await create(wide.bearer, { scopes: ['write'] }), 'insufficient_scope')
    await setScopes(['read', 'write'])
    expect((await create(wide.bearer, { scopes: ['write'] })).status).toBe(201)
    expect((await create(bearer, { scopes: ['read'] })).status).toBe(201)
  })

  test.each<[string, Json]>([
    ['external_id', { external_id: 'x' }],
    ['metadata', { metadata: { plan: 'free' } }],
    ['rate_limit', { rate_limit: { limit: 1, window_seconds: 1 } }],
    ['credits', { credits: { remaining: 1 } }],
    ['allowed_ips', { allowed_ips: [] }],
  ])('without %s, which the product sets', async (_, json) => {
    const { bearer } = await open(ALL)
    expectForbidden(await create(bearer, json))
    expect((await create(bearer, {})).status).toBe(201)
  })

  test('for no other owner', async () => {
    const { bearer } = await open(ALL)
    expectForbidden(await create(bearer, { service_account_id: Bun.randomUUIDv7() }))
  })

  test('an Idempotency-Key belongs to one session', async () => {
    const [one, other] = [await open(['create']), await open(['create'])]
    const headers = { 'idempotency-key': 'again' }
    const send = (bearer: string) => as(bearer, 'POST /keys', { json: {}, headers })
    const first = await send(one.bearer)
    expect(first.status).toBe(201)
    const repeated = await send(one.bearer)
    expect([repeated.status, repeated.body.id]).toEqual([409, first.body.id])
    expect((await send(other.bearer)).status).toBe(201)
  })
})

describe('with `rotate` and `revoke`', () => {
  test('keys whose scopes lie within those of the session', async () => {
    const ofAccount = { service_account_id: made.account, scopes: ['read'] }
    const { id } = await newKey(service, maker.access, ofAccount)
    const rotating = await open(['rotate'])
    const rotated = await as(rotating.bearer, `POST /keys/${id}/rotate`, { json: { overlap_seconds: 0 } })
    expect([rotated.status, rotated.body.id]).toEqual([201, id])
    expectForbidden(await as(rotating.bearer, `DELETE /keys/${id}`))
    const revoking = await open(['revoke'])
    expectForbidden(await as(revoking.bearer, `POST /keys/${id}/rotate`))
    expect((await as(revoking.bearer, `DELETE /keys/${id}?reason=unused`)).status).toBe(200)
    expect((await as(revoking.bearer, `GET /keys/${id}`)).body).toMatchObject({
      status: 'revoked',
      revoked_reason: 'unused',
    })
  })

  test('not keys that hold more, which are shown', async () => {
    const { bearer } = await open(ALL)
    expect((await as(bearer, `GET /keys/${made.beyond.id}`)).status).toBe(200)
    expectForbidden(await as(bearer, `POST /keys/${made.beyond.id}/rotate`))
    expectForbidden(await as(bearer, `DELETE /keys/${made.beyond.id}`))
    const wide = await open(ALL, ['read', 'write'])
    expect((await as(wide.bearer, `POST /keys/${made.beyond.id}/rotate`)).status).toBe(201)
  })

  test('not what a key made, which may be another owner’s', async () => {
    const { bearer } = await open(ALL)
    expectForbidden(await as(bearer, `DELETE /keys/${made.within.id}?created=true`))
    expect((await as(bearer, `GET /keys/${made.within.id}`)).body.revoked_at).toBeNull()
  })
})

describe('of a user', () => {
  test('an admin’s session for a user shows the user’s own keys, not those of accounts that the user manages', async () => {
    const { bearer, access } = await openPortal(
      service,
      { bearer: admin.access },
      { user_id: maker.id, scopes: ['read'], may: ALL },
    )
    expect(access.owner).toEqual({ type: 'user', id: maker.id, label: maker.email })
    const ids = (await as(bearer, 'GET /keys')).body.map(({ id }: { id: string }) => id)
    expect(ids).toContain(made.makers.id)
    expect(ids).not.toContain(made.within.id)
    expectProblem(await as(bearer, `GET /keys/${made.within.id}`), 'not_found')
    for (const route of ['GET /keys', 'GET /usage']) {
      expectProblem(await as(bearer, `${route}?service_account_id=${made.account}`), 'not_found')
      expect((await as(maker.access, `${route}?service_account_id=${made.account}`)).status).toBe(200)
    }
    expect((await create(bearer, { scopes: ['read'] })).body.user_id).toBe(maker.id)
    await call(service, `PATCH /service-accounts/${made.account}`, {
      bearer: admin.access,
      json: { external_id: 'of the account' },
    })
    await sql`INSERT INTO latchkey.key_usage (key_id, hour, outcome, count)
      VALUES (${made.within.id}, date_trunc('hour', now()), 'VALID', 3)`
    const used = async (by: string) =>
      (await as(by, 'GET /usage?external_id=of%20the%20account')).body.totals.VALID
    expect([await used(bearer), (await used(maker.access)) >= 3]).toEqual([0, true])
  })
})

describe('everywhere else', () => {
  test('a bearer is of the wrong kind', async () => {
    const { bearer } = await open(ALL)
    const routes = [
      'GET /auth/me',
      'GET /auth/sessions',
      'POST /keys/create',
      'GET /keys/list',
      `PATCH /keys/${made.within.id}`,
      `GET /keys/${made.within.id}/refusals`,
      `POST /keys/${made.within.id}/check`,
      `DELETE /keys/revoke/${made.within.id}`,
      `DELETE /keys/delete/${made.within.id}`,
      'DELETE /keys/self',
      'POST /keys/lookup',
      'POST /keys/revoke',
      'POST /keys/verify',
      'POST /keys/import',
      'GET /service-accounts',
      `GET /service-accounts/${made.account}`,
      'GET /users',
      'GET /audit',
      'GET /signing-keys',
      'GET /protected/any',
      'POST /portal/sessions',
      `DELETE /portal/sessions/${Bun.randomUUIDv7()}`,
    ]
    for (const route of routes) {
      const answer = await as(bearer, route)
      expect([route, answer.body?.code]).toEqual([route, 'wrong_credential_kind'])
      const byHeader = await call(service, route, { apiKey: bearer })
      expect([route, byHeader.body?.code]).toEqual([route, 'wrong_credential_kind'])
    }
    expect((await as(bearer, 'GET /keys')).status).toBe(200)
  })

  test('it is unknown to those who verify', async () => {
    const { bearer } = await open(ALL)
    // Once before it is remembered, and once after.
    for (let i = 0; i < 2; i++) {
      const { key } = await newKey(service, admin.access, {
        scopes: ['latchkey:verify', 'latchkey:introspect'],
      })
      const verified = await call(service, 'POST /keys/verify', { bearer: key, json: { key: bearer } })
      expect(verified.body).toEqual({ valid: false, code: 'NOT_FOUND' })
      const batch = await call(service, 'POST /keys/verify-batch', {
        bearer: key,
        json: { keys: [{ key: bearer }] },
      })
      expect(batch.text).toContain('NOT_FOUND')
      const introspected = await call(service, 'POST /oauth/introspect', {
        bearer: key,
        form: { token: bearer },
      })
      expect(introspected.text).toBe('{"active":false}')
      for (const route of ['GET /forward-auth', 'GET /forward-auth?kind=any', 'GET /forward-auth/any/a']) {
        expectProblem(await as(bearer, route), 'invalid_token')
      }
      expect((await as(bearer, 'POST /oauth/introspect', { form: { token: 'x' } })).status).toBe(403)
      const client = { grant_type: 'client_credentials', client_id: made.account, client_secret: bearer }
      expect((await call(service, 'POST /oauth/token', { form: client })).status).toBe(401)
      expect((await call(service, 'POST /oauth/revoke', { form: { token: bearer } })).status).toBe(200)
      expect((await as(bearer, 'GET /keys')).status).toBe(200)
    }
  })
})

describe('the audit trail', () => {
  test('names the session, its maker and its owner, at what it did and at what it was refused', async () => {
    const { id, bearer } = await open(ALL)
    const { body } = await create(bearer, { scopes: ['read'] })
    await as(bearer, `DELETE /keys/${body.id}`)
    expectProblem(await as(bearer, 'GET /users'), 'wrong_credential_kind')
    expect((await as(bearer, 'DELETE /portal/session')).status).toBe(204)
    const { items } = (await call(service, `GET /audit?actor=${id}`, { bearer: admin.access })).body
    const actions = items.map(({ action }: { action: string }) => action).sort()
    expect(actions).toEqual(['access.denied', 'key.created', 'key.revoked', 'portal.session_ended'])
    for (const { actor, details } of items) {
      expect(actor).toEqual({ type: 'portal', id })
      expect(details).toMatchObject({
        maker: { type: 'key', id: made.key.id },
        owner: { type: 'service_account', id: made.account },
      })
    }
    expect(JSON.stringify(items)).not.toContain('pt_')
  })

  test('the access log names the session, and neither link nor bearer', async () => {
    const { id, token, bearer } = await open(ALL)
    await as(bearer, 'GET /keys')
    expect(service.loggedText()).toContain(`"portal:${id}"`)
    expect(service.loggedText()).not.toContain(token)
    expect(service.loggedText()).not.toContain(bearer)
  })
})

describe('the end of a session', () => {
  const end = (id: string, options: Call) => call(service, `DELETE /portal/sessions/${id}`, options)

  test('by its maker and by an admin, again without effect', async () => {
    for (const by of [{ apiKey: made.key.key }, { bearer: admin.access }]) {
      const { id, bearer } = await open(['read'])
      for (let i = 0; i < 2; i++) expect((await end(id, by)).status).toBe(204)
      expectProblem(await as(bearer, 'GET /keys'), 'invalid_token')
      const events = await sql`SELECT details FROM latchkey.audit_events
        WHERE target_id = ${id} AND action = 'portal.session_ended'`
      expect(events).toHaveLength(1)
      expect(events[0]?.details).toMatchObject({ maker: { type: 'key', id: made.key.id } })
    }
  })

  test('by nobody else: as of an unknown one', async () => {
    const { id, bearer } = await open(['read'])
    const other = await newKey(service, maker.access, { scopes: ['read', PORTAL] })
    const stranger = await addLoggedIn(service, sql)
    for (const by of [{ apiKey: other.key }, { bearer: maker.access }, { bearer: stranger.access }]) {
      expectProblem(await end(id, by), 'not_found')
      expectProblem(await end(Bun.randomUUIDv7(), by), 'not_found')
      expectProblem(await end('x', by), 'not_found')
    }
    expect((await as(bearer, 'GET /keys')).status).toBe(200)
  })

  test('not with a secret of the maker’s key, nor with the maker’s access token', async () => {
    const key = await newKey(service, maker.access, { scopes: ['read', 'write', PORTAL] })
    const portal = { service_account_id: made.account }
    const ofKey = await openPortal(service, { apiKey: key.key }, portal)
    await as(maker.access, `POST /keys/${key.id}/rotate`, { json: { overlap_seconds: 0 } })
    expectProblem(await call(service, 'GET /auth/me', { apiKey: key.key }), 'invalid_token')
    expect((await as(ofKey.bearer, 'GET /keys')).status).toBe(200)
    const brief = await addLoggedIn(service, sql, { role: 'admin' })
    const ofAdmin = await openPortal(service, { bearer: brief.access }, portal)
    await as(brief.access, 'POST /auth/logout-all')
    expectProblem(await as(brief.access, 'GET /auth/me'), 'invalid_token')
    expect((await as(ofAdmin.bearer, 'GET /keys')).status).toBe(200)
    await as(maker.access, `DELETE /keys/${key.id}`)
    expectProblem(await as(ofKey.bearer, 'GET /keys'), 'invalid_token')
    await as(admin.access, `PATCH /users/${brief.id}`, { json: { role: 'user' } })
    expectProblem(await as(ofAdmin.bearer, 'GET /keys'), 'invalid_token')
  })

  test('when the owner of the key that made it is disabled', async () => {
    const person = await addLoggedIn(service, sql, { scopes: ['read', PORTAL] })
    const json = { name: 'theirs', scopes: ['read'] }
    const account = (await as(person.access, 'POST /service-accounts', { json })).body.id
    const { key } = await newKey(service, person.access, { scopes: ['read', PORTAL] })
    const portal = await openPortal(service, { apiKey: key }, { service_account_id: account })
    expect((await as(portal.bearer, 'GET /keys')).status).toBe(200)
    await as(admin.access, `PATCH /users/${person.id}`, { json: { is_active: false } })
    expectProblem(await as(portal.bearer, 'GET /keys'), 'invalid_token')
  })

  test('what its maker loses, it loses', async () => {
    const key = await newKey(service, maker.access, { scopes: ['read', 'write', PORTAL] })
    const portal = { service_account_id: made.account, scopes: ['read', 'write'], may: ['create'] }
    const { bearer } = await openPortal(service, { apiKey: key.key }, portal)
    expect((await create(bearer, { scopes: ['write'] })).status).toBe(201)
    await as(maker.access, `PATCH /keys/${key.id}`, { json: { scopes: ['read', PORTAL] } })
    expectProblem(await create(bearer, { scopes: ['write'] }), 'insufficient_scope')
    expect((await create(bearer, { scopes: ['read'] })).status).toBe(201)
  })

  test('is its expiry, to the second', async () => {
    const { bearer } = await openPortal(
      service,
      { apiKey: made.key.key },
      { service_account_id: made.account, expires_in_seconds: 60 },
    )
    service.advance(55_000)
    expect((await as(bearer, 'GET /keys')).status).toBe(200)
    service.advance(5_000)
    expectProblem(await as(bearer, 'GET /keys'), 'invalid_token')
  })
})

describe('with REAUTHENTICATE_FOR_KEYS', () => {
  const strict = useService({ reauthenticateForKeys: true })
  const strictSql = useSql(strict)

  test('an old log-in makes no session, by which keys could be made', async () => {
    const person = await addLoggedIn(strict, strictSql, { role: 'admin' })
    const customer = await addPerson(strictSql)
    const send = () =>
      call(strict, 'POST /portal/sessions', {
        bearer: person.access,
        json: { user_id: customer.id, may: ['create'] },
      })
    expect((await send()).status).toBe(201)
    strict.advance(11 * 60_000)
    expectProblem(await send(), 'reauthentication_required')
    // The customer is asked for no password of ours.
    const late = (await addLoggedIn(strict, strictSql, { role: 'admin' })).access
    const open = await openPortal(strict, { bearer: late }, { user_id: customer.id, may: ['create'] })
    const key = await call(strict, 'POST /keys', { bearer: open.bearer, json: {} })
    expect(key.status).toBe(201)
  })
})

describe('API_KEYS_PER_OWNER', () => {
  const small = useService({ apiKeysPerOwner: 1 })
  const smallSql = useSql(small)

  test('holds in the portal', async () => {
    const { access } = await addLoggedIn(small, smallSql, { role: 'admin' })
    const customer = await addPerson(smallSql)
    const { bearer } = await openPortal(small, { bearer: access }, { user_id: customer.id, may: ['create'] })
    expect((await call(small, 'POST /keys', { bearer, json: {} })).status).toBe(201)
    expectProblem(await call(small, 'POST /keys', { bearer, json: {} }), 'quota_exceeded')
  })
})
