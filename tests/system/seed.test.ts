import { afterAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import postgres from 'postgres'
import { LISTED_STATUSES } from '../../src/core/keys/model.ts'
import { secret } from '../../src/lib/secret.ts'
import { emptyDirectory, runProgram } from '../support/binary.ts'
import { call, logIn } from '../support/client.ts'
import { serve } from '../support/compiled.ts'
import { testConfig } from '../support/config.ts'
import { embeddedHome } from '../support/embedded-home.ts'
import { createDatabase } from '../support/postgres.ts'
import { startService } from '../support/service.ts'

const SLOW_MS = 240_000
const KEY = 'kU3vZ8qWm1xR5tYp7nBc2sDf9gHj4lAe6oIiQzXy'
const SEED = [process.execPath, '--no-env-file', join(import.meta.dir, '../../scripts/seed.ts')]
const ADMIN = 'admin@example.com'
const PASSWORD = 'latchkey-for-trying-out'

const here = emptyDirectory()
afterAll(() => here[Symbol.dispose]())
const seed = (env: Record<string, string>, cwd = here.path) => runProgram(SEED, { cwd, env, stdin: '' })

test(
  'an empty PostgreSQL gets 50 users, 500 keys and 30 days of usage; a database with data is left alone',
  async () => {
    const database = await createDatabase()
    const env = { DATABASE_URL: database.url, SECRET_KEY: KEY }
    const first = await seed(env)
    expect([first.code, first.err]).toEqual([0, ''])
    expect(first.out).toContain(PASSWORD)
    const sql = postgres(database.url, { max: 1 })
    const count = async () => {
      const [row] = await sql`SELECT (SELECT count(*)::int FROM latchkey.users) AS users,
      (SELECT count(*)::int FROM latchkey.api_keys) AS keys,
      (SELECT count(DISTINCT (hour AT TIME ZONE 'UTC')::date)::int FROM latchkey.key_usage) AS days,
      (SELECT count(*)::int FROM latchkey.key_usage WHERE hour > now()) AS early,
      (SELECT count(*)::int FROM latchkey.key_usage) AS uses`
      return row
    }
    const made = await count()
    expect(made).toMatchObject({ users: 50, keys: 500, days: 30, early: 0 })

    const again = await seed(env)
    expect([again.code, again.err]).toEqual([1, expect.stringContaining('there are users or keys already')])
    expect(await count()).toEqual(made)
    await sql.end()

    const on = { databaseUrl: database.url, config: testConfig({ secretKey: secret(KEY) }) }
    const service = await startService({}, on)
    const { access: bearer } = await logIn(service, ADMIN, PASSWORD)
    for (const status of LISTED_STATUSES) {
      const { body } = await call(service, `GET /keys?all=true&status=${status}`, { bearer })
      expect([status, body.length > 0]).toEqual([status, true])
    }
    const { body } = await call(service, 'GET /overview', { bearer })
    expect(body.last_24_hours.totals.VALID).toBeGreaterThan(1000)
    expect(body.top_by_use).toHaveLength(10)
    expect(body.top_by_refusals.length).toBeGreaterThan(0)
    expect(body.logins.succeeded).toBeGreaterThanOrEqual(50)
    const days = await call(
      service,
      `GET /usage?bucket=day&from=${new Date(Date.now() - 28 * 86_400_000).toISOString()}`,
      { bearer },
    )
    for (const { counts } of days.body.buckets) expect(counts.VALID).toBeGreaterThan(0)
    await service.stop()
    await database.drop()
  },
  SLOW_MS,
)

test(
  'the embedded database is filled before a server starts on it, and refused while one runs',
  async () => {
    const home = await embeddedHome()
    const { code, err } = await seed({}, home.path)
    expect([code, err]).toEqual([0, ''])
    const server = await serve(home.path, { PORT: '0', PUBLIC_URL: 'http://localhost:8000' })
    const { access: bearer } = await logIn(server, ADMIN, PASSWORD)
    expect((await call(server, 'GET /keys?all=true&limit=100', { bearer })).body).toHaveLength(100)
    const refused = await seed({}, home.path)
    expect([refused.code, refused.err]).toEqual([
      1,
      expect.stringContaining('a server runs on the embedded database'),
    ])
    await server.end('SIGTERM')
    home[Symbol.dispose]()
  },
  SLOW_MS,
)

describe('nothing is written', () => {
  const local = { DATABASE_URL: 'postgres://user@127.0.0.1:1/none', SECRET_KEY: KEY }
  test.each<[string, Record<string, string>, string]>([
    ['where the server is reached from outside', { ...local, HOST: '0.0.0.0' }, 'HOST is 0.0.0.0'],
    [
      'where it stands behind a public URL',
      { ...local, PUBLIC_URL: 'https://auth.example.com' },
      'PUBLIC_URL is https://auth.example.com',
    ],
    [
      'on the database of another machine',
      { ...local, DATABASE_URL: 'postgres://user@db.example.com/none' },
      'the database is at db.example.com',
    ],
    ['on the embedded database of a server for others', { HOST: '0.0.0.0' }, 'HOST is 0.0.0.0'],
  ])('%s', async (_, env, reason) => {
    const { code, err } = await seed(env)
    expect([code, err]).toEqual([1, expect.stringContaining(reason)])
  })

  test('the control: a local database is asked, which here is not there', async () => {
    const { code, err } = await seed(local)
    expect([code, err.includes('nothing is written')]).toEqual([1, false])
  })
})
