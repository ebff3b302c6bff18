import { beforeAll, expect, test } from 'bun:test'
import { emptyDirectory } from '../support/binary.ts'
import { call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { serve } from '../support/program.ts'
import type { TestService } from '../support/service.ts'
import { useService, useSql } from '../support/use-service.ts'

const SLOW_MS = 30_000

let asker: { id: string; key: string }
let limited: { id: string; key: string }
const CREDITS = 400
const service = useService()
const sql = useSql(service)
beforeAll(async () => {
  const admin = await addLoggedIn(service, sql, { role: 'admin' })
  const owner = await addLoggedIn(service, sql)
  asker = await newKey(service, admin.access, { scopes: 'latchkey:verify' })
  limited = await newKey(service, owner.access, { scopes: 'read', credits: { remaining: CREDITS } })
})

const verify = async (key: string, on: Pick<TestService, 'url'> = service) =>
  (await call(on, 'POST /keys/verify', { apiKey: asker.key, json: { key } })).body
const remainingOf = async (id: string): Promise<number> => {
  const [row] = await sql`SELECT remaining::int FROM latchkey.api_key_credits WHERE key_id = ${id}`
  return row?.remaining
}
const times = <T>(count: number, work: (at: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, at) => work(at)))

test(
  'credits survive a server that is killed while it charges: no more uses are granted than the key had',
  async () => {
    const CLIENTS = 20
    const { id, key } = limited
    using here = emptyDirectory()
    const env = { DATABASE_URL: service.databaseUrl, SECRET_KEY: service.config.secretKey?.reveal() ?? '' }
    let granted = 0
    for (let round = 0; round < 2; round++) {
      await using server = await serve(here.path, env)
      const enough = Promise.withResolvers<void>()
      let answered = 0
      const clients = times(CLIENTS, async () => {
        for (;;) {
          const answer = await verify(key, server).catch(() => null)
          if (!answer?.valid) return
          granted++
          if (++answered === 60) enough.resolve()
        }
      })
      await Promise.race([enough.promise, clients])
      await server.end('SIGKILL')
      await clients
      expect(granted).toBeGreaterThanOrEqual(60 * (round + 1))
    }
    expect(granted + (await remainingOf(id))).toBeLessThanOrEqual(CREDITS)
    const rest = await times(CREDITS - granted + 20, async () => (await verify(key)).valid)
    const all = granted + rest.filter((valid) => valid).length
    expect(all).toBeLessThanOrEqual(CREDITS)
    // Uses that were charged and not answered are at most the requests in flight when the server was killed.
    expect(CREDITS - all).toBeLessThanOrEqual(2 * CLIENTS)
    expect(await remainingOf(id)).toBe(0)
  },
  SLOW_MS,
)
