import { describe, expect, test } from 'bun:test'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { writeAuditCounts } from '../../src/core/audit/counted-events.ts'
import { rewrapSecrets } from '../../src/core/second-factors/rewrap.ts'
import { endEverySession } from '../../src/core/sessions/sessions.ts'
import { revokeSigningKey, rotateSigningKey } from '../../src/core/signing/signing-keys.ts'
import { type Answer, type Call, call, newKey } from '../support/client.ts'
import { basic, newClient } from '../support/oauth.ts'
import {
  type AddedPerson,
  addLoggedIn,
  addPerson,
  beginSession,
  connectTo,
  PASSWORD,
  type Tokens,
} from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { claimsOf, refresh } from '../support/refresh.ts'
import { startService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const FROM = '203.0.113.77'
const NEW = 'another-long-one'

const service = useService({ trustedProxies: ['127.0.0.0/8'] })
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))

/** Moves the clock to a new minute, because repeated refusals within one minute are one row. */
const beginMinute = () => service.advance(60_000 - (service.context.clock() % 60_000))

type Row = {
  action: string
  outcome: string
  actor_type: string
  actor_id: string | null
  target_type: string | null
  target_id: string | null
  ip: string | null
  request_id: string | null
  details: Record<string, unknown>
}
/** The expected members of an event. Actor and target are a type and an id. */
type Expected = {
  action: string
  actor: [type: string, id: string | null]
  target: [type: string | null, id: unknown]
  outcome?: 'refused'
  details?: Record<string, unknown>
}

let requests = 0
const seen = new Set<string>()
/** Secrets that must never be in a row. */
const secrets = new Set([PASSWORD, NEW])
const rowsOf = async (requestId: string): Promise<Row[]> =>
  (await sql<Row[]>`SELECT * FROM latchkey.audit_events WHERE request_id = ${requestId} ORDER BY id`).map(
    ({ action, outcome, actor_type, actor_id, target_type, target_id, ip, request_id, details }) => ({
      ...{ action, outcome, actor_type, actor_id, target_type, target_id, ip, request_id, details },
    }),
  )

/** Sends a request from the address FROM, with an id of its own. */
async function send(route: string, options: Call = {}): Promise<Answer & { id: string }> {
  const id = `audit-test-${String(++requests).padStart(6, '0')}`
  const headers = { 'x-forwarded-for': FROM, 'x-request-id': id, ...options.headers }
  const answer = await call(service, route, { ...options, headers })
  for (const secret of [
    options.bearer,
    options.apiKey,
    answer.body?.access_token,
    answer.body?.refresh_token,
  ]) {
    if (typeof secret === 'string') secrets.add(secret)
  }
  for (const secret of [answer.body?.key, answer.body?.token])
    if (typeof secret === 'string') secrets.add(secret)
  return { ...answer, id }
}

/** Expects exactly these rows of the request, each once and with all its members. */
async function expectRows(answer: { id: string }, expected: Expected[]): Promise<void> {
  const rows = await rowsOf(answer.id)
  expect(rows).toEqual(
    expected.map(({ action, actor, target, outcome, details }) => ({
      action,
      outcome: outcome ?? 'success',
      actor_type: actor[0],
      actor_id: actor[1],
      target_type: target[0],
      target_id: target[1] as string | null,
      ip: FROM,
      request_id: answer.id,
      details: details ?? {},
    })),
  )
  for (const { action } of expected) seen.add(action)
}

const asAdmin = (route: string, json?: unknown) => send(route, { bearer: admin.access, json })
const ANYBODY: Expected['actor'] = ['anonymous', null]
const byAdmin = (): Expected['actor'] => ['user', admin.id]
const user = (id: string): [string, string] => ['user', id]
const session = (tokens: Tokens): [string, string] => ['session', claimsOf(service, tokens.refresh).sessionId]
const text = expect.any(String)

describe('each event is one row with actor, action, target, address and outcome', () => {
  test('a sign-up, a log-in, a failed log-in, and the lock after too many', async () => {
    const email = 'signs-up@example.com'
    const json = { email, password: PASSWORD }
    const made = await send('POST /auth/signup', { json })
    const { id } = made.body
    await expectRows(made, [
      { action: 'user.signup', actor: user(id), target: user(id), details: { role: 'user' } },
    ])
    const login = await send('POST /auth/login', { json })
    const { sessionId } = claimsOf(service, login.body.refresh_token)
    const began = {
      action: 'user.login',
      actor: user(id),
      target: user(id),
      details: { session_id: sessionId },
    }
    await expectRows(login, [began])
    const form = { grant_type: 'password', username: email, password: PASSWORD }
    await expectRows(await send('POST /oauth/token', { form }), [{ ...began, details: { session_id: text } }])
    const wrong = { json: { email, password: 'not-the-password' } }
    const failed: Expected = {
      action: 'user.login_failed',
      actor: ANYBODY,
      target: user(id),
      outcome: 'refused',
    }
    for (let i = 1; i < 10; i++) await expectRows(await send('POST /auth/login', wrong), [failed])
    const locked: Expected = { action: 'user.locked', actor: ANYBODY, target: user(id), outcome: 'refused' }
    await expectRows(await send('POST /auth/login', wrong), [failed, locked])
    // One row for each window, because a locked account is refused before its password is checked.
    for (let i = 0; i < 3; i++) await expectRows(await send('POST /auth/login', wrong), [])
  })

  test('a failed log-in of an unknown e-mail has no actor, and the typed e-mail is not kept', async () => {
    const json = { email: 'nobody-has-this@example.com', password: 'not-the-password' }
    const failed: Expected = {
      action: 'user.login_failed',
      actor: ANYBODY,
      target: [null, null],
      outcome: 'refused',
    }
    for (let i = 1; i < 10; i++) await expectRows(await send('POST /auth/login', { json }), [failed])
    const locked: Expected = { ...failed, action: 'user.locked' }
    await expectRows(await send('POST /auth/login', { json }), [failed, locked])
    const found = await sql`SELECT 1 FROM latchkey.audit_events e WHERE e::text LIKE '%nobody-has-this%'`
    expect(found).toHaveLength(0)
    // A disabled user who gives the right password fails like any other.
    const off = await addPerson(sql)
    await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${off.id}`
    const answer = await send('POST /auth/login', { json: { email: off.email, password: PASSWORD } })
    await expectRows(answer, [{ ...failed, target: user(off.id) }])
  })

  test('changes of users by admins', async () => {
    const made = await asAdmin('POST /users', {
      email: 'made@example.com',
      password: PASSWORD,
      role: 'admin',
    })
    const { id } = made.body
    const base = { actor: byAdmin(), target: user(id) }
    await expectRows(made, [{ action: 'user.created', ...base, details: { role: 'admin' } }])
    const changes: [Record<string, unknown>, string, unknown, unknown][] = [
      [{ role: 'user' }, 'user.role_changed', 'admin', 'user'],
      [{ scopes: ['deploy'] }, 'user.scopes_changed', null, ['deploy']],
      [{ email_verified: true }, 'user.email_verified', false, true],
      [
        { rate_limit: { limit: 5, window_seconds: 60 } },
        'user.limits_changed',
        expect.objectContaining({ rate_limit: null }),
        expect.objectContaining({ rate_limit: { limit: 5, window_seconds: 60 } }),
      ],
      [{ is_active: false }, 'user.disabled', true, false],
      [{ is_active: true }, 'user.enabled', false, true],
    ]
    for (const [json, action, before, after] of changes) {
      await expectRows(await asAdmin(`PATCH /users/${id}`, json), [
        { action, ...base, details: { before, after } },
      ])
      await expectRows(await asAdmin(`PATCH /users/${id}`, json), [])
    }
    await expectRows(await asAdmin(`POST /users/${id}/password-reset`), [
      { action: 'user.reset_issued', ...base },
    ])
    await expectRows(await asAdmin(`POST /users/${id}/logout`), [
      { action: 'session.ended', ...base, details: { reason: 'admin_logout', sessions: 0 } },
    ])
    await expectRows(await asAdmin(`DELETE /users/${id}`), [
      { action: 'user.deleted', ...base, details: { email: 'made@example.com', role: 'user' } },
    ])
  })

  test('password changes and resets', async () => {
    const person = await addLoggedIn(service, sql)
    const mine = { actor: user(person.id), target: user(person.id) }
    const wrong = { current_password: 'not-the-password', new_password: NEW }
    await expectRows(await send('POST /auth/password', { bearer: person.access, json: wrong }), [
      { action: 'user.login_failed', ...mine, outcome: 'refused', details: { at: 'password_change' } },
    ])
    const { id: keyId } = await newKey(service, person.access)
    const json = { current_password: PASSWORD, new_password: NEW, revoke_keys: true }
    await expectRows(await send('POST /auth/password', { bearer: person.access, json }), [
      {
        action: 'key.revoked',
        actor: user(person.id),
        target: ['key', keyId],
        details: { reason: 'password_changed' },
      },
      { action: 'user.password_changed', ...mine, details: { sessions_ended: 1, keys_revoked: 1 } },
      { action: 'user.login', ...mine, details: { session_id: text } },
    ])
    const { token } = (await asAdmin(`POST /users/${person.id}/password-reset`)).body
    const reset = await send('POST /auth/password-reset', { json: { token, new_password: PASSWORD } })
    await expectRows(reset, [
      { action: 'user.password_reset', ...mine, details: { sessions_ended: 1, keys_revoked: 0 } },
    ])
    const again = await send('POST /auth/password-reset', { json: { token, new_password: PASSWORD } })
    await expectRows(again, [
      {
        ...{ action: 'user.reset_refused', actor: ANYBODY, target: [null, null], outcome: 'refused' },
        details: { reason: 'unknown', count: 1 },
      },
    ])
  })

  test('the end of a session and the reuse of a refresh token; a refresh has no row', async () => {
    const person = await addPerson(sql)
    const begin = () => beginSession(service, person)
    const mine = { actor: user(person.id) }
    const details = (reason: string) => ({ reason, user_id: person.id })
    const one = await begin()
    const out = () => send('POST /auth/logout', { json: { refresh_token: one.refresh } })
    await expectRows(await out(), [
      { action: 'session.ended', ...mine, target: session(one), details: details('logout') },
    ])
    await expectRows(await out(), [])
    const two = await begin()
    await expectRows(await send('POST /auth/logout', { bearer: two.access }), [
      { action: 'session.ended', ...mine, target: session(two), details: details('logout') },
    ])
    const three = await begin()
    await expectRows(await send('POST /oauth/revoke', { form: { token: three.refresh } }), [
      { action: 'session.ended', ...mine, target: session(three), details: details('logout') },
    ])
    const [four, five] = [await begin(), await begin()]
    const end = () => send(`DELETE /auth/sessions/${session(four)[1]}`, { bearer: five.access })
    await expectRows(await end(), [
      { action: 'session.ended', ...mine, target: session(four), details: details('ended') },
    ])
    await expectRows(await end(), [])
    const refreshed = await send('POST /auth/refresh', { json: { refresh_token: five.refresh } })
    await expectRows(refreshed, [])
    await refresh(service, refreshed.body.refresh_token)
    const replay = () => send('POST /auth/refresh', { json: { refresh_token: five.refresh } })
    await expectRows(await replay(), [
      {
        action: 'session.reused',
        ...mine,
        target: session(five),
        outcome: 'refused',
        details: { user_id: person.id },
      },
    ])
    // A session that is over is refused, which the next test covers.
    await expectRows(await replay(), [
      {
        ...{ action: 'session.refresh_refused', actor: ANYBODY, target: session(five), outcome: 'refused' },
        details: { reason: 'over', count: 1 },
      },
    ])
    const [six] = [await begin(), await begin()]
    await expectRows(await send('POST /auth/logout-all', { bearer: six.access }), [
      {
        action: 'session.ended',
        ...mine,
        target: user(person.id),
        details: { reason: 'logout_all', sessions: 2 },
      },
    ])
  })

  test('changes of keys', async () => {
    const person = await addLoggedIn(service, sql)
    const as = (route: string, json?: unknown) => send(route, { bearer: person.access, json })
    const made = await as('POST /keys/create', { name: 'one', scopes: ['read'] })
    const base = { actor: user(person.id), target: ['key', made.body.id] as [string, string] }
    const [created] = await rowsOf(made.id)
    await expectRows(made, [{ action: 'key.created', ...base, details: created?.details ?? {} }])
    expect(created?.details).toMatchObject({ scopes: ['read'] })
    const once = async (answer: Answer & { id: string }, action: string, status = 200) => {
      expect([answer.status, answer.text]).toEqual([status, text])
      const [row] = await rowsOf(answer.id)
      await expectRows(answer, [{ action, ...base, details: row?.details ?? {} }])
      return row?.details
    }
    await once(await as(`PATCH /keys/${made.body.id}`, { name: 'two' }), 'key.updated')
    const rotated = await as(`POST /keys/${made.body.id}/rotate`, {})
    await once(rotated, 'key.rotated', 201)
    const [, older] = rotated.body.secrets.toSorted((x: { created_at: string }, y: { created_at: string }) =>
      y.created_at.localeCompare(x.created_at),
    )
    await once(await as(`DELETE /keys/${made.body.id}/secrets/${older.start}`), 'key.secret_ended', 204)
    const revoke = () => as(`DELETE /keys/revoke/${made.body.id}?reason=leaked`)
    expect(await once(await revoke(), 'key.revoked')).toMatchObject({ reason: 'leaked' })
    await expectRows(await revoke(), [])
    await once(await as(`DELETE /keys/delete/${made.body.id}`), 'key.deleted')
    const held = await newKey(service, person.access)
    const itself: Expected['actor'] = ['key', held.id]
    await expectRows(await send('DELETE /keys/self', { apiKey: held.key }), [
      {
        action: 'key.revoked',
        actor: itself,
        target: ['key', held.id],
        details: { reason: 'ended_by_holder' },
      },
    ])
  })

  test('imported keys', async () => {
    const person = await addPerson(sql)
    const hash = Buffer.from(Bun.SHA256.hash(`elsewhere-${person.id}`) as Uint8Array).toString('hex')
    const key = { name: 'old', owner: { user_id: person.id }, hash, hash_encoding: 'hex', scopes: ['read'] }
    const answer = await asAdmin('POST /keys/import', { keys: [key] })
    const [result] = answer.body.results
    expect(result).toMatchObject({ status: 'imported' })
    await expectRows(answer, [
      {
        action: 'key.imported',
        actor: byAdmin(),
        target: ['key', result.id],
        details: { owner: { type: 'user', id: person.id }, scopes: ['read'], expires_at: null },
      },
    ])
    await expectRows(await asAdmin('POST /keys/import', { keys: [key] }), [])
    expect(
      (await sql`SELECT 1 FROM latchkey.audit_events e WHERE e::text LIKE ${`%${hash.slice(0, 20)}%`}`)
        .length,
    ).toBe(0)
  })

  test('changes of service accounts', async () => {
    const person = await addLoggedIn(service, sql)
    const as = (route: string, json?: unknown) => send(route, { bearer: person.access, json })
    const made = await as('POST /service-accounts', { name: 'one', scopes: ['read'] })
    const { id } = made.body
    const base = { actor: user(person.id), target: ['service_account', id] as [string, string] }
    await expectRows(made, [
      {
        action: 'service_account.created',
        ...base,
        details: { name: 'one', external_id: null, scopes: ['read'] },
      },
    ])
    const before = { name: 'one', description: null, external_id: null, scopes: ['read'], rate_limit: null }
    const after = { name: 'two', description: 'text', scopes: [] }
    await expectRows(await as(`PATCH /service-accounts/${id}`, after), [
      {
        action: 'service_account.updated',
        ...base,
        details: {
          before: expect.objectContaining(before),
          after: expect.objectContaining({ ...before, ...after }),
        },
      },
    ])
    await expectRows(await as(`PATCH /service-accounts/${id}`, after), [])
    for (const [is_active, action] of [
      [false, 'service_account.disabled'],
      [true, 'service_account.enabled'],
    ] as const) {
      await expectRows(await as(`PATCH /service-accounts/${id}`, { is_active }), [{ action, ...base }])
      await expectRows(await as(`PATCH /service-accounts/${id}`, { is_active }), [])
    }
    await expectRows(await as(`DELETE /service-accounts/${id}`), [
      { action: 'service_account.deleted', ...base, details: { name: 'two' } },
    ])
    await expectRows(await as(`DELETE /service-accounts/${id}`), [])
  })

  test('tokens that clients are granted, and their refusals', async () => {
    beginMinute()
    const person = await addLoggedIn(service, sql)
    const client = await newClient(service, person.access)
    const itself: Expected['actor'] = ['key', client.keyId]
    const account: Expected['target'] = ['service_account', client.id]
    const ask = (form: Record<string, string> = {}, secret = client.secret) =>
      send('POST /oauth/token', {
        form: { grant_type: 'client_credentials', ...form },
        headers: basic(client.id, secret),
      })
    await expectRows(await ask({ scope: 'read' }), [
      { action: 'token.granted', actor: itself, target: account, details: { scopes: ['read'], count: 1 } },
    ])
    const refused = (reason: string, actor = itself, more = {}): Expected[] => [
      {
        ...{ action: 'token.refused', actor, target: [null, null], outcome: 'refused' },
        details: { reason, grant_type: 'client_credentials', count: 1, ...more },
      },
    ]
    await expectRows(await ask({ scope: 'not-held' }), refused('invalid_scope'))
    await expectRows(await ask({}, 'sk_wrong'), refused('invalid_client', ANYBODY))
    // Repeated refusals make no more rows, and each is counted.
    for (let i = 0; i < 20; i++) {
      for (const scope of ['read', 'write', `not-held-${i}`]) await expectRows(await ask({ scope }), [])
      await expectRows(await ask({}, `sk_wrong-${i}`), [])
    }
    await writeAuditCounts(service.context)
    const counts = await sql`SELECT action, details->>'reason' AS reason, (details->>'count')::int AS n
      FROM latchkey.audit_events WHERE action LIKE 'token.%' ORDER BY 1, 2`
    expect(counts.map(({ action, reason, n }) => [action, reason, n])).toEqual([
      ['token.granted', null, 41],
      ['token.refused', 'invalid_client', 21],
      ['token.refused', 'invalid_scope', 21],
    ])
    // The row of a dead key names the key.
    beginMinute()
    await call(service, `DELETE /keys/${client.keyId}`, { bearer: person.access })
    await expectRows(await ask(), refused('invalid_client', ANYBODY, { key_id: client.keyId }))
  })

  test('refused resets and refused refreshes; a granted refresh has no row', async () => {
    beginMinute()
    const refused = (action: string, target: Expected['target'], reason: string): Expected[] => [
      { action, actor: ANYBODY, target, outcome: 'refused', details: { reason, count: 1 } },
    ]
    const person = await addLoggedIn(service, sql)
    const refreshBy = (refresh_token: string) => send('POST /auth/refresh', { json: { refresh_token } })
    const granted = await refreshBy(person.refresh)
    await expectRows(granted, [])
    await call(service, 'POST /auth/logout', { json: { refresh_token: granted.body.refresh_token } })
    const over = refused('session.refresh_refused', session(person), 'over')
    await expectRows(await refreshBy(granted.body.refresh_token), over)
    const unknown = refused('session.refresh_refused', [null, null], 'unknown')
    await expectRows(await refreshBy('rt_unknown'), unknown)
    for (let i = 0; i < 20; i++) {
      await expectRows(await refreshBy(`rt_unknown-${i}`), [])
      const form = { grant_type: 'refresh_token', refresh_token: granted.body.refresh_token }
      await expectRows(await send('POST /oauth/token', { form }), [])
    }

    const resetBy = (token: string) =>
      send('POST /auth/password-reset', { json: { token, new_password: NEW } })
    const { token } = (await asAdmin(`POST /users/${person.id}/password-reset`)).body
    await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${person.id}`
    await expectRows(await resetBy(token), refused('user.reset_refused', user(person.id), 'disabled'))
    beginMinute()
    await expectRows(await resetBy('et_unknown'), refused('user.reset_refused', [null, null], 'unknown'))
    for (let i = 0; i < 20; i++) await expectRows(await resetBy(`et_unknown-${i}`), [])
    await writeAuditCounts(service.context)
    const counts = await sql`SELECT action, sum((details->>'count')::int)::int AS n FROM latchkey.audit_events
      WHERE action IN ('session.refresh_refused', 'user.reset_refused') GROUP BY 1 ORDER BY 1`
    expect(counts.map(({ action, n }) => [action, n])).toEqual([
      ['session.refresh_refused', expect.any(Number)],
      ['user.reset_refused', expect.any(Number)],
    ])
    for (const { n } of counts) expect(n).toBeGreaterThanOrEqual(22)
  })

  test('actions of the system: signing keys, and the end of every session', async () => {
    const other = await startService()
    const own = connectTo(other)
    await addLoggedIn(other, own)
    const { id } = await rotateSigningKey(other.context, SYSTEM)
    await revokeSigningKey(other.context, SYSTEM, id)
    await endEverySession(other.context)
    const { rewrapped } = await rewrapSecrets(other.context)
    const rows = await own`SELECT * FROM latchkey.audit_events WHERE actor_type = 'system' ORDER BY id`
    expect(rows.map(({ action, outcome, target_type }) => [action, outcome, target_type])).toEqual([
      ['signing_key.created', 'success', 'signing_key'],
      ['signing_key.rotated', 'success', 'signing_key'],
      ['signing_key.revoked', 'success', 'signing_key'],
      ['session.ended', 'success', null],
      ['signing_key.rewrapped', 'success', null],
    ])
    expect(rows.slice(1, 3).map(({ target_id }) => target_id)).toEqual([id, id])
    expect(rows[3]?.details).toEqual({ reason: 'ended_all', sessions: 1 })
    expect([rewrapped, rows[4]?.details]).toEqual([1, { signing_keys: 1, totp_secrets: 0 }])
    for (const { actor_id, ip, request_id } of rows)
      expect([actor_id, ip, request_id]).toEqual([null, null, null])
    expect(JSON.stringify(rows)).not.toContain('"d"')
    for (const { action } of rows) seen.add(action)
    await own.end()
    await other.stop()
  })

  test('refusals for the kind of credential, the role and the scopes, of users and of keys', async () => {
    const person = await addLoggedIn(service, sql)
    const { id, key } = await newKey(service, person.access, { scopes: ['write', 'latchkey:keys.write'] })
    const byUser: Expected['actor'] = user(person.id)
    const byKey: Expected['actor'] = ['key', id]
    const cases: [string, Call, Expected['actor'], Record<string, unknown>][] = [
      ['GET /protected/admin', { bearer: person.access }, byUser, {}],
      ['GET /protected/service-only', { bearer: person.access }, byUser, {}],
      ['GET /protected/user-only', { apiKey: key }, byKey, {}],
      ['GET /protected/service-only', { apiKey: key }, byKey, { missing_scopes: ['read'] }],
      ['GET /audit', { bearer: person.access }, byUser, { missing_scopes: ['latchkey:audit.read'] }],
      ['GET /keys/list', { bearer: key }, byKey, { missing_scopes: ['latchkey:keys.read'] }],
      ['POST /keys/create', { apiKey: key, json: { scopes: 'read' } }, byKey, { missing_scopes: ['read'] }],
      [
        'POST /keys/create',
        { bearer: person.access, json: { scopes: 'deploy' } },
        byUser,
        { missing_scopes: ['deploy'] },
      ],
      [
        'POST /oauth/introspect',
        { bearer: key, form: { token: 'x' } },
        byKey,
        { missing_scopes: ['latchkey:introspect'] },
      ],
    ]
    for (const [route, options, actor, details] of cases) {
      const answer = await send(route, options)
      expect([route, answer.status]).toEqual([route, 403])
      const row = { reason: answer.body.code ?? answer.body.error, route, count: 1, ...details }
      await expectRows(answer, [
        { action: 'access.denied', actor, target: [null, null], outcome: 'refused', details: row },
      ])
    }
    // The actor of what a key does is the key, not its owner.
    const made = await send('POST /keys/create', { apiKey: key, json: { scopes: 'write' } })
    expect((await rowsOf(made.id)).map(({ actor_type, actor_id }) => [actor_type, actor_id])).toEqual([byKey])
  })

  test('a change that failed and a request that only reads have no row', async () => {
    const person = await addLoggedIn(service, sql)
    for (const [status, answer] of [
      [200, await asAdmin('GET /users')],
      [200, await asAdmin('GET /audit')],
      [200, await asAdmin(`GET /users/${person.id}`)],
      [200, await asAdmin('GET /keys/list')],
      [401, await send('GET /auth/me')],
      [401, await send('GET /auth/me', { bearer: 'sk_wrong' })],
      [409, await asAdmin('POST /users', { email: person.email })],
      [409, await asAdmin(`PATCH /users/${admin.id}`, { role: 'user', email_verified: true })],
      [409, await asAdmin(`DELETE /users/${admin.id}`)],
      [422, await asAdmin(`PATCH /users/${person.id}`, { scopes: ['Not One'] })],
      [404, await asAdmin(`DELETE /users/${Bun.randomUUIDv7()}`)],
      [404, await asAdmin(`DELETE /keys/${Bun.randomUUIDv7()}`)],
      [404, await asAdmin('GET /nowhere')],
      [200, await send('POST /oauth/revoke', { form: { token: 'sk_unknown' } })],
      [204, await send('POST /auth/logout', { json: { refresh_token: 'rt_unknown' } })],
    ] as const) {
      expect(answer.status).toBe(status)
      await expectRows(answer, [])
    }
  })

  test('two deletions at the same time have one row, and so have two revocations', async () => {
    for (let round = 0; round < 10; round++) {
      const person = await addLoggedIn(service, sql)
      const bearer = person.access
      const key = await newKey(service, bearer)
      const json = { name: 'one' }
      const account = (await call(service, 'POST /service-accounts', { bearer, json })).body.id
      const twice = async (id: string, action: string, route: string, by = bearer) => {
        const answers = await Promise.all([1, 2, 3].map(() => send(route, { bearer: by })))
        for (const { status } of answers) expect(status).toBeOneOf([200, 204, 404])
        const rows =
          await sql`SELECT 1 FROM latchkey.audit_events WHERE target_id = ${id} AND action = ${action}`
        expect([action, rows.length]).toEqual([action, 1])
      }
      await twice(key.id, 'key.revoked', `DELETE /keys/revoke/${key.id}`)
      await twice(key.id, 'key.deleted', `DELETE /keys/delete/${key.id}`)
      await twice(account, 'service_account.deleted', `DELETE /service-accounts/${account}`)
      await twice(person.id, 'user.deleted', `DELETE /users/${person.id}`, admin.access)
    }
  })

  test('the tests above cover every action', () => {
    const actions = [
      ...['signup', 'created', 'login', 'login_failed', 'locked', 'password_changed', 'reset_issued'],
      ...[
        'password_reset',
        'reset_refused',
        'role_changed',
        'scopes_changed',
        'limits_changed',
        'email_verified',
        'disabled',
        'enabled',
        'deleted',
      ],
    ].map((name) => `user.${name}`)
    const rest = [
      ...['ended', 'reused', 'refresh_refused'].map((name) => `session.${name}`),
      ...['granted', 'refused'].map((name) => `token.${name}`),
      ...['created', 'updated', 'rotated', 'secret_ended', 'revoked', 'deleted', 'imported'].map(
        (name) => `key.${name}`,
      ),
      ...['created', 'updated', 'disabled', 'enabled', 'deleted'].map((name) => `service_account.${name}`),
      ...['created', 'rotated', 'revoked', 'rewrapped'].map((name) => `signing_key.${name}`),
      'access.denied',
    ]
    expect([...seen].sort()).toEqual([...actions, ...rest].sort())
  })

  test('no row holds a secret', async () => {
    const dump = JSON.stringify(await sql`SELECT e::text FROM latchkey.audit_events e`)
    expect(dump).toContain(admin.id)
    expect(secrets.size).toBeGreaterThan(20)
    for (const secret of secrets) {
      const part = secret.length > 40 ? secret.slice(-30) : secret
      expect([part.length, dump.includes(part)]).toEqual([part.length, false])
    }
    expect(dump).not.toContain('$argon2')
  })
})

describe('the change and its row are one transaction', () => {
  /** Makes the database refuse audit rows at once, or only at COMMIT. */
  const refuseRows = async (action: string) => {
    await sql.unsafe(`CREATE FUNCTION refuse_row() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'no'; END $$;
      CREATE TRIGGER refuse_row BEFORE INSERT ON latchkey.audit_events FOR EACH ROW
      WHEN (NEW.action = '${action}') EXECUTE FUNCTION refuse_row()`)
  }
  const refuseCommits = async (table: string) => {
    await sql.unsafe(`CREATE FUNCTION refuse_row() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'no'; END $$;
      CREATE CONSTRAINT TRIGGER refuse_row AFTER INSERT OR UPDATE OR DELETE ON latchkey.${table}
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_row()`)
  }
  const allow = () => sql.unsafe('DROP FUNCTION refuse_row() CASCADE')
  /** The rows of every table but the audit trail. */
  const state = async () =>
    JSON.stringify([
      await sql`SELECT * FROM latchkey.users ORDER BY id`,
      await sql`SELECT * FROM latchkey.sessions ORDER BY id`,
      await sql`SELECT * FROM latchkey.api_keys ORDER BY id`,
      await sql`SELECT * FROM latchkey.service_accounts ORDER BY id`,
      await sql`SELECT * FROM latchkey.one_time_tokens ORDER BY id`,
    ])

  type Scene = {
    person: AddedPerson & Tokens
    key: { id: string; key: string }
    account: string
    email: string
  }
  const changes: [string, string, (scene: Scene) => Promise<Answer>][] = [
    [
      'user.signup',
      'users',
      ({ email }) => send('POST /auth/signup', { json: { email, password: PASSWORD } }),
    ],
    ['user.created', 'users', ({ email }) => asAdmin('POST /users', { email })],
    [
      'user.login',
      'sessions',
      ({ person }) => send('POST /auth/login', { json: { email: person.email, password: PASSWORD } }),
    ],
    [
      'user.password_changed',
      'users',
      ({ person }) =>
        send('POST /auth/password', {
          bearer: person.access,
          json: { current_password: PASSWORD, new_password: NEW },
        }),
    ],
    ['user.disabled', 'users', ({ person }) => asAdmin(`PATCH /users/${person.id}`, { is_active: false })],
    ['user.role_changed', 'users', ({ person }) => asAdmin(`PATCH /users/${person.id}`, { role: 'admin' })],
    ['user.deleted', 'users', ({ person }) => asAdmin(`DELETE /users/${person.id}`)],
    [
      'user.reset_issued',
      'one_time_tokens',
      ({ person }) => asAdmin(`POST /users/${person.id}/password-reset`),
    ],
    [
      'session.ended',
      'sessions',
      ({ person }) => send('POST /auth/logout', { json: { refresh_token: person.refresh } }),
    ],
    ['session.ended', 'sessions', ({ person }) => send('POST /auth/logout-all', { bearer: person.access })],
    [
      'key.created',
      'api_keys',
      ({ person }) => send('POST /keys/create', { bearer: person.access, json: { scopes: 'read' } }),
    ],
    [
      'key.revoked',
      'api_keys',
      ({ person, key }) => send(`DELETE /keys/${key.id}`, { bearer: person.access }),
    ],
    ['key.revoked', 'api_keys', ({ key }) => send('POST /oauth/revoke', { form: { token: key.key } })],
    [
      'service_account.disabled',
      'service_accounts',
      ({ person, account }) =>
        send(`PATCH /service-accounts/${account}`, { bearer: person.access, json: { is_active: false } }),
    ],
    [
      'service_account.deleted',
      'service_accounts',
      ({ person, account }) => send(`DELETE /service-accounts/${account}`, { bearer: person.access }),
    ],
  ]
  let scenes = 0
  const newScene = async (): Promise<Scene> => {
    const person = await addLoggedIn(service, sql)
    const key = await newKey(service, person.access)
    const json = { name: 'one' }
    const account = (await call(service, 'POST /service-accounts', { bearer: person.access, json })).body.id
    return { person, key, account, email: `scene-${++scenes}@example.com` }
  }
  const countRows = async () => (await sql`SELECT count(*)::int AS n FROM latchkey.audit_events`)[0]?.n

  test.each(changes)('%s: without the row no change (%s)', async (action, _, act) => {
    const scene = await newScene()
    const before = await state()
    await refuseRows(action)
    try {
      expect((await act(scene)).status).toBe(500)
    } finally {
      await allow()
    }
    expect(await state()).toBe(before)
    expect((await call(service, 'GET /auth/me', { apiKey: scene.key.key })).status).toBe(200)
    expect((await call(service, 'GET /auth/me', { bearer: scene.person.access })).status).toBe(200)
    // The control: once the audit row can be written, the change is made.
    expect((await act(scene)).status).toBeLessThan(300)
    expect(await state()).not.toBe(before)
  })

  test.each(changes)('%s: without the change (%s) no row', async (_, table, act) => {
    const scene = await newScene()
    const [before, rows] = [await state(), await countRows()]
    await refuseCommits(table)
    try {
      expect((await act(scene)).status).toBe(500)
    } finally {
      await allow()
    }
    expect([await state(), await countRows()]).toEqual([before, rows])
  })

  test('a replay ends the session together with its audit row, or the replay is an error', async () => {
    const person = await addLoggedIn(service, sql)
    const one = (await refresh(service, person.refresh)).body.refresh_token
    const two = (await refresh(service, one)).body.refresh_token
    await refuseRows('session.reused')
    try {
      expect((await refresh(service, person.refresh)).status).toBe(500)
    } finally {
      await allow()
    }
    expectProblem(await refresh(service, person.refresh), 'invalid_token')
    expectProblem(await refresh(service, two), 'invalid_token')
  })
})
