import { beforeAll, expect, test } from 'bun:test'
import { emptyDirectory } from '../support/binary.ts'
import { call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { serve } from '../support/program.ts'
import type { TestService } from '../support/service.ts'
import { useService, useSql } from '../support/use-service.ts'

const SLOW_MS = 240_000

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

test(
  'credits of an owner survive the same, with ten keys and another instance that goes on: 300 in all, nothing twice',
  async () => {
    const ALL = 300
    const CLIENTS = 20
    const person = await addLoggedIn(service, sql)
    const keys = await times(10, async () => (await newKey(service, person.access)).key)
    const admin = await addLoggedIn(service, sql, { role: 'admin' })
    const set = { bearer: admin.access, json: { set: ALL } }
    expect((await call(service, `POST /users/${person.id}/credits`, set)).status).toBe(200)
    const left = async (): Promise<number> => {
      const [row] = await sql`SELECT remaining::int FROM latchkey.owner_credits WHERE owner_id = ${person.id}`
      return row?.remaining
    }
    using here = emptyDirectory()
    const env = { DATABASE_URL: service.databaseUrl, SECRET_KEY: service.config.secretKey?.reveal() ?? '' }
    await using server = await serve(here.path, env)
    const enough = Promise.withResolvers<void>()
    let [granted, onKilled] = [0, 0]
    const use = (on: Pick<TestService, 'url'>, at: number) => verify(keys[at % keys.length] ?? '', on)
    const killed = times(CLIENTS, async (at) => {
      for (;;) {
        const answer = await use(server, at).catch(() => null)
        if (!answer?.valid) return
        granted++
        if (++onKilled === 60) enough.resolve()
      }
    })
    const going = times(2, async (at) => {
      for (let uses = 0; uses < 20; uses++) if ((await use(service, at)).valid) granted++
    })
    await Promise.race([enough.promise, killed])
    await server.end('SIGKILL')
    await Promise.all([killed, going])
    expect(onKilled).toBeGreaterThanOrEqual(60)

    const unanswered = ALL - granted - (await left())
    expect(unanswered).toBeGreaterThanOrEqual(0)
    // Uses that were charged and not answered are at most the requests in flight when the server was killed.
    expect(unanswered).toBeLessThanOrEqual(CLIENTS)
    const rest = await times(ALL, async (at) => (await use(service, at)).valid)
    expect(granted + rest.filter((valid) => valid).length).toBe(ALL - unanswered)
    expect(await left()).toBe(0)
  },
  SLOW_MS,
)
