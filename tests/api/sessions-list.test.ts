import { beforeAll, describe, expect, test } from 'bun:test'
import { decodeJwt } from 'jose'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { signIn } from '../../src/core/login/sign-in.ts'
import { isUnavailable } from '../../src/db/errors.ts'
import { DAY_MS, HOUR_MS } from '../../src/lib/time.ts'
import { type Answer, call, newKey } from '../support/client.ts'
import {
  type AddedPerson,
  addLoggedIn,
  addPerson,
  beginSession,
  PASSWORD,
  type Tokens,
} from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { claimsOf, refresh } from '../support/refresh.ts'
import { useService, useSql } from '../support/use-service.ts'

const service = useService({ trustedProxies: ['127.0.0.0/8'] })
const sql = useSql(service)

type ListedSession = { id: string; current: boolean } & Record<string, unknown>

const list = (bearer: string, query = '') => call(service, `GET /auth/sessions${query}`, { bearer })
const listed = async (bearer: string): Promise<ListedSession[]> => (await list(bearer)).body.items
const end = (bearer: string, id: string) => call(service, `DELETE /auth/sessions/${id}`, { bearer })
const idOf = ({ refresh: token }: Tokens) => claimsOf(service, token).sessionId
const auditOf = (id: string) =>
  sql`SELECT action, outcome, actor_type, actor_id, target_type, details FROM latchkey.audit_events
    WHERE target_id = ${id}`
const isGood = async (bearer: string) => (await call(service, 'GET /auth/me', { bearer })).status === 200

/** Inserts many live sessions, a second apart, the newest last. */
async function addSessions(person: AddedPerson, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => Bun.randomUUIDv7())
  const now = service.context.clock()
  for (const [i, id] of ids.entries()) {
    const at = new Date(now - (count - i) * 1000)
    await sql`INSERT INTO latchkey.sessions (id, user_id, salt, created_at, rotated_at, idle_expires_at, expires_at)
      VALUES (${id}, ${person.id}, decode(repeat('00', 16), 'hex'), ${at}, ${at}, ${new Date(now + DAY_MS)}, ${new Date(now + DAY_MS)})`
  }
  return ids
}

/** Logs in with the headers of a browser. */
async function logIn(email: string, headers: Record<string, string>): Promise<Answer> {
  return call(service, 'POST /auth/login', { json: { email, password: PASSWORD }, headers })
}

describe('the list of sessions', () => {
  test('has each live session of the caller, newest first, with its first address, and marks the current one', async () => {
    const person = await addPerson(sql)
    const first = await logIn(person.email, { 'user-agent': 'Old/1', 'x-forwarded-for': '203.0.113.7' })
    const second = await logIn(person.email, { 'user-agent': 'New/2', 'x-forwarded-for': '2001:db8::5' })
    const answer = await list(first.body.access_token)
    expect(answer.status).toBe(200)
    const [sid1, sid2] = [first, second].map(({ body }) => decodeJwt(body.access_token).sid as string)
    const moment = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    const times = {
      kind: 'api',
      auth_time: moment,
      amr: ['pwd'],
      created_at: moment,
      last_used_at: moment,
      expires_at: moment,
    }
    const usedAt = (ip: string, user_agent: string) => ({
      ip,
      user_agent,
      login_ip: ip,
      login_user_agent: user_agent,
    })
    expect(answer.body).toEqual({
      items: [
        { id: sid2 ?? '', ...times, ...usedAt('2001:db8::5', 'New/2'), current: false },
        { id: sid1 ?? '', ...times, ...usedAt('203.0.113.7', 'Old/1'), current: true },
      ],
      next_cursor: null,
    })
    const [, item] = answer.body.items
    expect(Date.parse(item.expires_at) - Date.parse(item.created_at)).toBe(7 * DAY_MS)
    expect((await listed(second.body.access_token)).map(({ current }) => current)).toEqual([true, false])
  })

  test('has no secret', async () => {
    const person = await addLoggedIn(service, sql)
    const { text } = await list(person.access)
    expect(text).toContain(idOf(person))
    for (const hidden of ['rt_', 'salt', 'generation', person.refresh.slice(30, 50)]) {
      expect(text).not.toContain(hidden)
    }
  })

  test('has the time of each use', async () => {
    const person = await addLoggedIn(service, sql)
    const [before] = await listed(person.access)
    service.advance(HOUR_MS)
    const { body } = await refresh(service, person.refresh)
    const [after] = await listed(body.access_token)
    expect(
      Date.parse(String(after?.last_used_at)) - Date.parse(String(before?.last_used_at)),
    ).toBeGreaterThanOrEqual(HOUR_MS)
    expect(after?.created_at).toBe(before?.created_at)
    // A refresh proves nothing anew.
    expect(after?.auth_time).toBe(before?.auth_time)
    expect(decodeJwt(body.access_token)).toMatchObject({
      auth_time: Math.floor(Date.parse(String(before?.auth_time)) / 1000),
      amr: ['pwd'],
    })
    expect(after?.current).toBe(true)
  })

  test('has the address of the last use and that of the log-in', async () => {
    const person = await addPerson(sql)
    const { body } = await logIn(person.email, { 'user-agent': 'Old/1', 'x-forwarded-for': '203.0.113.7' })
    const began = { login_ip: '203.0.113.7', login_user_agent: 'Old/1' }
    const use = async (refresh_token: string, headers: Record<string, string>) =>
      (await call(service, 'POST /auth/refresh', { json: { refresh_token }, headers })).body
    const first = await use(body.refresh_token, { 'user-agent': 'New/2', 'x-forwarded-for': '2001:db8::5' })
    expect(await listed(first.access_token)).toMatchObject([
      { ip: '2001:db8::5', user_agent: 'New/2', ...began },
    ])
    // An unreadable address is null, and not that of the log-in.
    const second = await use(first.refresh_token, {
      'user-agent': 'x'.repeat(256),
      'x-forwarded-for': 'unknown',
    })
    expect(await listed(second.access_token)).toMatchObject([
      { ip: null, user_agent: 'x'.repeat(255), ...began },
    ])
  })

  test('leaves out ended and expired sessions, and sessions of other users', async () => {
    const person = await addLoggedIn(service, sql)
    await addLoggedIn(service, sql)
    const [ended = '', idle = '', old = '', live = ''] = await addSessions(person, 4)
    const past = new Date(service.context.clock() - 1)
    await sql`UPDATE latchkey.sessions SET ended_at = now() WHERE id = ${ended}`
    await sql`UPDATE latchkey.sessions SET idle_expires_at = ${past} WHERE id = ${idle}`
    await sql`UPDATE latchkey.sessions SET expires_at = ${past} WHERE id = ${old}`
    expect((await listed(person.access)).map(({ id }) => id).sort()).toEqual([live, idOf(person)].sort())
  })

  test.each([
    ['256 characters', 'x'.repeat(256), 'x'.repeat(255)],
    ['8000 characters', 'y'.repeat(8000), 'y'.repeat(255)],
    ['an empty one', '', ''],
    ['markup', '<script>alert(1)</script>', '<script>alert(1)</script>'],
  ])('keeps at most 255 characters of a User-Agent: %s', async (_, sent, kept) => {
    const person = await addPerson(sql)
    const { body } = await logIn(person.email, { 'user-agent': sent })
    const [session] = await listed(body.access_token)
    expect(session?.user_agent).toBe(kept)
  })

  test('keeps only a valid address', async () => {
    const person = await addPerson(sql)
    const hostile = `${'9'.repeat(4000)}, <b>203.0.113.9</b>`
    const { body } = await logIn(person.email, { 'x-forwarded-for': hostile })
    const [session] = await listed(body.access_token)
    expect(session?.ip).toBeNull()
  })

  test('accepts only a user’s access token', async () => {
    const person = await addLoggedIn(service, sql)
    const { key } = await newKey(service, person.access, { scopes: ['read'] })
    expectProblem(await list(key), 'wrong_credential_kind')
    expectProblem(await call(service, 'GET /auth/sessions'), 'missing_credential')
    expectProblem(await end(key, idOf(person)), 'wrong_credential_kind')
  })
})

describe('pages of sessions', () => {
  let person: AddedPerson & Tokens
  let ids: string[]
  beforeAll(async () => {
    const made = await addPerson(sql)
    ids = await addSessions(made, 6)
    const tokens = await beginSession(service, made)
    person = { ...made, ...tokens }
    ids.push(idOf(tokens))
    ids.reverse()
  })

  test.each([[1], [2], [3], [6], [7], [100]])('of %d have each session once, in order', async (limit) => {
    const seen: string[] = []
    let cursor: string | null = ''
    for (let page = 0; cursor !== null; page++) {
      expect(page).toBeLessThan(8)
      const query: string = `?limit=${limit}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`
      const { body } = await list(person.access, query)
      expect(body.items.length).toBeLessThanOrEqual(limit)
      seen.push(...body.items.map(({ id }: ListedSession) => id))
      cursor = body.next_cursor
    }
    expect(seen).toEqual(ids)
  })

  test('do not shift when a session begins meanwhile', async () => {
    const { body } = await list(person.access, '?limit=3')
    const fresh = await beginSession(service, person)
    const next = await list(person.access, `?limit=3&cursor=${body.next_cursor}`)
    expect(next.body.items.map(({ id }: ListedSession) => id)).toEqual(ids.slice(3, 6))
    await end(person.access, idOf(fresh))
  })

  test('refuse a cursor that was altered, and a cursor of another list', async () => {
    const cursor: string = (await list(person.access, '?limit=2')).body.next_cursor
    const stranger = await addLoggedIn(service, sql)
    const admin = await addLoggedIn(service, sql, { role: 'admin' })
    const ofUsers: string = (await call(service, 'GET /users?limit=1', { bearer: admin.access })).body
      .next_cursor
    expect((await list(person.access, `?cursor=${cursor}`)).status).toBe(200)
    expectProblem(await list(stranger.access, `?cursor=${cursor}`), 'validation_failed')
    const flip = (at: number) => cursor.slice(0, at) + (cursor[at] === '0' ? '1' : '0') + cursor.slice(at + 1)
    const forged = [
      ofUsers,
      flip(0),
      flip(31),
      flip(cursor.length - 1),
      cursor.slice(0, -1),
      `${cursor}0`,
      cursor.toUpperCase(),
      cursor.slice(0, 32),
      ids[0] ?? '',
      'x',
      '%00',
      '',
      "'; DROP TABLE latchkey.sessions; --",
    ]
    for (const each of forged.filter((text) => text !== cursor)) {
      const answer = await list(
        person.access,
        `?cursor=${each.startsWith('%') ? each : encodeURIComponent(each)}`,
      )
      expectProblem(answer, 'validation_failed')
      if (each.length > 4) expect(answer.text).not.toContain(each)
    }
  })

  test.each([['0'], ['-1'], ['101'], ['1.5'], ['many'], ['1e9'], ['99999999999999999999']])(
    'of %s are 422',
    async (limit) => {
      expectProblem(await list(person.access, `?limit=${limit}`), 'validation_failed')
    },
  )
})

describe('the end of one session', () => {
  test('ends only that session, at once, with one audit row; a second request has the same answer', async () => {
    const person = await addLoggedIn(service, sql)
    const other = await beginSession(service, person)
    expect(await isGood(other.access)).toBe(true)
    expect(await auditOf(idOf(other))).toHaveLength(0)
    for (let i = 0; i < 2; i++) {
      const answer = await end(person.access, idOf(other))
      expect([answer.status, answer.text]).toEqual([204, ''])
    }
    expect(await isGood(other.access)).toBe(false)
    expectProblem(await refresh(service, other.refresh), 'invalid_token')
    expect(await isGood(person.access)).toBe(true)
    expect((await listed(person.access)).map(({ id }) => id)).toEqual([idOf(person)])
    expect([...(await auditOf(idOf(other)))]).toEqual([
      {
        action: 'session.ended',
        outcome: 'success',
        actor_type: 'user',
        actor_id: person.id,
        target_type: 'session',
        details: { reason: 'ended', user_id: person.id },
      },
      {
        action: 'session.refresh_refused',
        outcome: 'refused',
        actor_type: 'anonymous',
        actor_id: null,
        target_type: 'session',
        details: { reason: 'over', count: 1 },
      },
    ])
  })

  test('may end the session of the caller’s own token', async () => {
    const person = await addLoggedIn(service, sql)
    expect((await end(person.access, idOf(person))).status).toBe(204)
    expectProblem(await end(person.access, idOf(person)), 'invalid_token')
    expectProblem(await list(person.access), 'invalid_token')
  })

  test('answers 404 and ends nothing for a session of another user, of an admin, or an unknown one', async () => {
    const [person, stranger] = [await addLoggedIn(service, sql), await addLoggedIn(service, sql)]
    const admin = await addLoggedIn(service, sql, { role: 'admin' })
    for (const id of [
      idOf(stranger),
      idOf(admin),
      Bun.randomUUIDv7(),
      stranger.id,
      'x',
      '0',
      idOf(stranger).toUpperCase(),
      `${idOf(stranger)}%20`,
      '%00',
      "'%20OR%20true--",
    ]) {
      expectProblem(await end(person.access, id), 'not_found')
    }
    // An admin cannot end another user's session by this route either.
    expectProblem(await end(admin.access, idOf(stranger)), 'not_found')
    for (const { access } of [person, stranger, admin]) expect(await isGood(access)).toBe(true)
    expect(await auditOf(idOf(stranger))).toHaveLength(0)
  })
})

describe('at most a hundred live sessions a user', () => {
  test('each further session ends the oldest one of the user, and none of another user', async () => {
    const person = await addPerson(sql)
    const stranger = await addLoggedIn(service, sql)
    const ids = await addSessions(person, 99)
    const hundredth = await beginSession(service, person)
    expect(await listed(hundredth.access)).toHaveLength(100)
    const next = await beginSession(service, person)
    const live = (await listed(next.access)).map(({ id }) => id)
    expect(live).toHaveLength(100)
    expect(live).toContain(ids[1] ?? '')
    expect(live).not.toContain(ids[0] ?? '')
    expect([...(await auditOf(ids[0] ?? ''))]).toMatchObject([
      { action: 'session.ended', details: { reason: 'too_many_sessions', user_id: person.id } },
    ])
    expect(await isGood(stranger.access)).toBe(true)
  })

  test('each kind by itself: a hundred browsers end no API session, and the hundred and first ends a browser', async () => {
    const person = await addLoggedIn(service, sql)
    const ids = await addSessions(person, 100)
    await sql`UPDATE latchkey.sessions SET kind = 'browser' WHERE id = ANY(${ids}::uuid[])`
    const another = await beginSession(service, person)
    expect([await isGood(person.access), await isGood(another.access)]).toEqual([true, true])
    const live = () => sql`SELECT id FROM latchkey.sessions
      WHERE user_id = ${person.id} AND kind = 'browser' AND ended_at IS NULL ORDER BY id`
    expect(await live()).toHaveLength(100)
    const wanted = { kind: 'browser', scopes: null, remember: false } as const
    const { session } = await signIn(service.context, SYSTEM, person, wanted)
    const after = (await live()).map(({ id }) => id)
    expect(after).toEqual([...ids.slice(1), session.sessionId])
    expect(await isGood(person.access)).toBe(true)
  })

  test('also when many begin at the same moment', async () => {
    const person = await addPerson(sql)
    await addSessions(person, 95)
    /** Begins again where a busy machine has no free connection in time. */
    const begin = (): Promise<unknown> =>
      beginSession(service, person).catch((error) => {
        if (isUnavailable(error)) return begin()
        throw error
      })
    await Promise.all(Array.from({ length: 30 }, begin))
    const [row] = await sql`SELECT count(*)::int AS n FROM latchkey.sessions
      WHERE user_id = ${person.id} AND ended_at IS NULL`
    expect(row?.n).toBe(100)
  })
})
