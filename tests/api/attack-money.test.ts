import { beforeAll, describe, expect, test } from 'bun:test'
import { type Answer, call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { openPortal } from '../support/portal.ts'
import { expectProblem } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const HOUR_MS = 3_600_000
const KEYS = 'latchkey:keys.write'
const PORTAL = 'latchkey:portal'

const service = useService()
const other = useService({}, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
let asker: { id: string; key: string }
beforeAll(async () => {
  asker = await newKey(service, admin.access, { scopes: 'latchkey:verify' })
})

type Json = Record<string, unknown>
const as = (bearer: string, route: string, json?: unknown): Promise<Answer> =>
  call(service, route, { bearer, json })
const verify = async (key: string, more: Json = {}, on: Pick<TestService, 'url'> = service) =>
  (await call(on, 'POST /keys/verify', { apiKey: asker.key, json: { key, ...more } })).body
const rate = (limit: number) => ({ limit, window_seconds: 86_400 })
const newAccount = (bearer: string, scopes: readonly string[] = ['read']) =>
  as(bearer, 'POST /service-accounts', { name: 'account', scopes })

describe('limits are not evaded', () => {
  test.each([
    ['a rate', { rate_limit: rate(3) }],
    ['credits', { credits: { remaining: 1 } }],
  ])('by a service account that a user with %s makes', async (_, limits) => {
    const person = await addLoggedIn(service, sql)
    const earlier = (await newAccount(person.access)).body.id
    const keyOf = (bearer: string) =>
      as(bearer, 'POST /keys', { service_account_id: earlier, scopes: 'read' })
    const manager = await newKey(service, person.access, { scopes: [KEYS, 'read'] })
    // The control: a user without limits does both.
    for (const bearer of [person.access, manager.key]) expect((await keyOf(bearer)).status).toBe(201)
    expect((await as(admin.access, `PATCH /users/${person.id}`, limits)).status).toBe(200)
    expectProblem(await newAccount(person.access), 'forbidden')
    for (const bearer of [person.access, manager.key]) expectProblem(await keyOf(bearer), 'forbidden')
    // With limits of its own the account gets keys; and an admin may think otherwise.
    expect((await keyOf(admin.access)).status).toBe(201)
    await as(admin.access, `PATCH /service-accounts/${earlier}`, limits)
    for (const bearer of [person.access, manager.key]) expect((await keyOf(bearer)).status).toBe(201)
  })

  test('by a portal session that a key with a rate makes for its own owner', async () => {
    const scopes = [PORTAL, KEYS, 'read']
    const { id } = (await newAccount(admin.access, scopes)).body
    await as(admin.access, `PUT /service-accounts/${id}/managers`, { service_account_id: id })
    const open = (apiKey: string, may: string[]) =>
      call(service, 'POST /portal/sessions', {
        apiKey,
        json: { service_account_id: id, scopes: ['read'], may },
      })
    const ofAccount = (json: Json) =>
      newKey(service, admin.access, { service_account_id: id, scopes, ...json })
    const limited = await ofAccount({ rate_limit: rate(50) })
    const child = await newKey(service, limited.key, { scopes })
    for (const { key } of [limited, child])
      for (const power of ['create', 'rotate']) expectProblem(await open(key, [power]), 'forbidden')
    // The controls: what shows no secret, and a key without a rate.
    expect((await open(limited.key, ['revoke'])).status).toBe(201)
    const free = await ofAccount({})
    const portal = await openPortal(
      service,
      { apiKey: free.key },
      { service_account_id: id, scopes: ['read'], may: ['create'] },
    )
    expect((await call(service, 'POST /keys', { bearer: portal.bearer, json: {} })).status).toBe(201)
  })

  test('by clocks that are minutes apart: a refill is made once', async () => {
    const ahead = await startService({}, service)
    const behind = await startService({}, service)
    try {
      // Both look at the same midnight of a zone: one just after it, the other just before.
      const now = Date.now()
      const hour = new Date(now + HOUR_MS).getUTCHours()
      const toHour = HOUR_MS - (now % HOUR_MS)
      ahead.advance(toHour + 60_000)
      behind.advance(toHour - 600_000)
      const { key } = await newKey(service, admin.access, {
        credits: { remaining: 0, refill: { amount: 5, interval: 'daily', hour } },
      })
      const used = []
      for (let round = 0; round < 4; round++)
        for (const on of [ahead, behind])
          for (let use = 0; use < 4; use++) used.push((await verify(key, {}, on)).code)
      expect(used.filter((code) => code === 'VALID')).toHaveLength(5)
    } finally {
      await ahead.stop()
      await behind.stop()
    }
  })
})

test('the owner lowers credits whose refill is due, to less than what the refill brings', async () => {
  const { id: account } = (await newAccount(admin.access, [KEYS, 'read'])).body
  const boss = await newKey(service, admin.access, { service_account_id: account, scopes: [KEYS, 'read'] })
  const credits = { remaining: 0, refill: { amount: 100, interval: 'daily' } }
  const target = await newKey(service, admin.access, { service_account_id: account, scopes: 'read', credits })
  const set = (remaining: number) => as(boss.key, `PATCH /keys/${target.id}`, { credits: { remaining } })
  expectProblem(await set(50), 'forbidden')
  await sql`UPDATE latchkey.api_key_credits SET refills_at = now() - interval '1 hour' WHERE key_id = ${target.id}`
  expectProblem(await set(101), 'forbidden')
  expect((await set(50)).body.credits.remaining).toBe(50)
  expectProblem(await set(51), 'forbidden')
})

test('an external id, which those who verify trust, is not set by whoever makes an account', async () => {
  const person = await addLoggedIn(service, sql)
  const { id } = (await newAccount(person.access)).body
  const { key } = await newKey(service, person.access, { service_account_id: id, scopes: 'read' })
  const external_id = crypto.randomUUID()
  const name = (bearer: string, to: string | null = external_id) =>
    as(bearer, `PATCH /service-accounts/${id}`, { external_id: to })
  const refused = await name(person.access)
  expectProblem(refused, 'insufficient_scope')
  expect(refused.headers.get('www-authenticate')).toContain('scope="latchkey:keys.label"')
  expect((await verify(key)).external_id).toBeNull()
  // The controls: what is there already passes, and those who may.
  expect((await name(person.access, null)).status).toBe(200)
  expect((await name(admin.access)).status).toBe(200)
  expect((await name(person.access)).status).toBe(200)
  expectProblem(await name(person.access, null), 'insufficient_scope')
  expect((await verify(key)).external_id).toBe(external_id)
  const labeller = await addLoggedIn(service, sql, { scopes: ['read', 'latchkey:keys.label'] })
  const own = (await newAccount(labeller.access)).body.id
  const set = await as(labeller.access, `PATCH /service-accounts/${own}`, { external_id: `${external_id}-2` })
  expect(set.body.external_id).toBe(`${external_id}-2`)
})

test('batches that name the keys of two owners in opposite orders, on two instances, charge exactly', async () => {
  const owners = await Promise.all(
    [0, 1].map(async () => {
      const { id } = (await newAccount(admin.access)).body
      await as(admin.access, `PATCH /service-accounts/${id}`, { credits: { remaining: 300 } })
      const keys = await Promise.all(
        [0, 1].map(() =>
          newKey(service, admin.access, {
            service_account_id: id,
            scopes: 'read',
            credits: { remaining: 170 },
          }),
        ),
      )
      return { id, keys: keys.map(({ key }) => key) }
    }),
  )
  const all = owners.flatMap(({ keys }) => keys)
  const batch = Array.from({ length: 100 }, (_, at) => ({ key: all[at % all.length] }))
  const answers = await Promise.all(
    Array.from({ length: 12 }, (_, at) =>
      call(at % 2 ? service : other, 'POST /keys/verify-batch', {
        apiKey: asker.key,
        json: { keys: at % 3 ? batch : batch.toReversed() },
      }),
    ),
  )
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
  const results = answers.flatMap(({ body }) => body.results)
  const valid = results.filter(({ code }: { code: string }) => code === 'VALID').length
  expect(valid).toBe(600)
  for (const { id } of owners)
    expect((await as(admin.access, `GET /service-accounts/${id}`)).body.credits.remaining).toBe(0)
})

test("changes of one owner that wait for each other hold up nobody else's", async () => {
  const [flooder, victim] = [await addLoggedIn(service, sql), await addLoggedIn(service, sql)]
  const mine = await newKey(service, flooder.access)
  const theirs = await newKey(service, victim.access)
  const change = (bearer: string, id: string) =>
    as(bearer, `PATCH /keys/${id}`, { name: crypto.randomUUID() })
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const { promise: locked, resolve: lock } = Promise.withResolvers<void>()
  const holding = sql.begin(async (tx) => {
    await tx`SELECT id FROM latchkey.users WHERE id = ${flooder.id} FOR UPDATE`
    lock()
    await released
  })
  await locked
  // More than the pool has connections.
  const waiting = Array.from({ length: 30 }, () => change(flooder.access, mine.id))
  const first = Promise.race(waiting.map((answer) => answer.then(() => 'flooder')))
  await Bun.sleep(100)
  const answer = change(victim.access, theirs.id)
  expect(await Promise.race([first, answer.then(({ status }) => status)])).toBe(200)
  release()
  await holding
  // The control: the others were under way, and go on.
  expect((await Promise.all(waiting)).filter(({ status }) => status === 200).length).toBeGreaterThan(0)
})
