import { beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { deleteOutdated } from '../../src/core/housekeeping/delete-outdated.ts'
import { MINUTE_MS } from '../../src/lib/time.ts'
import { call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

/** Twelve events, the oldest first, a minute apart. */
const events: { id: string; at: Date; action: string; actor: string; target: string }[] = []
const T0 = Date.UTC(2026, 0, 15, 12)
const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const user = prepare(() => addLoggedIn(service, sql))
beforeAll(async () => {
  await sql`DELETE FROM latchkey.audit_events`
  const [actors, targets] = [1, 2].map(() => [Bun.randomUUIDv7(), Bun.randomUUIDv7(), Bun.randomUUIDv7()])
  for (let i = 0; i < 12; i++) {
    const event = {
      id: Bun.randomUUIDv7(),
      at: new Date(T0 + i * MINUTE_MS),
      action: ['user.login', 'key.revoked', 'user.login', 'access.denied'][i % 4] ?? '',
      actor: actors?.[i % 3] ?? '',
      target: targets?.[i % 2] ?? '',
    }
    events.push(event)
    await sql`INSERT INTO latchkey.audit_events
      (id, at, action, outcome, actor_type, actor_id, target_type, target_id, ip, request_id, details)
      VALUES (${event.id}, ${event.at}, ${event.action}, ${i % 4 === 3 ? 'refused' : 'success'}, 'user', ${event.actor},
        'user', ${event.target}, '203.0.113.7', ${`request-${i}`}, ${sql.json({ n: i })})`
  }
})

type ListedEvent = { id: string }
const list = (query = '', bearer = admin.access) => call(service, `GET /audit${query}`, { bearer })
const numbersOf = async (query: string): Promise<number[]> => {
  const answer = await list(query)
  expect(`${answer.status} ${answer.text}`).toStartWith('200')
  return answer.body.items.map(({ id }: ListedEvent) => events.findIndex((event) => event.id === id))
}
const newestFirst = (keep: (event: (typeof events)[number], i: number) => boolean) =>
  events.flatMap((event, i) => (keep(event, i) ? [i] : [])).reverse()
const iso = (minute: number) => encodeURIComponent(new Date(T0 + minute * MINUTE_MS).toISOString())

describe('refusals in the audit trail', () => {
  const isRefused = (_: unknown, i: number) => i % 4 === 3

  test.each([
    ['', () => true],
    ['&action=access.denied', () => true],
    ['&action=user.login', () => false],
    ['&actor=FIRST', ({ actor }) => actor === events[0]?.actor],
    ['&actor=FIRST&action=access.denied', ({ actor }) => actor === events[0]?.actor],
    ['&target=SECOND', ({ target }) => target === events[1]?.target],
  ] as [string, (event: (typeof events)[number]) => boolean][])(
    'are listed with outcome=refused%s, newest first, page by page',
    async (filter, keep) => {
      const query = filter.replace('FIRST', events[0]?.actor ?? '').replace('SECOND', events[1]?.target ?? '')
      const expected = newestFirst((event, i) => isRefused(event, i) && keep(event))
      expect(await numbersOf(`?outcome=refused${query}`)).toEqual(expected)
      const found: number[] = []
      let cursor = ''
      do {
        const { body } = await list(`?outcome=refused&limit=1${query}${cursor}`)
        found.push(...body.items.map(({ id }: ListedEvent) => events.findIndex((event) => event.id === id)))
        cursor = body.next_cursor === null ? '' : `&cursor=${body.next_cursor}`
      } while (cursor !== '')
      expect(found).toEqual(expected)
    },
  )
})

describe('the audit trail', () => {
  test('lists every member of each event, newest first', async () => {
    const { body } = await list()
    expect(body.next_cursor).toBeNull()
    expect(body.items).toHaveLength(12)
    const [event] = events
    expect(body.items.at(-1)).toEqual({
      id: event?.id ?? '',
      at: '2026-01-15T12:00:00.000Z',
      action: 'user.login',
      outcome: 'success',
      actor: { type: 'user', id: event?.actor ?? '' },
      target: { type: 'user', id: event?.target ?? '' },
      ip: '203.0.113.7',
      request_id: 'request-0',
      details: { n: 0 },
    })
    expect(await numbersOf('')).toEqual(newestFirst(() => true))
  })

  test('is filtered by actor, action, target and time, and by all of them together', async () => {
    const { actor = '', target = '' } = events[4] ?? {}
    expect(await numbersOf(`?actor=${actor}`)).toEqual(newestFirst((event) => event.actor === actor))
    expect(await numbersOf(`?target=${target}`)).toEqual(newestFirst((event) => event.target === target))
    expect(await numbersOf('?action=user.login')).toEqual(
      newestFirst((event) => event.action === 'user.login'),
    )
    expect(await numbersOf(`?from=${iso(3)}&to=${iso(6)}`)).toEqual([5, 4, 3])
    expect(await numbersOf(`?from=${iso(10)}`)).toEqual([11, 10])
    expect(await numbersOf(`?to=${iso(1)}`)).toEqual([0])
    expect(await numbersOf(`?from=${iso(6)}&to=${iso(3)}`)).toEqual([])
    expect(await numbersOf(`?from=${encodeURIComponent('2026-01-15T14:05:00+02:00')}&to=${iso(7)}`)).toEqual([
      6, 5,
    ])
    const all = `?actor=${actor}&target=${target}&action=user.login&from=${iso(0)}&to=${iso(12)}`
    expect(await numbersOf(all)).toEqual(
      newestFirst(
        (event) => event.actor === actor && event.target === target && event.action === 'user.login',
      ),
    )
    for (const none of [
      `?actor=${Bun.randomUUIDv7()}`,
      `?target=${Bun.randomUUIDv7()}`,
      '?action=user',
      '?action=user.%25',
      `?target=${target.slice(0, -1)}`,
    ]) {
      expect(await numbersOf(none)).toEqual([])
    }
  })

  test.each([[1], [2], [5], [12], [100]])('in pages of %d holds each event once', async (limit) => {
    for (const [filter, expected] of [
      ['', newestFirst(() => true)],
      ['&action=user.login', newestFirst((event) => event.action === 'user.login')],
    ] as const) {
      const found: number[] = []
      for (let cursor: string | null = ''; cursor !== null; ) {
        const query: string = `?limit=${limit}${filter}${cursor === '' ? '' : `&cursor=${cursor}`}`
        const { body } = await list(query)
        expect(body.items.length).toBeLessThanOrEqual(limit)
        found.push(...body.items.map(({ id }: ListedEvent) => events.findIndex((event) => event.id === id)))
        cursor = body.next_cursor
      }
      expect(found).toEqual(expected)
    }
  })

  test('refuses a cursor that was altered, and a cursor of another search', async () => {
    const cursor: string = (await list('?limit=2&action=user.login')).body.next_cursor
    expect((await list(`?limit=2&action=user.login&cursor=${cursor}`)).status).toBe(200)
    const flipped = (at: number) =>
      cursor.slice(0, at) + (cursor[at] === '0' ? '1' : '0') + cursor.slice(at + 1)
    const ofUsers: string = (await call(service, 'GET /users?limit=1', { bearer: admin.access })).body
      .next_cursor
    for (const query of [
      `?limit=2&cursor=${cursor}`,
      `?action=key.revoked&cursor=${cursor}`,
      `?action=user.login&actor=${user.id}&cursor=${cursor}`,
      `?action=user.login&from=${iso(0)}&cursor=${cursor}`,
      ...[
        flipped(0),
        flipped(31),
        flipped(cursor.length - 1),
        cursor.slice(1),
        `${cursor}0`,
        ofUsers,
        'x',
        '',
      ].map((forged) => `?action=user.login&cursor=${forged}`),
      `?action=user.login&cursor=${events[5]?.id}`,
      `?action=user.login&cursor=${'0'.repeat(257)}`,
    ]) {
      expectProblem(await list(query), 'validation_failed')
    }
  })

  test.each([
    ['from=yesterday'],
    ['from=2026-01-15'],
    ['from=2026-02-30T00:00:00Z'],
    ['from=2026-01-15T12:00:00'],
    ['to=2026-13-01T00:00:00Z'],
    ['to=0'],
    ['to='],
    ['to=1768478400'],
    ['to=%2B10000-01-01T00:00:00Z'],
    ['from=2026-01-15T25:00:00Z'],
    ['actor=nobody'],
    ['actor='],
    [`actor=${'0'.repeat(65)}`],
    [`target=${'0'.repeat(65)}`],
    [`action=${'a'.repeat(65)}`],
    ['limit=0'],
    ['limit=101'],
    ['limit=ten'],
  ])('answers 422 to %s', async (query) => {
    const answer = await list(`?${query}`)
    expectProblem(answer, 'validation_failed')
    const value = query.slice(query.indexOf('=') + 1)
    if (value.length > 5) expect(answer.text).not.toContain(value)
  })

  test('is readable by admins, and by keys with latchkey:audit.read', async () => {
    const make = async (scopes: string) => (await newKey(service, admin.access, { scopes })).key
    const key = await make('latchkey:audit.read')
    expect((await list('', key)).status).toBe(200)
    expectProblem(
      await list('', await make('latchkey:users.read,latchkey:users.write,read')),
      'insufficient_scope',
    )
    expectProblem(await list('', user.access), 'insufficient_scope')
    expectProblem(await call(service, 'GET /audit'), 'missing_credential')
    const grab = { bearer: user.access, json: { scopes: 'latchkey:audit.read' } }
    expectProblem(await call(service, 'POST /keys/create', grab), 'insufficient_scope')
    expectProblem(
      await call(service, 'POST /audit', { bearer: admin.access, json: {} }),
      'method_not_allowed',
    )
    expectProblem(await call(service, 'DELETE /audit', { bearer: admin.access }), 'method_not_allowed')
  })
})

describe('deletion of outdated rows by several servers', () => {
  const addOld = (n: number) => sql`
    INSERT INTO latchkey.audit_events (id, at, action, outcome, actor_type, details)
    SELECT gen_random_uuid(), now() - interval '400 days', 'user.login', 'success', 'system', '{}'
    FROM generate_series(1, ${n})`

  test('is skipped for a table where another server is at work', async () => {
    const other = postgres(service.databaseUrl, { max: 1 })
    await addOld(30)
    await other.begin(async (tx) => {
      await tx`SELECT pg_advisory_xact_lock(hashtextextended('latchkey.sweep.audit_events', 0))`
      expect(await deleteOutdated(service.context, { vacuums: false })).toBe(0)
    })
    expect(await deleteOutdated(service.context, { vacuums: false })).toBe(30)
    await other.end()
  })

  test('at the same moment deletes every outdated row', async () => {
    for (let round = 0; round < 10; round++) {
      await addOld(1500)
      const deleted = await Promise.all(
        [1, 2, 3].map(() => deleteOutdated(service.context, { vacuums: false })),
      )
      expect(deleted.reduce((x, y) => x + y, 0)).toBe(1500)
    }
  })
})
