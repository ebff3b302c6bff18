import { describe, expect, test } from 'bun:test'
import { deleteOutdated } from '../../src/core/housekeeping/delete-outdated.ts'
import { presentKey } from '../../src/core/keys/present.ts'
import { operator, requireKey } from '../../src/core/keys/reach.ts'
import { writeUsage } from '../../src/core/usage/usage.ts'
import { call, newKey } from '../support/client.ts'
import { addLoggedIn, LABELLER } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const SECOND_MS = 1000
const DAY_MS = 86_400_000
const SLOW_MS = 240_000

const service = useService()
const other = useService({}, service)
const sql = useSql(service)
const owner = prepare(() => addLoggedIn(service, sql, { scopes: LABELLER }))
const stranger = prepare(() => addLoggedIn(service, sql))

const make = (json: Record<string, unknown> = {}) =>
  newKey(service, owner.access, { scopes: 'read', ...json })
const rotate = (id: string, json?: unknown, on = service, bearer = owner.access) =>
  call(on, `POST /keys/${id}/rotate`, { bearer, json })
const endSecret = (id: string, start: string, bearer = owner.access) =>
  call(service, `DELETE /keys/${id}/secrets/${start}`, { bearer })
const read = async (id: string) => (await call(service, `GET /keys/${id}`, { bearer: owner.access })).body
const statusOf = async (apiKey: string, on = service) =>
  (await call(on, 'GET /protected/any', { apiKey })).status
const startOf = (key: string) => key.slice(0, 11)

describe('a rotation', () => {
  test('keeps the id and every setting, and gives a new secret; the old secret stays valid', async () => {
    const settings = {
      name: 'n',
      description: 'd',
      external_id: 'x',
      metadata: { a: 1 },
      allowed_ips: ['127.0.0.1'],
    }
    const { id, key } = await make({
      ...settings,
      credits: { remaining: 7 },
      rate_limit: { limit: 9, window_seconds: 9 },
    })
    const before = await read(id)
    const answer = await rotate(id)
    expect(answer.status).toBe(201)
    const { key: successor, ...after } = answer.body
    expect(successor).toMatch(/^sk_\w{49}$/)
    expect(successor).not.toBe(key)
    const { secrets: _, start: __, ...kept } = before
    expect(after).toMatchObject(kept)
    expect(after.start).toBe(startOf(successor))
    expect(after.secrets).toMatchObject([
      { start: startOf(key), last_used_at: null },
      { start: startOf(successor), expires_at: null, last_used_at: null },
    ])
    const overlapEnds = Date.parse(after.secrets[0].expires_at)
    expect(Math.abs(overlapEnds - Date.now() - DAY_MS)).toBeLessThan(30 * SECOND_MS)
    for (const secret of [key, successor]) expect(await statusOf(secret)).toBe(200)
    expect(JSON.stringify(await read(id))).not.toContain(successor)

    const rows =
      await sql`SELECT * FROM latchkey.audit_events WHERE target_id = ${id} AND action = 'key.rotated'`
    expect(rows).toMatchObject([{ details: { overlap_seconds: 86_400, start: startOf(successor) } }])
    expect(JSON.stringify(rows)).not.toContain(successor)
  })

  test('shows the owner which of the two secrets is still in use', async () => {
    const { id, key } = await make()
    const successor = (await rotate(id)).body.key
    const uses = async () => {
      await writeUsage(service.context)
      const { secrets, last_used_at } = await read(id)
      return { old: secrets[0].last_used_at, new: secrets[1].last_used_at, last_used_at }
    }
    expect(await uses()).toEqual({ old: null, new: null, last_used_at: null })
    await statusOf(key)
    const first = await uses()
    expect(first).toEqual({ old: expect.any(String), new: null, last_used_at: first.old })
    await Bun.sleep(5)
    await statusOf(successor)
    const second = await uses()
    expect(second).toEqual({ old: first.old, new: expect.any(String), last_used_at: second.new })
    expect(second.new > second.old).toBe(true)
  })

  test('without an overlap ends the old secret at once', async () => {
    const { id, key } = await make()
    expect(await statusOf(key)).toBe(200)
    const answer = await rotate(id, { overlap_seconds: 0 })
    expect(answer.body.secrets).toMatchObject([{ start: startOf(answer.body.key), expires_at: null }])
    expect(await statusOf(key)).toBe(401)
    expect(await statusOf(answer.body.key)).toBe(200)
    expect((await rotate(id, { overlap_seconds: 0 })).status).toBe(201)
  })

  test('keeps the time of the last use, however the old secret ends', async () => {
    const used = async () => {
      const made = await make()
      await statusOf(made.key)
      await writeUsage(service.context)
      const { last_used_at } = await read(made.id)
      expect(last_used_at).toBeString()
      return { ...made, last_used_at }
    }
    const atOnce = await used()
    const rotated = await rotate(atOnce.id, { overlap_seconds: 0 })
    expect(rotated.body.last_used_at).toBe(atOnce.last_used_at)
    expect(rotated.body.secrets).toMatchObject([{ last_used_at: null }])

    const ended = await used()
    await rotate(ended.id)
    await endSecret(ended.id, startOf(ended.key))
    expect(await read(ended.id)).toMatchObject({ last_used_at: ended.last_used_at, secrets: [{}] })

    const outdated = await used()
    await rotate(outdated.id, { overlap_seconds: 1 })
    await sql`UPDATE latchkey.api_key_secrets SET expires_at = now() - interval '2 days'
      WHERE key_id = ${outdated.id} AND expires_at IS NOT NULL`
    await deleteOutdated(service.context, { vacuums: false })
    expect(await read(outdated.id)).toMatchObject({ last_used_at: outdated.last_used_at, secrets: [{}] })

    // A later use updates the time.
    await statusOf(rotated.body.key)
    await writeUsage(service.context)
    expect((await read(atOnce.id)).last_used_at > atOnce.last_used_at).toBe(true)
  })

  test('under way refuses another rotation, until one of the two secrets is ended', async () => {
    const { id, key } = await make()
    const second = (await rotate(id, { overlap_seconds: 3600 })).body.key
    for (const json of [undefined, { overlap_seconds: 0 }]) expectProblem(await rotate(id, json), 'conflict')
    expect(await statusOf(key)).toBe(200)
    expect((await endSecret(id, startOf(key))).status).toBe(204)
    expect([await statusOf(key), await statusOf(second)]).toEqual([401, 200])
    expect((await read(id)).secrets).toMatchObject([{ start: startOf(second), expires_at: null }])
    expect((await rotate(id)).status).toBe(201)
  })

  test('is cancelled by ending the new secret: the old one no longer expires', async () => {
    const { id, key } = await make()
    const second = (await rotate(id, { overlap_seconds: 3600 })).body.key
    expect((await endSecret(id, startOf(second))).status).toBe(204)
    expect([await statusOf(key), await statusOf(second)]).toEqual([200, 401])
    expect((await read(id)).secrets).toMatchObject([{ start: startOf(key), expires_at: null }])
    expectProblem(await endSecret(id, startOf(second)), 'not_found')
    expectProblem(await endSecret(id, startOf(key)), 'conflict')
    expect(await statusOf(key)).toBe(200)
  })

  test.each([
    ['a negative overlap', { overlap_seconds: -1 }],
    ['more than thirty days', { overlap_seconds: 2_592_001 }],
    ['half a second', { overlap_seconds: 0.5 }],
    ['text', { overlap_seconds: 'soon' }],
    ['an unknown member', { overlap: 5 }],
    ['the key of one’s choice', { key: 'sk_chosen' }],
    ['a list', []],
  ])('refuses %s', async (_, json) => {
    const { id, key } = await make()
    expectProblem(await rotate(id, json), 'validation_failed')
    expect((await read(id)).secrets).toMatchObject([{ start: startOf(key), expires_at: null }])
  })

  test.each([
    ['the longest overlap', { overlap_seconds: 2_592_000 }],
    ['an empty object', {}],
    ['null', { overlap_seconds: null }],
  ])('accepts %s', async (_, json) => {
    expect((await rotate((await make()).id, json)).status).toBe(201)
  })

  test('of a dead key, or of another user’s key, is refused', async () => {
    const revoked = await make()
    await call(service, `DELETE /keys/${revoked.id}`, { bearer: owner.access })
    expectProblem(await rotate(revoked.id), 'conflict')
    const { id, key } = await make()
    expectProblem(await rotate(id, {}, service, stranger.access), 'not_found')
    const [start, unknownId] = [startOf(key), '0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6']
    expectProblem(await endSecret(id, start, stranger.access), 'not_found')
    expectProblem(await rotate(unknownId), 'not_found')
    expectProblem(await endSecret(unknownId, start), 'not_found')
    expect(await statusOf(key)).toBe(200)
  })

  test('needs the power to grant every scope of the key now', async () => {
    const person = await addLoggedIn(service, sql, { scopes: ['read', 'deploy'] })
    const { id } = await newKey(service, person.access, { scopes: 'read,deploy' })
    // Without an overlap, so that an earlier rotation does not block the next.
    const again = () => rotate(id, { overlap_seconds: 0 }, service, person.access)
    await sql`UPDATE latchkey.users SET scopes = '{read}' WHERE id = ${person.id}`
    await until(async () => (await again()).status === 403, 'the ceiling is heard of')
    expectProblem(await again(), 'insufficient_scope')
    await sql`UPDATE latchkey.users SET scopes = '{read,deploy}' WHERE id = ${person.id}`
    await until(async () => (await again()).status === 201, 'it is given back')
  })
})

describe('a secret that is marked as ended', () => {
  /** As an operator might by hand: the end of the secret itself lies ahead. */
  const mark = (ids: string[]) => sql`UPDATE latchkey.api_key_secrets
    SET ended_at = now() + interval '1 hour', expires_at = now() + interval '1 hour' WHERE key_id = ANY (${ids})`

  test('is refused on every server within a second, looked up alone or together with others', async () => {
    const keys = await Promise.all(Array.from({ length: 12 }, () => make()))
    const answers = (on = service) => Promise.all(keys.map(({ key }) => statusOf(key, on)))
    for (const on of [service, other]) expect(await answers(on)).toEqual(Array(12).fill(200))
    await mark(keys.map(({ id }) => id))
    for (const on of [service, other]) {
      const isRefused = async () => (await answers(on)).every((status) => status === 401)
      await until(isRefused, 'every secret is refused', SECOND_MS)
      on.context.cache.flush()
      expect(await answers(on)).toEqual(Array(12).fill(401))
      for (const { key } of keys.slice(0, 2)) expect(await statusOf(key, on)).toBe(401)
    }
  })

  test('gives no access token, and its access tokens are refused', async () => {
    const json = { name: 'account', scopes: 'read' }
    const { id: account } = (await call(service, 'POST /service-accounts', { bearer: owner.access, json }))
      .body
    const { id, key } = await make({ service_account_id: account })
    const form = { grant_type: 'client_credentials', client_id: account, client_secret: key }
    const token = (await call(service, 'POST /oauth/token', { form })).body.access_token
    const asked = async () => (await call(service, 'GET /protected/any', { bearer: token })).status
    expect(await asked()).toBe(200)
    await mark([id])
    await until(async () => (await asked()) === 401, 'the token is refused', SECOND_MS)
    expect((await call(service, 'POST /oauth/token', { form })).status).toBe(401)
  })
})

describe('the end of an overlap', () => {
  test('takes effect by the clock on every server, without any action', async () => {
    const { id, key } = await make()
    const successor = (await rotate(id, { overlap_seconds: 60 })).body.key
    for (const on of [service, other]) expect(await statusOf(key, on)).toBe(200)
    for (const on of [service, other]) on.advance(59 * SECOND_MS)
    for (const on of [service, other]) expect(await statusOf(key, on)).toBe(200)
    for (const on of [service, other]) on.advance(2 * SECOND_MS)
    for (const on of [service, other]) {
      expect(await statusOf(key, on)).toBe(401)
      expect(await statusOf(successor, on)).toBe(200)
    }
    expect((await rotate(id)).status).toBe(201)
  })

  test('leaves the old secret listed for a day, kept for AUDIT_RETENTION_DAYS, and then deleted', async () => {
    const { id, key } = await make()
    const successor = (await rotate(id, { overlap_seconds: 60 })).body.key
    const rows = () =>
      sql<{ start: string; ended_at: Date | null }[]>`
        SELECT start, ended_at FROM latchkey.api_key_secrets WHERE key_id = ${id} ORDER BY created_at`
    const listed = async () => {
      const key = await requireKey(service.context, operator(), id)
      return presentKey(key, service.context.clock()).secrets.map(({ start }) => start)
    }
    const after = async (ms: number) => {
      service.advance(ms)
      await deleteOutdated(service.context, { vacuums: false })
    }
    await after(DAY_MS)
    expect(await listed()).toEqual([startOf(key), startOf(successor)])
    await after(61 * SECOND_MS)
    expect(await listed()).toEqual([startOf(successor)])
    expect((await rows()).map(({ ended_at }) => ended_at !== null)).toEqual([true, false])
    expect([await statusOf(key), await statusOf(successor)]).toEqual([401, 200])
    service.advance(-DAY_MS - 61 * SECOND_MS)
    const endedDaysAgo = (days: number) => sql`UPDATE latchkey.api_key_secrets
      SET ended_at = now() - make_interval(days => ${days}), expires_at = now() - make_interval(days => ${days})
      WHERE key_id = ${id} AND ended_at IS NOT NULL`
    await endedDaysAgo(364)
    await after(0)
    expect(await rows()).toHaveLength(2)
    await endedDaysAgo(366)
    await after(0)
    expect((await rows()).map(({ start }) => start)).toEqual([startOf(successor)])
    expect(await statusOf(successor)).toBe(200)
  })
})

test('the new secret ends itself only: the old one stays valid until its own expiry', async () => {
  const { id, key } = await make()
  const { key: successor, secrets } = (await rotate(id)).body
  const [old] = secrets
  expect(old.expires_at).not.toBeNull()
  expect((await call(service, 'DELETE /keys/self', { apiKey: successor })).status).toBe(204)
  expect([await statusOf(key), await statusOf(successor)]).toEqual([200, 401])
  expect((await read(id)).secrets).toMatchObject([
    { id: old.id, start: startOf(key), expires_at: old.expires_at },
  ])
})

test('another server accepts both secrets, and refuses an ended one, within a second', async () => {
  const { id, key } = await make()
  expect(await statusOf(key, other)).toBe(200)
  const successor = (await rotate(id)).body.key
  expect(await statusOf(successor, other)).toBe(200)
  await endSecret(id, startOf(key))
  await until(async () => (await statusOf(key, other)) === 401, 'the old secret is refused', SECOND_MS)
  const third = (await rotate(id, { overlap_seconds: 0 }, other)).body.key
  await until(async () => (await statusOf(successor)) === 401, 'the second is refused', SECOND_MS)
  expect(await statusOf(third)).toBe(200)
})

test(
  'of two rotations at once, on two servers, exactly one succeeds (fifty rounds)',
  async () => {
    const key = await make()
    let live = key.key
    for (let round = 0; round < 50; round++) {
      const answers = await Promise.all(
        [service, other].map((on) => rotate(key.id, { overlap_seconds: 3600 }, on)),
      )
      expect(answers.map(({ status }) => status).sort()).toEqual([201, 409])
      const [won, lost] = answers.toSorted((a, b) => a.status - b.status)
      if (lost) expectProblem(lost, 'conflict')
      const { secrets } = await read(key.id)
      expect(secrets.map(({ start }: { start: string }) => start)).toEqual([
        startOf(live),
        startOf(won?.body.key),
      ])
      await endSecret(key.id, startOf(live))
      live = won?.body.key
    }
    expect(await statusOf(live)).toBe(200)
    const [row] = await sql`SELECT count(*)::int AS n FROM latchkey.api_key_secrets
      WHERE key_id = ${key.id} AND ended_at IS NULL`
    expect(row?.n).toBe(1)
  },
  SLOW_MS,
)
