import { expect, test } from 'bun:test'
import { call } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { PROGRAM } from '../support/program.ts'
import { createSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'
import { useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)

test.each([1, 2] as const)(
  'an import of version %i that was killed half-way is completed by the next one, and every key has its secret',
  async (version) => {
    const seed = await createSeed(version)
    const id = await seed.addUser({ email: `somebody-${version}@example.com` })
    const made = await seed.addKeys(id, 5000)
    const words = [...PROGRAM, 'import', 'seed', '--from', seed.url]
    const env = {
      DATABASE_URL: service.databaseUrl,
      SECRET_KEY: service.config.secretKey?.reveal() ?? '',
    }
    const child = Bun.spawn(words, { cwd: '/', env, stdio: ['ignore', 'ignore', 'ignore'] })
    const countKeys = async () =>
      (await sql`SELECT count(*)::int AS n FROM latchkey.api_keys WHERE name = ${`many of ${id}`}`)[0]?.n
    await until(async () => (await countKeys()) > 0, 'some keys are in')
    child.kill('SIGKILL')
    await child.exited
    const halves = await sql`SELECT k.id FROM latchkey.api_keys k LEFT JOIN latchkey.api_key_secrets s
    ON s.key_id = k.id LEFT JOIN latchkey.audit_events e ON e.target_id = k.id::text AND e.action = 'key.imported'
    WHERE k.name = ${`many of ${id}`} AND (s.id IS NULL OR e.id IS NULL)`
    expect(halves).toHaveLength(0)
    const again = await runInProcess(['import', 'seed', '--from', seed.url, '--json'], { env })
    expect(again.code).toBe(0)
    const { users, keys } = JSON.parse(again.out)
    expect(users).toEqual({ imported: 0, already_imported: 1, refused: [] })
    expect(keys.already_imported).toBeGreaterThan(0)
    expect(keys.imported).toBeGreaterThan(0)
    expect(keys.imported + keys.already_imported).toBe(5000)
    expect(await countKeys()).toBe(5000)
    for (const at of [0, 2500, 4999]) {
      const answer = await call(service, 'GET /protected/service-only', { bearer: made[at] ?? '' })
      expect(answer.status).toBe(200)
    }
    await seed.end()
  },
  240_000,
)
