import { describe, expect, test } from 'bun:test'
import { writeAuditCounts } from '../../src/core/audit/counted-events.ts'
import { findWarnings } from '../../src/core/overview/warnings.ts'
import { writeUsage } from '../../src/core/usage/usage.ts'
import { newKey } from '../support/client.ts'
import { call } from '../support/described.ts'
import { addLoggedIn, addPerson, PASSWORD } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const MINUTE_MS = 60_000
const service = useService()
const other = useService({}, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const support = prepare(() => addLoggedIn(service, sql, { scopes: ['read', 'latchkey:support'] }))
const owner = prepare(() => addLoggedIn(service, sql))

const ask = (bearer = admin.access, on = service) => call(on, 'GET /overview', { bearer })
/** The overview, computed anew. */
async function fresh() {
  await writeUsage(service.context)
  await writeAuditCounts(service.context)
  await sql`DELETE FROM latchkey.overview`
  const answer = await ask()
  expect(answer.status).toBe(200)
  return answer.body
}
const verify = (key: string) => call(service, 'POST /keys/verify', { bearer: admin.access, json: { key } })

describe('the overview', () => {
  test('counts the uses of everybody in the last 24 hours, and names the keys that were used and refused most', async () => {
    const before = await fresh()
    const used = await newKey(service, owner.access, { name: 'used most' })
    const refused = await newKey(service, owner.access, { name: 'refused most' })
    await call(service, `DELETE /keys/${refused.id}`, { bearer: owner.access })
    for (let i = 0; i < 7; i++) await verify(used.key)
    for (let i = 0; i < 5; i++) await verify(refused.key)
    // Uses of the hours before count as soon as they are summed up.
    await sql`INSERT INTO latchkey.usage_by_owner (owner_id, hour, outcome, count) VALUES
      ('00000000-0000-0000-0000-000000000000', date_trunc('hour', now()) - interval '5 h', 'VALID', 100),
      ('00000000-0000-0000-0000-000000000000', date_trunc('hour', now()) - interval '30 h', 'VALID', 1000)`
    const after = await fresh()
    const added = (code: string) => after.last_24_hours.totals[code] - before.last_24_hours.totals[code]
    expect([added('VALID'), added('REVOKED'), added('EXPIRED')]).toEqual([107, 5, 0])
    const { buckets } = after.last_24_hours
    expect(buckets).toHaveLength(25)
    expect(buckets.at(-6).counts.VALID).toBe(100)
    expect(after.top_by_use[0]).toEqual({ id: used.id, label: 'used most', count: 7 })
    expect(after.top_by_refusals[0]).toEqual({ id: refused.id, label: 'refused most', count: 5 })
    await sql`DELETE FROM latchkey.usage_by_owner`
  })

  test('each list has at most ten items, the most first', async () => {
    const ids: string[] = []
    for (let i = 0; i < 12; i++) {
      const { id } = await newKey(service, owner.access, { expires_in_days: 5 })
      ids.push(id)
      await sql`INSERT INTO latchkey.key_usage (key_id, hour, outcome, count) VALUES
        (${id}, date_trunc('hour', now()), 'VALID', ${1000 + i}), (${id}, date_trunc('hour', now()), 'EXPIRED', ${2000 + i})`
    }
    const { top_by_use, top_by_refusals, expiring, audit } = await fresh()
    const best = ids.toReversed().slice(0, 10)
    // A use counts with whatever came of it.
    expect(top_by_use.map(({ id }: { id: string }) => id)).toEqual(best)
    expect(top_by_use[0].count).toBe(3022)
    expect(top_by_refusals.map(({ id }: { id: string }) => id)).toEqual(best)
    expect(top_by_refusals[0].count).toBe(2011)
    expect([expiring.items.length, audit.length]).toEqual([10, 10])
    expect(expiring.count).toBe(12)
    for (const id of ids) await call(service, `DELETE /keys/${id}`, { bearer: owner.access })
  })

  test('shows keys that expire within 14 days, the soonest first, as key objects', async () => {
    const before = (await fresh()).expiring.count
    const inDays = (days: number) => newKey(service, owner.access, { expires_in_days: days })
    const [late, soon, beyond, revoked] = [
      await inDays(13),
      await inDays(2),
      await inDays(15),
      await inDays(1),
    ]
    await call(service, `DELETE /keys/${revoked.id}`, { bearer: owner.access })
    const { expiring } = await fresh()
    expect(expiring.count).toBe(before + 2)
    const shown = expiring.items.map(({ id }: { id: string }) => id)
    expect(shown.slice(0, 2)).toEqual([soon.id, late.id])
    expect([shown.includes(beyond.id), shown.includes(revoked.id)]).toEqual([false, false])
    expect(expiring.items[0]).toEqual(
      (await call(service, `GET /keys/${soon.id}`, { bearer: owner.access })).body,
    )
  })

  test('counts log-ins, and shows the newest events', async () => {
    const before = (await fresh()).logins
    const person = await addPerson(sql)
    const logIn = (password: string) =>
      call(service, 'POST /auth/login', { json: { email: person.email, password } })
    await logIn(PASSWORD)
    for (let i = 0; i < 3; i++) await logIn('wrong-password-1')
    await sql`INSERT INTO latchkey.audit_events (id, at, action, outcome, actor_type, details) VALUES
      (gen_random_uuid(), now(), 'user.locked', 'refused', 'anonymous', '{"count": 4}'),
      (gen_random_uuid(), now() - interval '25 h', 'user.locked', 'refused', 'anonymous', '{}')`
    const { logins, audit } = await fresh()
    const added = Object.keys(logins).map((name) => logins[name] - before[name])
    expect(added).toEqual([1, 3, 4])
    const newest = await call(service, 'GET /audit?limit=10', { bearer: admin.access })
    const idsOf = (events: { id: string }[]) => events.map(({ id }) => id)
    expect(idsOf(audit)).toEqual(idsOf(newest.body.items))
  })

  test('has no secret in it', async () => {
    const { key } = await newKey(service, owner.access, { expires_in_days: 3 })
    await fresh()
    const { text } = await ask()
    expect(text).not.toContain(key)
    expect(text).toContain(key.slice(0, 11))
  })
})

describe('who reads the overview', () => {
  test('admins and support, also by a key; nobody else', async () => {
    const byKey = await newKey(service, admin.access, { scopes: 'latchkey:support' })
    const reader = await newKey(service, admin.access, { scopes: 'latchkey:audit.read latchkey:keys.read' })
    for (const bearer of [admin.access, support.access, byKey.key])
      expect((await ask(bearer)).status).toBe(200)
    for (const bearer of [owner.access, reader.key]) expectProblem(await ask(bearer), 'insufficient_scope')
    expectProblem(await call(service, 'GET /overview'), 'missing_credential')
  })
})

describe('the stored overview', () => {
  const age = (seconds: number) =>
    sql`UPDATE latchkey.overview SET computed_at = now() - make_interval(secs => ${seconds})`
  const stored = async () => (await sql`SELECT computed_at, body FROM latchkey.overview`)[0]

  test('is answered as it is for a minute, by every server, and then computed anew', async () => {
    const first = await fresh()
    await newKey(service, owner.access, {})
    for (const on of [service, other]) expect((await ask(admin.access, on)).body).toEqual(first)
    await age(59)
    expect((await ask()).body.as_of).toBe(first.as_of)
    await age(61)
    expect((await ask()).body.as_of).not.toBe(first.as_of)
  })

  test('while one request computes it, the others are answered with the old one at once', async () => {
    const old = await fresh()
    await age(120)
    const held = await sql.reserve()
    await held`BEGIN`
    await held`SELECT pg_advisory_xact_lock(hashtextextended('latchkey.overview', 0))`
    expect((await ask()).body.as_of).toBe(old.as_of)
    await held`ROLLBACK`
    held.release()
    expect((await ask()).body.as_of).not.toBe(old.as_of)
  })

  test('where there is none yet, requests beside the first wait for it, and it is computed once', async () => {
    await sql`DELETE FROM latchkey.overview`
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) => ask(admin.access, i % 2 ? other : service)),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200))
    expect(new Set(answers.map(({ body }) => body.as_of)).size).toBe(1)
  })

  test('the number of keys is counted every five minutes at most', async () => {
    const { active_keys: before } = await fresh()
    const [row] = await sql`SELECT count(*)::int AS n FROM latchkey.api_keys WHERE revoked_at IS NULL`
    expect(before).toBe(row?.n)
    await newKey(service, owner.access, {})
    await age(61)
    expect((await ask()).body.active_keys).toBe(before)
    await sql`UPDATE latchkey.overview SET computed_at = now() - interval '6 min',
      body = jsonb_set(body, '{active_keys_at}', to_jsonb(now() - interval '6 min'))`
    expect((await ask()).body.active_keys).toBe(before + 1)
  })

  test('in a shape of another release is computed anew', async () => {
    await fresh()
    await sql`UPDATE latchkey.overview SET body = body - 'logins'`
    expect((await ask()).status).toBe(200)
    expect((await stored())?.body).toHaveProperty('logins')
  })

  test('is not stored for longer where the clock goes back', async () => {
    await fresh()
    service.advance(10 * MINUTE_MS)
    await fresh()
    service.advance(-10 * MINUTE_MS)
    const { as_of } = (await ask()).body
    expect(Math.abs(Date.parse(as_of) - Date.now())).toBeLessThan(5 * MINUTE_MS)
  })
})

describe('warnings', () => {
  const codes = async (context = service.context) => (await findWarnings(context)).map(({ code }) => code)

  test('there are none where all is well', async () => {
    await until(async () => service.context.cache.isLive(), 'the cache is proven')
    expect(await codes()).toEqual([])
    expect((await ask()).body.warnings).toEqual([])
  })

  test('are of now, however old the rest is', async () => {
    const first = await fresh()
    await sql`UPDATE latchkey.shared_settings SET value = 'https://other.example.com' WHERE name = 'PUBLIC_URL'`
    const { as_of, warnings } = (await ask()).body
    expect(as_of).toBe(first.as_of)
    expect(warnings).toEqual([
      { code: 'issuer_differs', message: expect.stringContaining('https://other.example.com') },
    ])
    await sql`UPDATE latchkey.shared_settings SET value = ${service.config.publicUrl} WHERE name = 'PUBLIC_URL'`
    expect((await ask()).body.warnings).toEqual([])
  })

  test('cache_bypassed: without proof of life', async () => {
    const cache = { ...service.context.cache, isLive: () => false }
    expect(await codes({ ...service.context, cache })).toEqual(['cache_bypassed'])
  })

  test('redis_away: while Redis is paused', async () => {
    const shared = (isBroken: boolean) => ({
      run: async () => null,
      state: () => ({ isBroken, fallbacks: 0, errors: 0 }),
      close() {},
    })
    expect(await codes({ ...service.context, shared: shared(true) })).toEqual(['redis_away'])
    expect(await codes({ ...service.context, shared: shared(false) })).toEqual([])
  })
})
