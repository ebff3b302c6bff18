import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { DEFAULT_RATE_LIMITS } from '../../src/config/rate-limits.ts'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { setPasswordFor } from '../../src/core/login/password.ts'
import { MINUTE_MS, SECOND_MS } from '../../src/lib/time.ts'
import { type Answer, call, newKey } from '../support/client.ts'
import { testConfig } from '../support/config.ts'
import { addLoggedIn, addPerson, beginSession, PASSWORD, type Tokens } from '../support/people.ts'
import { comparable, expectProblem } from '../support/problem.ts'
import { refresh } from '../support/refresh.ts'
import { startService, type TestService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const NEW = 'another-long-one'
const MAX_FAILURES = 10

const service = useService()
const second = useService({}, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))

const change = (bearer: string, json: Record<string, unknown> = {}, at = service) =>
  call(at, 'POST /auth/password', {
    bearer,
    json: { current_password: PASSWORD, new_password: NEW, ...json },
  })
const issue = (id: string, bearer = admin.access) =>
  call(service, `POST /users/${id}/password-reset`, { bearer })
const pendingOf = (id: string) =>
  sql`SELECT 1 FROM latchkey.one_time_tokens WHERE user_id = ${id} AND used_at IS NULL AND voided_at IS NULL`
const issued = async (id: string): Promise<string> => (await issue(id)).body.token
const reset = (token: string, new_password = NEW, at = service) =>
  call(at, 'POST /auth/password-reset', { json: { token, new_password } })
const logIn = (email: string, password: string) =>
  call(service, 'POST /auth/login', { json: { email, password } })
const isGood = async (bearer: string) => (await call(service, 'GET /auth/me', { bearer })).status === 200
const auditOf = async (id: string) =>
  (
    await sql`SELECT action, outcome, actor_id, details, request_id FROM latchkey.audit_events
      WHERE target_id = ${id} ORDER BY id`
  ).map(({ action, outcome, actor_id, details, request_id }) => ({
    action,
    outcome,
    actor_id,
    details,
    request_id,
  }))
const passwordOf = async (id: string) =>
  (await sql`SELECT password_hash, password_changed_at FROM latchkey.users WHERE id = ${id}`)[0]

/** Sessions are over, for the access token and the refresh token of each. */
async function expectOver(...tokens: Tokens[]): Promise<void> {
  for (const { access, refresh: token } of tokens) {
    expectProblem(await call(service, 'GET /auth/me', { bearer: access }), 'invalid_token')
    expectProblem(await refresh(service, token), 'invalid_token')
  }
}

/** As few guesses as may be: what a test does not need for itself it puts into the table. */
async function setFailures(email: string, failures: number): Promise<void> {
  for (let i = 0; i < failures; i++) expectProblem(await logIn(email, 'not-the-password'), 'invalid_login')
}

describe('a change of the password', () => {
  test('answers a pair that works, and ends everything older: sessions, and the old password', async () => {
    const person = await addLoggedIn(service, sql)
    const other = await beginSession(service, person)
    const bystander = await addLoggedIn(service, sql)
    const answer = await change(person.access)
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({
      access_token: expect.stringMatching(/^eyJ/),
      refresh_token: expect.stringMatching(/^rt_/),
      token_type: 'bearer',
      expires_in: 1800,
    })
    await expectOver(person, other)
    expect(await isGood(answer.body.access_token)).toBe(true)
    expect((await refresh(second, answer.body.refresh_token)).status).toBe(200)
    expectProblem(await logIn(person.email, PASSWORD), 'invalid_login')
    expect((await logIn(person.email, NEW)).status).toBe(200)
    expect(await isGood(bystander.access)).toBe(true)
  })

  test('leaves the keys, unless they are to go: then also those of accounts that the user alone manages', async () => {
    const person = await addLoggedIn(service, sql)
    const json = { name: 'builder', scopes: ['read'] }
    const account = (await call(service, 'POST /service-accounts', { bearer: person.access, json })).body.id
    const mine = await newKey(service, person.access, { scopes: ['read'] })
    const older = await newKey(service, person.access, { scopes: ['read'] })
    const ofAccount = await newKey(service, person.access, { scopes: ['read'], service_account_id: account })
    await call(service, `DELETE /keys/${older.id}?reason=before`, { bearer: person.access })
    const first = await change(person.access, { revoke_keys: false })
    expect(await isGood(mine.key)).toBe(true)
    const next = { current_password: NEW, new_password: 'a-third-long-one', revoke_keys: true }
    const then = await change(first.body.access_token, next)
    expect(then.status).toBe(200)
    expect(await isGood(mine.key)).toBe(false)
    expect(await isGood(ofAccount.key)).toBe(false)
    const keys = await sql`SELECT id, revoked_reason FROM latchkey.api_keys ORDER BY created_at`
    expect(keys.find(({ id }) => id === mine.id)?.revoked_reason).toBe('password_changed')
    expect(keys.find(({ id }) => id === older.id)?.revoked_reason).toBe('before')
    const request_id = then.headers.get('x-request-id')
    expect((await auditOf(mine.id)).slice(1)).toMatchObject([{ action: 'key.revoked', request_id }])
    expect(
      (await auditOf(person.id)).filter(({ action }) => action === 'user.password_changed'),
    ).toMatchObject([
      { details: { sessions_ended: 1, keys_revoked: 0 } },
      {
        details: { sessions_ended: 1, keys_revoked: 2 },
        actor_id: person.id,
        outcome: 'success',
        request_id,
      },
    ])
  })

  test('needs the current password, a user’s own token, and a new password that may be chosen', async () => {
    const person = await addLoggedIn(service, sql)
    const { key } = await newKey(service, person.access, { scopes: ['read', 'latchkey:keys.write'] })
    const before = await passwordOf(person.id)
    const answers: [Answer, Parameters<typeof expectProblem>[1]][] = [
      [await change(person.access, { current_password: 'not-the-password' }), 'invalid_login'],
      [await change(person.access, { current_password: '' }), 'invalid_login'],
      [await change(person.access, { current_password: NEW }), 'invalid_login'],
      [await change(person.access, { new_password: 'short' }), 'validation_failed'],
      [await change(person.access, { new_password: 'password123' }), 'validation_failed'],
      [await change(person.access, { new_password: person.email }), 'validation_failed'],
      [await change(person.access, { new_password: 'é'.repeat(513) }), 'validation_failed'],
      [await change(person.access, { new_password: null }), 'validation_failed'],
      [await change(person.access, { revoke_keys: 'yes' }), 'validation_failed'],
      [await change(person.access, { revoke_key: true }), 'validation_failed'],
      [await change(key), 'wrong_credential_kind'],
      [await change(person.refresh), 'invalid_token'],
    ]
    for (const [answer, code] of answers) expectProblem(answer, code)
    expect(answers[3]?.[0].body.errors).toMatchObject([{ path: '/new_password' }])
    expect(await passwordOf(person.id)).toEqual(before ?? {})
    expect(await isGood(person.access)).toBe(true)
    expect((await auditOf(person.id)).filter(({ action }) => action === 'user.password_changed')).toEqual([])
    expect((await change(person.access)).status).toBe(200)
  })

  test('of somebody who has no password is refused', async () => {
    const person = await addLoggedIn(service, sql)
    await sql`UPDATE latchkey.users SET password_hash = NULL WHERE id = ${person.id}`
    for (const current_password of ['', PASSWORD, 'null'])
      expectProblem(await change(person.access, { current_password }), 'invalid_login')
    expect((await passwordOf(person.id))?.password_hash).toBeNull()
  })

  test('of two at the same moment one wins, and the other has changed nothing', async () => {
    for (let round = 0; round < 5; round++) {
      const person = await addLoggedIn(service, sql)
      const chosen = ['the-first-choice', 'the-second-one', 'the-third-of-all']
      const answers = await Promise.all(
        chosen.map((new_password, i) => change(person.access, { new_password }, i % 2 ? second : service)),
      )
      const won = answers.flatMap(({ status }, i) => (status === 200 ? [i] : []))
      expect(won).toHaveLength(1)
      for (const [i, answer] of answers.entries())
        if (!won.includes(i))
          expect(answer.body.code).toBeOneOf(['conflict', 'invalid_login', 'invalid_token'])
      const logins = await Promise.all(chosen.map((password) => logIn(person.email, password)))
      expect(logins.flatMap(({ status }, i) => (status === 200 ? [i] : []))).toEqual(won)
      expect(await isGood(answers[won[0] ?? 0]?.body.access_token)).toBe(true)
      const audited = (await auditOf(person.id)).filter(({ action }) => action === 'user.password_changed')
      expect(audited).toHaveLength(1)
    }
  })

  test('ends resets that were handed out before', async () => {
    const person = await addLoggedIn(service, sql)
    const token = await issued(person.id)
    expect((await change(person.access)).status).toBe(200)
    expectProblem(await reset(token, 'a-third-long-one'), 'invalid_token')
    expect((await logIn(person.email, NEW)).status).toBe(200)
  })
})

describe('guessing at an account', () => {
  test('by strangers keeps no open session from a new password', async () => {
    const person = await addLoggedIn(service, sql)
    await setFailures(person.email, MAX_FAILURES)
    expectProblem(await logIn(person.email, PASSWORD), 'too_many_attempts')
    expect((await change(person.access)).status).toBe(200)
    // For the others it stays locked: they may know the old password.
    expectProblem(await logIn(person.email, NEW), 'too_many_attempts')
  })

  test('is forgotten with a reset: the new password logs in at once, and has ten guesses of its own', async () => {
    const person = await addPerson(sql)
    await setFailures(person.email, MAX_FAILURES)
    const token = await issued(person.id)
    expectProblem(await reset(token, 'short'), 'validation_failed')
    expectProblem(await logIn(person.email, PASSWORD), 'too_many_attempts')
    expect((await reset(token)).status).toBe(204)
    expect((await logIn(person.email, NEW)).status).toBe(200)
    await setFailures(person.email, MAX_FAILURES)
    expectProblem(await logIn(person.email, NEW), 'too_many_attempts')
  })

  test('is forgotten with a password that an operator sets', async () => {
    const person = await addPerson(sql)
    await setFailures(person.email, MAX_FAILURES)
    await setPasswordFor(service.context, SYSTEM, person.id, NEW, { revokesKeys: false })
    expect((await logIn(person.email, NEW)).status).toBe(200)
  })

  test('is forgotten with a reset after SECRET_KEY was rotated', async () => {
    const person = await addPerson(sql)
    await setFailures(person.email, MAX_FAILURES)
    const secretKeyPrevious = service.config.secretKey
    const rotated = await startService({ secretKeyPrevious }, { ...service, config: testConfig() })
    try {
      expect((await reset(await issued(person.id), NEW, rotated)).status).toBe(204)
      // The servers that have not heard of the new key yet.
      expect((await logIn(person.email, NEW)).status).toBe(200)
    } finally {
      await rotated.stop()
    }
  })
})

describe('guessing the current password in an open session', () => {
  let limited: TestService
  beforeAll(async () => {
    const trustedProxies = ['127.0.0.0/8']
    limited = await startService({ rateLimits: DEFAULT_RATE_LIMITS, trustedProxies }, service)
  })
  afterAll(() => limited.stop())
  let clients = 0
  const freshAddress = () => `198.51.100.${++clients}`
  const guess = (bearer: string, address: string, json: Record<string, unknown> = {}) =>
    call(limited, 'POST /auth/password', {
      bearer,
      headers: { 'x-forwarded-for': address },
      json: { current_password: 'a-guess-of-it', new_password: NEW, ...json },
    })
  const RIGHT = { current_password: PASSWORD }

  test('ends after ten in a minute, for the right one too, whatever else was wrong', async () => {
    const person = await addLoggedIn(service, sql)
    const address = freshAddress()
    for (let i = 0; i < 8; i++) expectProblem(await guess(person.access, address), 'invalid_login')
    expectProblem(await guess(person.access, address, { new_password: 'short' }), 'validation_failed')
    expectProblem(await guess(person.access, address, { new_password: 5 }), 'validation_failed')
    const refused = await guess(person.access, address, RIGHT)
    expectProblem(refused, 'rate_limited')
    expect(refused.headers.get('ratelimit-limit')).toBe('10')
    expect(Number(refused.headers.get('retry-after'))).toBeWithin(30, 61)
    // The session goes on.
    expect(await isGood(person.access)).toBe(true)
    expect((await refresh(service, person.refresh)).status).toBe(200)
  })

  test('is counted for each pair of session and address: no other session or address is held back', async () => {
    const person = await addLoggedIn(service, sql)
    const other = await beginSession(service, person)
    const neighbour = await addLoggedIn(service, sql)
    const address = freshAddress()
    for (let i = 0; i < 11; i++) await guess(person.access, address)
    expectProblem(await guess(person.access, address, RIGHT), 'rate_limited')
    expectProblem(await guess(other.access, address), 'invalid_login')
    expectProblem(await guess(person.access, freshAddress()), 'invalid_login')
    expect((await guess(neighbour.access, address, RIGHT)).status).toBe(200)
    expect((await guess(other.access, address, RIGHT)).status).toBe(200)
  })

  test('is no guess at the log-in, and each failure is in the audit trail with the account', async () => {
    const person = await addLoggedIn(service, sql)
    for (let i = 0; i < MAX_FAILURES + 2; i++)
      expectProblem(await change(person.access, { current_password: 'a-guess-of-it' }), 'invalid_login')
    expect((await logIn(person.email, PASSWORD)).status).toBe(200)
    const refused = (await auditOf(person.id)).filter(({ outcome }) => outcome === 'refused')
    expect(refused).toHaveLength(MAX_FAILURES + 2)
    expect(refused.at(-1)).toMatchObject({
      action: 'user.login_failed',
      actor_id: person.id,
      details: { at: 'password_change' },
    })
  })
})

describe('a reset that an admin hands out', () => {
  test('sets the new password once, and ends every session', async () => {
    const person = await addLoggedIn(service, sql)
    const other = await beginSession(service, person)
    const key = await newKey(service, person.access, { scopes: ['read'] })
    const answer = await issue(person.id)
    expect(answer.status).toBe(200)
    expect(Object.keys(answer.body).sort()).toEqual(['expires_at', 'token'])
    expect(Date.parse(answer.body.expires_at) - service.context.clock()).toBeLessThanOrEqual(30 * MINUTE_MS)
    expect(Date.parse(answer.body.expires_at) - service.context.clock()).toBeGreaterThan(29 * MINUTE_MS)
    // Handed out, it has changed nothing yet.
    expect(await isGood(person.access)).toBe(true)
    const used = await reset(answer.body.token)
    expect([used.status, used.text]).toEqual([204, ''])
    await expectOver(person, other)
    expectProblem(await logIn(person.email, PASSWORD), 'invalid_login')
    expect((await logIn(person.email, NEW)).status).toBe(200)
    expect(await isGood(key.key)).toBe(true)
    expectProblem(await reset(answer.body.token, 'a-third-long-one'), 'invalid_token')
    expect((await logIn(person.email, NEW)).status).toBe(200)
  })

  test('is in the audit trail, without the token, and the database does not hold it', async () => {
    const person = await addLoggedIn(service, sql)
    const token = await issued(person.id)
    const dump = JSON.stringify([
      await sql`SELECT t::text FROM latchkey.one_time_tokens t`,
      await sql`SELECT e::text FROM latchkey.audit_events e`,
    ])
    expect(dump).toContain(person.id)
    expect(dump).not.toContain(token.slice(3, 40))
    expect(service.loggedText()).not.toContain(token.slice(3, 40))
    await reset(token)
    const events = (await auditOf(person.id)).filter(({ action }) => String(action).includes('reset'))
    expect(events).toMatchObject([
      { action: 'user.reset_issued', actor_id: admin.id, outcome: 'success' },
      { action: 'user.password_reset', actor_id: person.id, details: { sessions_ended: 1, keys_revoked: 0 } },
    ])
    expect(await pendingOf(person.id)).toHaveLength(0)
  })

  test('lives for thirty minutes by the clock', async () => {
    const person = await addPerson(sql)
    const token = await issued(person.id)
    const other = await issued((await addPerson(sql)).id)
    service.advance(30 * MINUTE_MS - 5 * SECOND_MS)
    expectProblem(await reset(token, 'short'), 'validation_failed')
    expect((await reset(token)).status).toBe(204)
    service.advance(5 * SECOND_MS)
    expectProblem(await reset(other), 'invalid_token')
    expectProblem(await reset(other, 'short'), 'invalid_token')
    service.advance(-30 * MINUTE_MS)
  })

  test('is replaced by a newer one', async () => {
    const person = await addPerson(sql)
    const tokens = [await issued(person.id), await issued(person.id), await issued(person.id)]
    for (const old of tokens.slice(0, 2)) expectProblem(await reset(old), 'invalid_token')
    expect((await reset(tokens[2] ?? '')).status).toBe(204)
  })

  test('of two that are made at the same moment one is good', async () => {
    const person = await addPerson(sql)
    const tokens = await Promise.all(Array.from({ length: 8 }, () => issued(person.id)))
    expect(await pendingOf(person.id)).toHaveLength(1)
    const statuses = []
    for (const token of tokens) statuses.push((await reset(token)).status)
    expect(statuses.filter((status) => status === 204)).toHaveLength(1)
  })

  test('stays usable after a new password that may not be chosen', async () => {
    const person = await addPerson(sql)
    const token = await issued(person.id)
    for (const weak of ['short', 'password123', person.email, 'é'.repeat(513), '']) {
      const answer = await reset(token, weak)
      expectProblem(answer, 'validation_failed')
      expect(answer.body.errors).toMatchObject([{ path: '/new_password' }])
    }
    expect((await reset(token)).status).toBe(204)
  })

  test('used many times at once, one wins: its password is the one that logs in', async () => {
    for (let round = 0; round < 5; round++) {
      const person = await addLoggedIn(service, sql)
      const token = await issued(person.id)
      const chosen = Array.from({ length: 6 }, (_, i) => `long-choice-number-${i}`)
      const answers = await Promise.all(
        chosen.map((password, i) => reset(token, password, i % 2 ? second : service)),
      )
      const won = answers.flatMap(({ status }, i) => (status === 204 ? [i] : []))
      expect(won).toHaveLength(1)
      for (const [i, answer] of answers.entries())
        if (!won.includes(i)) expectProblem(answer, 'invalid_token')
      expect((await logIn(person.email, chosen[won[0] ?? 0] ?? '')).status).toBe(200)
      expect(
        (await auditOf(person.id)).filter(({ action }) => action === 'user.password_reset'),
      ).toHaveLength(1)
      await expectOver(person)
    }
  })

  test('that is not good answers the same, whatever is wrong with it', async () => {
    const [used, replaced, old, off, gone] = await Promise.all([1, 2, 3, 4, 5].map(() => addPerson(sql)))
    if (!used || !replaced || !old || !off || !gone) throw new Error('Nobody')
    const tokens: [string, string][] = [
      ['used', await issued(used.id)],
      ['replaced', await issued(replaced.id)],
      ['of somebody disabled', await issued(off.id)],
      ['of somebody deleted', await issued(gone.id)],
      ['expired', await issued(old.id)],
    ]
    await reset(tokens[0]?.[1] ?? '')
    await issued(replaced.id)
    await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${off.id}`
    await sql`DELETE FROM latchkey.users WHERE id = ${gone.id}`
    await sql`UPDATE latchkey.one_time_tokens SET expires_at = now() - interval '1 s' WHERE user_id = ${old.id}`
    const [[, good = ''] = []] = tokens
    tokens.push(
      ['never made', `et_${good.slice(3).split('').reverse().join('')}`],
      ['empty', ''],
      ['an access token', admin.access],
      ['of 4096 characters', `et_${'a'.repeat(4093)}`],
      ['half of a pair', 'et_\ud83d'],
      ['NUL', 'et_\0'],
    )
    const unknown = comparable(await reset('et_unknown'))
    expect(unknown).toMatchObject({ status: 401, body: { code: 'invalid_token' } })
    for (const [name, token] of tokens) {
      expect({ name, ...comparable(await reset(token)) }).toEqual({ name, ...unknown })
      // Nor does it tell by judging the password.
      expect({ name, ...comparable(await reset(token, 'short')) }).toEqual({ name, ...unknown })
    }
  })

  test('of somebody disabled is good once they are enabled again', async () => {
    const person = await addPerson(sql)
    await call(service, `PATCH /users/${person.id}`, { bearer: admin.access, json: { is_active: false } })
    const answer = await issue(person.id)
    expect(answer.status).toBe(200)
    expectProblem(await reset(answer.body.token), 'invalid_token')
    await call(service, `PATCH /users/${person.id}`, { bearer: admin.access, json: { is_active: true } })
    expect((await reset(answer.body.token)).status).toBe(204)
  })

  test('gives somebody their first password', async () => {
    const json = { email: `invited-${Date.now()}@example.com` }
    const { body } = await call(service, 'POST /users', { bearer: admin.access, json })
    expectProblem(await logIn(json.email, ''), 'invalid_login')
    expectProblem(await logIn(json.email, NEW), 'invalid_login')
    expect((await reset(await issued(body.id))).status).toBe(204)
    expect((await logIn(json.email, NEW)).status).toBe(200)
  })

  test('is handed out by admins alone, by their own token, for somebody who is there', async () => {
    const person = await addLoggedIn(service, sql)
    const scopes = ['latchkey:users.write', 'latchkey:users.read']
    const { key } = await newKey(service, admin.access, { scopes })
    expect((await call(service, `GET /users/${person.id}`, { bearer: key })).status).toBe(200)
    expectProblem(await issue(person.id, key), 'wrong_credential_kind')
    expectProblem(await issue(person.id, person.access), 'forbidden')
    expectProblem(await call(service, `POST /users/${person.id}/password-reset`), 'missing_credential')
    for (const id of [Bun.randomUUIDv7(), 'x', person.id.toUpperCase()])
      expectProblem(await issue(id), 'not_found')
    expect(await pendingOf(person.id)).toHaveLength(0)
  })

  test.each([
    ['no token', { new_password: NEW }],
    ['no password', { token: 'et_x' }],
    ['a number for a token', { token: 5, new_password: NEW }],
    ['4097 characters', { token: 'a'.repeat(4097), new_password: NEW }],
    ['another member', { token: 'et_x', new_password: NEW, email: 'x@example.com' }],
    ['a list', []],
  ])('422 for %s', async (_, json) => {
    expectProblem(await call(service, 'POST /auth/password-reset', { json }), 'validation_failed')
  })
})
