import { beforeAll, describe, expect, test } from 'bun:test'
import { deleteOutdated } from '../../src/core/housekeeping/delete-outdated.ts'
import { writeUsage } from '../../src/core/usage/usage.ts'
import { createReporter } from '../../src/core/verifier/send-reports.ts'
import { DAY_MS, HOUR_MS } from '../../src/lib/time.ts'
import { call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { useService, useSql } from '../support/use-service.ts'
import { newHomeKey, startVerifier } from '../support/verifier.ts'

const home = useService()
const sql = useSql(home)
let homeKey: string
let admin: string
let watcher: string
beforeAll(async () => {
  homeKey = await newHomeKey(home)
  admin = (await addLoggedIn(home, sql, { role: 'admin' })).access
  watcher = (await newKey(home, admin, { scopes: ['latchkey:verify'] })).key
})

const hour = () => new Date(Math.floor(Date.now() / HOUR_MS) * HOUR_MS).toISOString()
const newReport = (more: object = {}) => ({
  id: Bun.randomUUIDv7(),
  region: 'eu-1',
  counts: [],
  last_uses: [],
  refusals: [],
  ...more,
})
const send = (json: object, bearer = homeKey) => call(home, 'POST /usage/report', { bearer, json })
const usage = async (id: string) => (await call(home, `GET /keys/${id}/usage`, { bearer: admin })).body.items
const madeKey = async () => newKey(home, (await addLoggedIn(home, sql)).access)
const secretOf = async (id: string) => {
  const [row] = await sql`SELECT id, last_used_at FROM latchkey.api_key_secrets WHERE key_id = ${id}`
  return { id: String(row?.id), lastUsedAt: row?.last_used_at as Date | null }
}

describe('a report', () => {
  test('is applied once, however often it comes', async () => {
    const { id } = await madeKey()
    const counts = [
      { key_id: id, hour: hour(), outcome: 'VALID', count: 7 },
      { key_id: id, hour: hour(), outcome: 'RATE_LIMITED', count: 2 },
    ]
    const refusals = [
      { key_id: id, at: new Date().toISOString(), outcome: 'RATE_LIMITED', ip: '192.0.2.9', count: 2 },
    ]
    const report = newReport({ counts, refusals })
    const answers = await Promise.all([send(report), send(report)])
    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    expect(answers.map(({ body }) => body.applied).sort()).toEqual([false, true])
    expect((await send(report)).body).toEqual({ applied: false })
    const expected = [
      { at: hour(), outcome: 'RATE_LIMITED', count: 2 },
      { at: hour(), outcome: 'VALID', count: 7 },
    ]
    expect(await usage(id)).toEqual(expected)
    const shown = await call(home, `GET /keys/${id}/refusals`, { bearer: admin })
    expect(shown.body.items).toMatchObject([{ outcome: 'RATE_LIMITED', ip: '192.0.2.9', count: 2 }])
    // The control: another report with the same counts is another one.
    expect((await send(newReport({ counts }))).body).toEqual({ applied: true })
    expect((await usage(id)).map(({ count }: { count: number }) => count)).toEqual([4, 14])
  })

  test('moves the last use of a secret forward only, and not beyond the clock of home', async () => {
    const { id } = await madeKey()
    const secret = await secretOf(id)
    const use = (atMs: number) =>
      send(newReport({ last_uses: [{ secret_id: secret.id, at: new Date(atMs).toISOString() }] }))
    const now = Date.now()
    await use(now - 5000)
    expect((await secretOf(id)).lastUsedAt?.getTime()).toBe(now - 5000)
    await use(now - 60_000)
    expect((await secretOf(id)).lastUsedAt?.getTime()).toBe(now - 5000)
    await use(now + DAY_MS)
    expect((await secretOf(id)).lastUsedAt?.getTime()).toBeLessThanOrEqual(Date.now())
  })

  test('of keys and secrets that are deleted counts nothing, and the rest of it counts', async () => {
    const { id } = await madeKey()
    const gone = Bun.randomUUIDv7()
    const counts = [gone, id].map((key_id) => ({ key_id, hour: hour(), outcome: 'VALID', count: 1 }))
    const report = newReport({ counts, last_uses: [{ secret_id: gone, at: new Date().toISOString() }] })
    expect((await send(report)).body).toEqual({ applied: true })
    expect(await usage(id)).toMatchObject([{ outcome: 'VALID', count: 1 }])
  })

  test('names its region, of which the audit trail tells the first time', async () => {
    await send(newReport({ region: 'ap-south' }))
    await send(newReport({ region: 'ap-south' }))
    await send(newReport({ region: 'us-east' }))
    const { items } = (await call(home, 'GET /audit?action=region.registered', { bearer: admin })).body
    const regions = items.map(({ details }: { details: { region: string } }) => details.region)
    expect(regions.filter((name: string) => name === 'ap-south')).toEqual(['ap-south'])
    expect(regions).toContain('us-east')
    expect(items[0].actor).toMatchObject({ type: 'key' })
  })

  test('of a new name is refused where a hundred are known', async () => {
    await send(newReport())
    await sql`INSERT INTO latchkey.regions (name, registered_at, reported_at)
      SELECT 'region-' || n, now(), now() FROM generate_series(1, 100 - (SELECT count(*) FROM latchkey.regions)) n`
    const refused = await send(newReport({ region: 'one-more' }))
    expect([refused.status, refused.body.code]).toEqual([409, 'conflict'])
    expect(await sql`SELECT FROM latchkey.regions WHERE name = 'one-more'`).toHaveLength(0)
    expect((await send(newReport())).body).toEqual({ applied: true })
    await sql`DELETE FROM latchkey.regions WHERE name LIKE 'region-%'`
    expect((await send(newReport({ region: 'one-more' }))).body).toEqual({ applied: true })
  })

  test('may be a megabyte, and no more; what is not of its shape is refused', async () => {
    const { id } = await madeKey()
    const counts = Array.from({ length: 7000 }, () => ({
      key_id: id,
      hour: hour(),
      outcome: 'VALID',
      count: 1,
    }))
    expect((await send(newReport({ counts }))).status).toBe(200)
    expect((await usage(id))[0].count).toBe(7000)
    const large = await send(newReport({ counts: [...counts, ...counts.slice(0, 3000)] }))
    expect([large.status, large.body.code]).toEqual([413, 'body_too_large'])
    for (const wrong of [
      { region: 'EU 1' },
      { id: 'x' },
      // A UUID in a form that the database does not read.
      { id: `urn:uuid:${id}` },
      { counts: [{ key_id: `urn:uuid:${id}`, hour: hour(), outcome: 'VALID', count: 1 }] },
      { last_uses: [{ secret_id: `urn:uuid:${id}`, at: hour() }] },
      { counts: [{ key_id: id, hour: hour(), outcome: 'NONSENSE', count: 1 }] },
      { counts: [{ key_id: id, hour: hour(), outcome: 'VALID', count: 0 }] },
      { counts: [{ key_id: id, hour: '2026-02-30T00:00:00Z', outcome: 'VALID', count: 1 }] },
    ])
      expect([wrong, (await send(newReport(wrong))).status]).toEqual([wrong, 422])
  })

  test('is refused without the scope, which admins alone grant', async () => {
    const person = await addLoggedIn(home, sql)
    const { key } = await newKey(home, person.access)
    for (const route of ['POST /usage/report', 'POST /region/verify']) {
      const refused = await call(home, route, { bearer: key, json: newReport() })
      expect([route, refused.status, refused.body.code]).toEqual([route, 403, 'insufficient_scope'])
    }
    const granted = await call(home, 'POST /keys', {
      bearer: person.access,
      json: { scopes: ['latchkey:region'] },
    })
    expect(granted.status).toBe(403)
  })

  test('leaves its id for a day', async () => {
    const report = newReport()
    await send(report)
    const known = () => sql`SELECT 1 FROM latchkey.usage_reports WHERE id = ${report.id}`
    await deleteOutdated({ ...home.context, clock: () => Date.now() + 23 * HOUR_MS }, { vacuums: false })
    expect(await known()).toHaveLength(1)
    await deleteOutdated({ ...home.context, clock: () => Date.now() + 25 * HOUR_MS }, { vacuums: false })
    expect(await known()).toHaveLength(0)
  })
})

describe('a verifier', () => {
  test('reports the uses and refusals that it counts, which home then shows', async () => {
    const verifier = await startVerifier(home, homeKey, { regionName: 'eu-2' })
    try {
      const { id, key } = await newKey(home, (await addLoggedIn(home, sql)).access, { scopes: ['read'] })
      const verify = (json: object) => call(verifier, 'POST /keys/verify', { bearer: watcher, json })
      for (let i = 0; i < 3; i++) expect((await verify({ key })).body.valid).toBe(true)
      expect((await verify({ key, scopes: 'write', ip: '192.0.2.3' })).body.code).toBe('INSUFFICIENT_SCOPE')
      await report(verifier)
      expect(await usage(id)).toMatchObject([
        { outcome: 'INSUFFICIENT_SCOPE', count: 1 },
        { outcome: 'VALID', count: 3 },
      ])
      expect((await secretOf(id)).lastUsedAt).not.toBeNull()
      await report(verifier)
      expect((await usage(id)).map(({ count }: { count: number }) => count)).toEqual([1, 3])
      const [row] = await sql`SELECT 1 FROM latchkey.regions WHERE name = 'eu-2'`
      expect(row).toBeDefined()
    } finally {
      await verifier.stop()
    }
  })

  test('sends the same report again until home has taken it, and keeps what comes meanwhile', async () => {
    const bodies: { id: string; counts: { count: number }[] }[] = []
    let answers = [503, 'drop', 200]
    const away = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      async fetch(request) {
        bodies.push((await request.json()) as (typeof bodies)[number])
        const [answer, ...rest] = answers
        answers = rest
        if (answer !== 503) {
          // Home applies the second, and its answer is lost.
          const applied = await send(bodies.at(-1) ?? {})
          if (answer !== 'drop') return Response.json(applied.body)
        }
        return new Response(null, { status: 503 })
      },
    })
    const verifier = await startVerifier(home, null, {})
    try {
      const { id } = await madeKey()
      const { usage: counts, config, metrics } = verifier.context
      const job = createReporter(
        { usage: counts, metrics, config: { ...config, homeKey: null, regionName: 'eu-3' } },
        { home: verifier.context.region?.home ?? fail() },
      )
      await job()
      expect(bodies).toEqual([])
      const { createHome } = await import('../../src/core/verifier/home.ts')
      const { secret } = await import('../../src/lib/secret.ts')
      const key = secret(homeKey)
      const sending = createReporter(
        { usage: counts, metrics, config: { ...config, homeKey: key, regionName: 'eu-3' } },
        { home: createHome(`http://127.0.0.1:${away.port}`, key, metrics) },
      )
      counts.refuse(id, 'DISABLED', null)
      expect(await sending().catch(() => 'failed')).toBe('failed')
      counts.refuse(id, 'EXPIRED', null)
      expect(await sending().catch(() => 'failed')).toBe('failed')
      answers = [200, 200]
      await sending()
      const ids = bodies.map((body) => body.id)
      expect(new Set(ids.slice(0, 3)).size).toBe(1)
      expect(ids[3]).not.toBe(ids[0])
      expect(await usage(id)).toMatchObject([
        { outcome: 'DISABLED', count: 1 },
        { outcome: 'EXPIRED', count: 1 },
      ])
    } finally {
      await verifier.stop()
      await away.stop(true)
    }
  })

  test('keeps 100,000 counts while home is away, and counts what it drops', async () => {
    const verifier = await startVerifier(home, null, { refusalsRetentionDays: 0 })
    try {
      const { usage: counts, metrics } = verifier.context
      counts.take()
      counts.hold(0)
      const ids = Array.from({ length: 100_010 }, () => Bun.randomUUIDv7())
      counts.hold(10)
      for (const id of ids) counts.refuse(id, 'DISABLED', null)
      expect([counts.size(), metrics.usageRows.dropped]).toEqual([100_000, 20])
      // A key that is counted already goes on.
      counts.refuse(ids[0] ?? '', 'DISABLED', null)
      expect(metrics.usageRows.dropped).toBe(20)
      counts.take()
    } finally {
      await verifier.stop()
    }
  })
})

const fail = (): never => {
  throw new Error('No region')
}

/** Sends what a verifier has gathered. */
async function report({ context }: Awaited<ReturnType<typeof startVerifier>>): Promise<void> {
  await createReporter(context, context.region ?? fail())()
  await writeUsage(home.context)
}
