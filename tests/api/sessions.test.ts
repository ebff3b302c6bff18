import { describe, expect, test } from 'bun:test'
import { decodeJwt } from 'jose'
import { checksum } from '../../src/lib/base62.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/lib/time.ts'
import { makeApiKey, makeRefreshToken } from '../../src/lib/tokens.ts'
import { call, logIn, newPerson } from '../support/client.ts'
import { expectProblem } from '../support/problem.ts'
import { claimsOf, refresh, resign } from '../support/refresh.ts'
import { startService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

// Enough for fifty requests at once, so that a full pool refuses none.
const service = useService({ databasePoolSize: 50 })
const second = useService({}, service)
const sql = useSql(service)
const person = prepare(() => newPerson(service))

/** Moves the clocks of both servers together. */
function advance(ms: number): void {
  service.advance(ms)
  second.advance(ms)
}
const begin = () => logIn(service, person.email, person.password)
const sessionOf = async (token: string) =>
  (await sql`SELECT * FROM latchkey.sessions WHERE id = ${claimsOf(service, token).sessionId}`)[0]
/** The audited actions on a session. That its tokens are refused afterwards has a row of its own (audit.test.ts). */
const auditOf = async (token: string) =>
  (
    await sql`SELECT action FROM latchkey.audit_events
      WHERE target_id = ${claimsOf(service, token).sessionId} AND action <> 'session.refresh_refused'`
  ).map((row) => row.action)
const isGood = async (access: string) =>
  (await call(service, 'GET /auth/me', { bearer: access })).status === 200

/** Trades a refresh token and expects success. */
async function next(token: string, at = service) {
  const answer = await refresh(at, token)
  expect(`${answer.status} ${answer.text}`).toStartWith('200')
  return { access: String(answer.body.access_token), refresh: String(answer.body.refresh_token) }
}

/** Expects that every token of the session is refused on the next request. */
async function expectOver(tokens: { access?: string; refresh?: string }[]): Promise<void> {
  for (const { access } of tokens) if (access) expect(await isGood(access)).toBe(false)
  for (const { refresh: token } of tokens)
    if (token) expectProblem(await refresh(service, token), 'invalid_token')
}

describe('a refresh', () => {
  test('answers a new pair of the same session, in the form of a log-in', async () => {
    const first = await begin()
    const answer = await refresh(service, first.refresh)
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({
      access_token: expect.stringMatching(/^eyJ/),
      refresh_token: expect.stringMatching(/^rt_[0-9A-Za-z]{78}$/),
      token_type: 'bearer',
      expires_in: 1800,
    })
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.body.refresh_token).not.toBe(first.refresh)
    const [before, after] = [decodeJwt(first.access), decodeJwt(answer.body.access_token)]
    expect([after.sid, after.sub]).toEqual([before.sid, before.sub])
    expect(after.jti).not.toBe(before.jti)
    expect(await isGood(answer.body.access_token)).toBe(true)
    // The earlier access token is valid until it expires.
    expect(await isGood(first.access)).toBe(true)
  })

  test('can be repeated on any server, each with the next generation, and writes no audit row', async () => {
    let tokens = await begin()
    const before = await auditOf(tokens.refresh)
    for (let i = 1; i <= 6; i++) {
      tokens = await next(tokens.refresh, i % 2 ? second : service)
      expect(claimsOf(service, tokens.refresh).generation).toBe(i)
    }
    expect(await sessionOf(tokens.refresh)).toMatchObject({ generation: '6', ended_at: null })
    expect(await auditOf(tokens.refresh)).toEqual(before)
    expect(await isGood(tokens.access)).toBe(true)
  })

  test('has the present role and scopes', async () => {
    const other = await newPerson(service)
    await sql`UPDATE latchkey.users SET role = 'admin', scopes = '{billing}' WHERE id = ${other.id}`
    const { access } = await next(other.refresh)
    expect(decodeJwt(access)).toMatchObject({ role: 'admin', scope: 'billing' })
  })

  test('stores no token: the database holds neither of the pair', async () => {
    const tokens = await next((await begin()).refresh)
    const dump = JSON.stringify(await sql`SELECT s::text FROM latchkey.sessions s`)
    for (const token of [tokens.refresh, tokens.access]) expect(dump).not.toContain(token.slice(10, 40))
    expect(dump).toContain(claimsOf(service, tokens.refresh).sessionId)
  })

  test('ignores credentials in the headers', async () => {
    const first = await begin()
    const json = { refresh_token: first.refresh }
    const headers = { authorization: 'Bearer long-expired', 'x-api-key': 'sk_nothing' }
    const answer = await call(service, 'POST /auth/refresh', { json, headers })
    expect(answer.status).toBe(200)
    advance(31 * MINUTE_MS)
    const later = await call(service, 'POST /auth/refresh', {
      json: { refresh_token: answer.body.refresh_token },
      bearer: first.access,
    })
    expect(later.status).toBe(200)
    expect(await isGood(first.access)).toBe(false)
    expect(await isGood(later.body.access_token)).toBe(true)
  })
})

describe('a lost answer', () => {
  test('is given again within the grace period: the same refresh token, and no session ends', async () => {
    const first = await begin()
    const one = await next(first.refresh)
    advance(9 * SECOND_MS)
    const again = await next(first.refresh)
    const elsewhere = await next(first.refresh, second)
    expect([again.refresh, elsewhere.refresh]).toEqual([one.refresh, one.refresh])
    for (const { access } of [first, one, again, elsewhere]) expect(await isGood(access)).toBe(true)
    expect(await sessionOf(first.refresh)).toMatchObject({ generation: '1', ended_at: null })
    await next(one.refresh)
  })

  test('fifty refreshes at once of one token leave one successor', async () => {
    const first = await begin()
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => refresh(i % 2 ? second : service, first.refresh)),
    )
    expect(answers.map((answer) => answer.status)).toEqual(Array(50).fill(200))
    const successors = new Set(answers.map((answer) => answer.body.refresh_token))
    expect(successors.size).toBe(1)
    expect(await sessionOf(first.refresh)).toMatchObject({ generation: '1', ended_at: null })
    const [successor] = successors
    await next(successor)
  })

  test('with REFRESH_GRACE_SECONDS=0 fifty at once leave at most one successor', async () => {
    const strict = await startService({ refreshGraceSeconds: 0 }, service)
    const first = await begin()
    const answers = await Promise.all(Array.from({ length: 50 }, () => refresh(strict, first.refresh)))
    const good = answers.filter((answer) => answer.status === 200)
    expect(good.length).toBeGreaterThanOrEqual(1)
    expect(new Set(good.map((answer) => answer.body.refresh_token)).size).toBe(1)
    for (const answer of answers.filter((each) => each.status !== 200)) expectProblem(answer, 'invalid_token')
    await strict.stop()
  })
})

describe('a token that was traded before', () => {
  test('after the grace period ends the session with its access tokens, with one audit row', async () => {
    const first = await begin()
    const bystander = await begin()
    const one = await next(first.refresh)
    expect(await isGood(one.access)).toBe(true)
    advance(11 * SECOND_MS)
    expectProblem(await refresh(service, first.refresh), 'invalid_token')
    await expectOver([first, one])
    expect(await sessionOf(one.refresh)).toMatchObject({ ended_reason: 'refresh_token_reused' })
    expect(await auditOf(one.refresh)).toEqual(['session.reused'])
    // Other sessions of the user stay valid.
    expect(await isGood(bystander.access)).toBe(true)
    await next(bystander.refresh)
  })

  test('two generations ago ends the session at once, also within the grace period', async () => {
    const first = await begin()
    const one = await next(first.refresh)
    const two = await next(one.refresh)
    expectProblem(await refresh(second, first.refresh), 'invalid_token')
    await expectOver([first, one, two])
    expect(await auditOf(two.refresh)).toEqual(['session.reused'])
  })

  test('ends the session whether the thief or the owner is first: both are refused', async () => {
    const owner = await begin()
    const thief = await next(owner.refresh)
    advance(HOUR_MS)
    expectProblem(await refresh(service, owner.refresh), 'invalid_token')
    await expectOver([thief, owner])
  })
})

describe('a text that is no refresh token of the session changes nothing', () => {
  const altered = (token: string, at: number) =>
    token.slice(0, at) + (token[at] === 'x' ? 'y' : 'x') + token.slice(at + 1)
  const withChecksum = (body: string) => body + checksum(body)
  const foreignKey = new Uint8Array(32).fill(9)

  test.each([
    ['signed with another key', (t: string) => makeRefreshToken(foreignKey, claimsOf(service, t))],
    [
      'of the next generation, signed with another key',
      (t: string) => makeRefreshToken(foreignKey, { ...claimsOf(service, t), generation: 2 }),
    ],
    ['of another salt, well signed', (t: string) => resign(service, t, { salt: new Uint8Array(16) })],
    ['of another session, well signed', (t: string) => resign(service, t, { sessionId: Bun.randomUUIDv7() })],
    ['of the last generation', (t: string) => resign(service, t, { generation: 0xffff_ffff })],
    ['altered in its claims', (t: string) => altered(t, 5)],
    ['altered in its claims, with a right checksum', (t: string) => withChecksum(altered(t, 5).slice(0, -6))],
    ['altered in its MAC, with a right checksum', (t: string) => withChecksum(altered(t, 70).slice(0, -6))],
    ['altered in its checksum', (t: string) => altered(t, 80)],
    ['cut', (t: string) => t.slice(0, -1)],
    ['cut in half', (t: string) => t.slice(0, 40)],
    ['longer', (t: string) => `${t}0`],
    ['twice', (t: string) => t + t],
    ['with a space', (t: string) => ` ${t}`],
    ['with NUL', (t: string) => `${t}\0`],
    ['in small letters', (t: string) => t.toLowerCase()],
    ['empty', () => ''],
    ['the prefix', () => 'rt_'],
    ['the session’s id', (t: string) => claimsOf(service, t).sessionId],
    ['an API key', () => makeApiKey('sk_')],
    ['an access token', () => person.access],
    ['4096 characters', () => `rt_${'a'.repeat(4093)}`],
    ['outside ASCII', (t: string) => `${t.slice(0, -1)}é`],
    ['half of a pair', (t: string) => `${t.slice(0, -1)}\ud83d`],
  ])('%s', async (_, forge) => {
    const tokens = await shared()
    const before = await sessionOf(tokens.refresh)
    const audited = await auditOf(tokens.refresh)
    expectProblem(await refresh(service, forge(tokens.refresh)), 'invalid_token')
    expect(await sessionOf(tokens.refresh)).toEqual(before ?? {})
    expect(await auditOf(tokens.refresh)).toEqual(audited)
    expect(await isGood(tokens.access)).toBe(true)
    current = await next(tokens.refresh)
  })

  /** One session for all cases, because no case changes it. */
  let current: { access: string; refresh: string } | null = null
  const shared = async () => {
    current ??= await begin()
    return current
  }

  test.each([
    ['no body', {}],
    ['an empty object', { json: {} }],
    ['null', { json: null }],
    ['a null token', { json: { refresh_token: null } }],
    ['a number', { json: { refresh_token: 5 } }],
    ['a list', { json: { refresh_token: ['a'] } }],
    ['more than 4096 characters', { json: { refresh_token: 'a'.repeat(4097) } }],
    ['another member beside it', { json: { refresh_token: 'a', scope: 'admin' } }],
  ])('422 for %s', async (_, options) => {
    expectProblem(await call(service, 'POST /auth/refresh', options), 'validation_failed')
  })
})

describe('after a restore', () => {
  test('a token of a generation ahead of the database is accepted, and older generations are refused', async () => {
    const tokens = await begin()
    const ahead = resign(service, tokens.refresh, { generation: 7 })
    const eighth = await next(ahead)
    expect(claimsOf(service, eighth.refresh).generation).toBe(8)
    expect(await sessionOf(tokens.refresh)).toMatchObject({ generation: '8', ended_at: null })
    await next(ahead)
    expectProblem(await refresh(service, tokens.refresh), 'invalid_token')
    await expectOver([tokens, eighth])
  })
})

describe('a session', () => {
  test('expires after seven days without a use, and each use prolongs it', async () => {
    let tokens = await begin()
    for (let i = 0; i < 2; i++) {
      advance(7 * DAY_MS - MINUTE_MS)
      tokens = await next(tokens.refresh)
    }
    advance(7 * DAY_MS + MINUTE_MS)
    expectProblem(await refresh(service, tokens.refresh), 'invalid_token')
    // An expired token is no theft, and is only refused.
    expect(await auditOf(tokens.refresh)).toEqual([])
    expect(await sessionOf(tokens.refresh)).toMatchObject({ ended_at: null })
  })

  test('expires after thirty days of any use, and no access token expires later', async () => {
    let tokens = await begin()
    for (let i = 0; i < 4; i++) {
      advance(6 * DAY_MS)
      tokens = await next(tokens.refresh)
    }
    advance(6 * DAY_MS - 10 * MINUTE_MS)
    const last = await refresh(service, tokens.refresh)
    expect(last.status).toBe(200)
    expect(last.body.expires_in).toBeLessThanOrEqual(10 * 60)
    expect(last.body.expires_in).toBeGreaterThan(9 * 60)
    expect(await isGood(last.body.access_token)).toBe(true)
    advance(11 * MINUTE_MS)
    expect(await isGood(last.body.access_token)).toBe(false)
    expectProblem(await refresh(service, last.body.refresh_token), 'invalid_token')
  })

  test('of a disabled user is refused, and accepted again when the user is enabled', async () => {
    const other = await newPerson(service)
    await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${other.id}`
    expectProblem(await refresh(service, other.refresh), 'invalid_token')
    await sql`UPDATE latchkey.users SET is_active = true WHERE id = ${other.id}`
    await next(other.refresh)
  })

  test('of a deleted user is refused', async () => {
    const other = await newPerson(service)
    await sql`DELETE FROM latchkey.users WHERE id = ${other.id}`
    expectProblem(await refresh(service, other.refresh), 'invalid_token')
  })

  test('beyond a hundred live ones ends the oldest', async () => {
    const other = await newPerson(service)
    // Makes 100 live sessions, newest last, and twenty that ended or expired.
    await sql`
      INSERT INTO latchkey.sessions (id, user_id, salt, created_at, rotated_at, idle_expires_at, expires_at, ended_at)
      SELECT gen_random_uuid(), user_id, salt, created_at + n * interval '1 ms', rotated_at,
        CASE WHEN n BETWEEN 100 AND 109 THEN created_at - interval '1 day' ELSE idle_expires_at END, expires_at,
        CASE WHEN n > 109 THEN created_at END
      FROM latchkey.sessions, generate_series(1, 119) n WHERE user_id = ${other.id}`
    const latest = await logIn(service, other.email, other.password)
    await expectOver([other])
    expect(await sessionOf(other.refresh)).toMatchObject({ ended_reason: 'too_many_sessions' })
    expect(await auditOf(other.refresh)).toEqual(['session.ended'])
    expect(await isGood(latest.access)).toBe(true)
    const [live] = await sql`
      SELECT count(*)::int AS n, count(*) FILTER (WHERE ended_reason = 'too_many_sessions')::int AS ended
      FROM latchkey.sessions WHERE user_id = ${other.id} AND (ended_at IS NULL OR ended_reason IS NOT NULL)
        AND idle_expires_at > created_at`
    expect(live).toEqual({ n: 101, ended: 1 })
  })
})
