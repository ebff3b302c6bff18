import { beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { type Answer, call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import type { TestService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const SLOW_MS = 240_000
const WRITE = 'latchkey:service-accounts.write'

const service = useService()
const other = useService({}, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const owner = prepare(() => addLoggedIn(service, sql))
let asker: { id: string; key: string }
/** The service account of a back end, and one key of it. */
let backEnd: { id: string; key: string }
beforeAll(async () => {
  asker = await newKey(service, admin.access, { scopes: 'latchkey:verify' })
  const scopes = [WRITE, 'latchkey:keys.write', 'latchkey:keys.read', 'read']
  const { body } = await as(admin.access, 'POST /service-accounts', { name: 'back end', scopes })
  const { key } = await newKey(service, admin.access, { service_account_id: body.id, scopes })
  backEnd = { id: body.id, key }
})

type Json = Record<string, unknown>
const as = (bearer: string, route: string, json?: unknown): Promise<Answer> =>
  call(service, route, { bearer, json })
const verify = async (key: string, more: Json = {}, on: Pick<TestService, 'url'> = service) =>
  (await call(on, 'POST /keys/verify', { apiKey: asker.key, json: { key, ...more } })).body
/** A customer of the back end. */
const newCustomer = async (more: Json = {}): Promise<string> =>
  (await as(backEnd.key, 'PUT /service-accounts', { external_id: crypto.randomUUID(), ...more })).body.id
const keyOf = async (account: string, more: Json = {}) =>
  newKey(service, admin.access, { service_account_id: account, ...more })
const creditsOf = async (account: string) =>
  (await as(admin.access, `GET /service-accounts/${account}`)).body.credits
const setCredits = (account: string, credits: unknown, bearer = admin.access) =>
  as(bearer, `PATCH /service-accounts/${account}`, { credits })
const times = <T>(count: number, work: (at: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, at) => work(at)))
const tally = (words: readonly string[]) =>
  Object.fromEntries([...Map.groupBy(words, (word) => word)].map(([word, all]) => [word, all.length]))

describe('the credits of an owner', () => {
  test('of a service account are set when it is made, changed, and removed', async () => {
    const external_id = crypto.randomUUID()
    const put = (json: Json) => as(backEnd.key, 'PUT /service-accounts', { external_id, ...json })
    const refill = { amount: 5, interval: 'weekly', time_zone: 'Europe/Berlin' }
    const made = await put({ credits: { remaining: 10, refill } })
    expect([made.status, made.body.credits]).toEqual([201, { remaining: 10, refill }])
    const { id } = made.body
    const { key } = await keyOf(id)
    await verify(key, { cost: 4 })
    // A synchronisation every night fills up nothing.
    const again = await put({ name: 'again', credits: { remaining: 10 } })
    expect([again.status, again.body.name, again.body.credits]).toEqual([
      200,
      'again',
      { remaining: 6, refill },
    ])
    expect((await setCredits(id, { remaining: 3 })).body.credits).toEqual({ remaining: 3, refill })
    expect((await setCredits(id, { refill: null })).body.credits).toEqual({ remaining: 3, refill: null })
    const listed = (await as(admin.access, `GET /service-accounts?external_id=${external_id}`)).body.items
    expect(listed).toMatchObject([{ id, credits: { remaining: 3 } }])
    expect((await setCredits(id, null)).body.credits).toBeNull()
    expectProblem(await setCredits(id, {}), 'validation_failed')
    expect(await creditsOf(await newCustomer())).toBeNull()

    const events =
      await sql`SELECT action, details FROM latchkey.audit_events WHERE target_id = ${id} ORDER BY at, id`
    expect(events).toMatchObject([
      { action: 'service_account.created', details: { credits: { remaining: 10, refill } } },
      { action: 'service_account.updated' },
      {
        action: 'service_account.updated',
        details: { before: { credits: { remaining: 6 } }, after: { credits: { remaining: 3 } } },
      },
      { action: 'service_account.updated', details: { after: { credits: { refill: null } } } },
      { action: 'service_account.updated', details: { after: { credits: null } } },
    ])
  })

  test('of a user are set by admins, and by nobody else', async () => {
    const made = await as(admin.access, 'POST /users', {
      email: `${crypto.randomUUID()}@example.com`,
      credits: { remaining: 7 },
    })
    expect([made.status, made.body.credits]).toEqual([201, { remaining: 7, refill: null }])
    const path = `/users/${made.body.id}`
    expect(
      (await as(admin.access, `PATCH ${path}`, { credits: { remaining: 8 } })).body.credits.remaining,
    ).toBe(8)
    expect((await as(admin.access, `GET ${path}`)).body.credits.remaining).toBe(8)
    const { key } = await newKey(service, admin.access, {
      scopes: 'latchkey:users.write latchkey:users.read',
    })
    const credits = { remaining: 9 }
    expectProblem(await as(key, `PATCH ${path}`, { credits }), 'forbidden')
    expectProblem(await as(key, 'POST /users', { email: 'new@example.com', credits }), 'forbidden')
    expect((await as(key, `GET ${path}`)).body.credits.remaining).toBe(8)
    expect((await as(key, `PATCH ${path}`, { scopes: ['read'] })).status).toBe(200)
    const [event] = await sql`SELECT details FROM latchkey.audit_events
      WHERE target_id = ${made.body.id} AND action = 'user.limits_changed'`
    expect(event?.details).toMatchObject({
      before: { credits: { remaining: 7 } },
      after: { credits: { remaining: 8 } },
    })
    expect((await as(admin.access, `PATCH ${path}`, { credits: null })).body.credits).toBeNull()
  })

  test('of a service account are not set by a person who manages it, nor by its own keys', async () => {
    const account = (await as(owner.access, 'POST /service-accounts', { name: 'own', scopes: ['read'] })).body
      .id
    expectProblem(await setCredits(account, { remaining: 5 }, owner.access), 'forbidden')
    expectProblem(
      await as(owner.access, `POST /service-accounts/${account}/credits`, { set: 5 }),
      'forbidden',
    )
    expect((await as(owner.access, `PATCH /service-accounts/${account}`, { name: 'other' })).status).toBe(200)

    // The account of the back end, even where it manages itself.
    await as(admin.access, `PUT /service-accounts/${backEnd.id}/managers`, { service_account_id: backEnd.id })
    expectProblem(await setCredits(backEnd.id, { remaining: 5 }, backEnd.key), 'forbidden')
    const customer = await newCustomer()
    expect((await setCredits(customer, { remaining: 5 }, backEnd.key)).status).toBe(200)
    const stranger = await keyOf(customer, { scopes: [] })
    for (const answer of [
      await setCredits(customer, { remaining: 9 }, stranger.key),
      await as(stranger.key, `POST /service-accounts/${customer}/credits`, { add: 1 }),
    ])
      expect([401, 403]).toContain(answer.status)
    expect(await creditsOf(customer)).toMatchObject({ remaining: 5 })
  })

  test('end with their owner', async () => {
    const customer = await newCustomer({ credits: { remaining: 5 } })
    await as(backEnd.key, `DELETE /service-accounts/${customer}`)
    expect(await sql`SELECT FROM latchkey.owner_credits WHERE owner_id = ${customer}`).toHaveLength(0)
  })
})

describe('a use', () => {
  test('is charged to key and owner together, or to neither', async () => {
    const customer = await newCustomer({ credits: { remaining: 10 } })
    const [one, two] = [await keyOf(customer, { credits: { remaining: 4 } }), await keyOf(customer)]
    expect(await verify(one.key, { cost: 3 })).toMatchObject({
      valid: true,
      credits: { remaining: 1 },
      owner_credits: { remaining: 7 },
    })
    expect(await verify(two.key, { cost: 2 })).toMatchObject({
      credits: null,
      owner_credits: { remaining: 5 },
    })
    const lack = { valid: false, code: 'CREDITS_EXHAUSTED' }
    expect(await verify(one.key, { cost: 2 })).toEqual({ ...lack, key_id: one.id, limited_by: 'key' })
    expect(await verify(two.key, { cost: 6 })).toEqual({ ...lack, key_id: two.id, limited_by: 'owner' })
    // Both are short: the key's comes first.
    expect(await verify(one.key, { cost: 6 })).toMatchObject({ ...lack, limited_by: 'key' })
    expect(await verify(one.key, { cost: 0 })).toMatchObject({
      credits: { remaining: 1 },
      owner_credits: { remaining: 5 },
    })
    const check = await as(admin.access, `POST /keys/${two.id}/check`, { cost: 6 })
    expect(check.body).toMatchObject({ ...lack, limited_by: 'owner' })
  })

  test('that the owner has no credits for is a 429 that says so, and waits for the later refill', async () => {
    const refill = { amount: 5, interval: 'monthly' }
    const customer = await newCustomer({ scopes: ['read'], credits: { remaining: 0, refill } })
    const daily = { amount: 5, interval: 'daily' }
    const { key } = await keyOf(customer, { credits: { remaining: 0, refill: daily }, scopes: ['read'] })
    const waits = (await verify(key)).retry_after_seconds
    await sql`UPDATE latchkey.api_key_credits SET remaining = 1
      WHERE key_id IN (SELECT id FROM latchkey.api_keys WHERE service_account_id = ${customer})`
    const answer = await call(service, 'GET /forward-auth?scope=read', { apiKey: key })
    expectProblem(answer, 'credits_exhausted')
    expect(answer.body.limited_by).toBe('owner')
    expect(Math.abs(Number(answer.headers.get('retry-after')) - waits)).toBeLessThan(10)
  })

  test('counts from the next one where the owner gets or loses credits, on every instance', async () => {
    const customer = await newCustomer()
    const { key } = await keyOf(customer)
    const on = async () => [(await verify(key)).owner_credits, (await verify(key, {}, other)).owner_credits]
    expect(await on()).toEqual([null, null])
    await setCredits(customer, { remaining: 10 })
    expect((await verify(key)).owner_credits).toEqual({ remaining: 9 })
    // The other instance learns it from the database.
    for (let left: unknown = null; left === null; ) left = (await verify(key, {}, other)).owner_credits
    await setCredits(customer, null)
    expect((await verify(key)).owner_credits).toBeNull()
    for (let left: unknown = 1; left !== null; ) left = (await verify(key, {}, other)).owner_credits
  })

  test("of a user's key is charged to the user", async () => {
    const { key } = await newKey(service, owner.access)
    expect(await verify(key)).toMatchObject({ owner_credits: null })
    await as(admin.access, `PATCH /users/${owner.id}`, { credits: { remaining: 1 } })
    expect(await verify(key)).toMatchObject({ valid: true, owner_credits: { remaining: 0 } })
    expect(await verify(key)).toMatchObject({ code: 'CREDITS_EXHAUSTED', limited_by: 'owner' })
    expect((await as(admin.access, `PATCH /users/${owner.id}`, { credits: null })).status).toBe(200)
    expect(await verify(key)).toMatchObject({ valid: true })
  })

  test('of a due refill of the owner is charged after it, once', async () => {
    const refill = { amount: 20, interval: 'daily', mode: 'add' }
    const customer = await newCustomer({ credits: { remaining: 3, refill } })
    const { key } = await keyOf(customer, {
      credits: { remaining: 1, refill: { amount: 100, interval: 'daily' } },
    })
    await sql`UPDATE latchkey.owner_credits SET refills_at = now() - interval '1 second' WHERE owner_id = ${customer}`
    await sql`UPDATE latchkey.api_key_credits SET refills_at = now() - interval '1 second'
      WHERE key_id IN (SELECT id FROM latchkey.api_keys WHERE service_account_id = ${customer})`
    const codes = await times(60, async (at) => (await verify(key, {}, at % 2 ? service : other)).code)
    expect(tally(codes)).toEqual({ VALID: 23, CREDITS_EXHAUSTED: 37 })
  })
})

test('a key whose owner has no credits left is exhausted, until a refill is due', async () => {
  const refill = { amount: 5, interval: 'daily' }
  const customer = await newCustomer({ credits: { remaining: 0, refill } })
  const { body } = await as(admin.access, 'POST /keys', { service_account_id: customer, scopes: [] })
  const shown = async () => (await as(admin.access, `GET /keys/${body.id}`)).body
  expect(body).toMatchObject({ status: 'exhausted', status_reason: 'Its owner has no credits left.' })
  expect(await shown()).toMatchObject({ status: 'exhausted' })
  await sql`UPDATE latchkey.owner_credits SET refills_at = now() - interval '1 second' WHERE owner_id = ${customer}`
  expect(await shown()).toMatchObject({ status: 'active' })
})

describe('500 uses at once of ten keys, on two instances', () => {
  const useAll = async (keys: readonly string[], costs = [1]) =>
    times(500, async (at) => {
      const cost = costs[at % costs.length] ?? 1
      const { code, credits, owner_credits } = await verify(
        keys[at % keys.length] ?? '',
        { cost },
        at % 2 ? service : other,
      )
      return { code, cost, credits, left: owner_credits?.remaining }
    })

  test(
    'of an owner with 300 credits: 300 are valid, 200 are refused, and each is told another remainder',
    async () => {
      const customer = await newCustomer({ credits: { remaining: 300 } })
      const keys = await times(10, async () => (await keyOf(customer)).key)
      const uses = await useAll(keys)
      expect(tally(uses.map(({ code }) => code))).toEqual({ VALID: 300, CREDITS_EXHAUSTED: 200 })
      const left = uses.flatMap(({ left }) => left ?? []).sort((a, b) => a - b)
      expect(left).toEqual(Array.from({ length: 300 }, (_, at) => at))
      expect(await creditsOf(customer)).toEqual({ remaining: 0, refill: null })
    },
    SLOW_MS,
  )

  test(
    'that have credits too: no key goes below zero, and what was granted is what was taken from both',
    async () => {
      const customer = await newCustomer({ credits: { remaining: 500 } })
      const made = await times(10, (at) => keyOf(customer, { credits: { remaining: 20 + 10 * at } }))
      const uses = await useAll(
        made.map(({ key }) => key),
        [1, 2, 3],
      )
      const granted = uses.reduce((sum, { code, cost }) => sum + (code === 'VALID' ? cost : 0), 0)
      const rows = await sql`SELECT remaining::int FROM latchkey.api_key_credits
        WHERE key_id IN ${sql(made.map(({ id }) => id))}`
      const leftOfKeys = rows.reduce((sum, { remaining }) => sum + remaining, 0)
      expect(rows.every(({ remaining }) => remaining >= 0)).toBe(true)
      expect(granted).toBe(650 - leftOfKeys)
      expect((await creditsOf(customer)).remaining).toBe(500 - granted)
      expect((await creditsOf(customer)).remaining).toBeLessThan(3)
      expect(new Set(uses.map(({ code }) => code))).toEqual(new Set(['VALID', 'CREDITS_EXHAUSTED']))
    },
    SLOW_MS,
  )

  test(
    'race with top-ups, which add up with them to the last credit',
    async () => {
      const customer = await newCustomer({ credits: { remaining: 50 } })
      const keys = await times(10, async () => (await keyOf(customer)).key)
      const path = `POST /service-accounts/${customer}/credits`
      const [uses, tops] = await Promise.all([
        useAll(keys),
        times(40, async (at) => {
          const answer = await call(at % 2 ? service : other, path, {
            bearer: backEnd.key,
            json: { add: at % 4 === 3 ? -1 : 5 },
          })
          return answer.status === 200 ? (at % 4 === 3 ? -1 : 5) : 0
        }),
      ])
      const granted = uses.filter(({ code }) => code === 'VALID').length
      const added = tops.reduce<number>((sum, each) => sum + each, 0)
      expect(added).toBeGreaterThanOrEqual(140)
      expect(granted + (await creditsOf(customer)).remaining).toBe(50 + added)
    },
    SLOW_MS,
  )
})

test(
  '10,000 uses of keys with credits, of owners with credits, send no NOTIFY',
  async () => {
    const customer = await newCustomer({ credits: { remaining: 20_000 } })
    const keys = await times(4, async () => (await keyOf(customer, { credits: { remaining: 5000 } })).key)
    for (const key of keys) for (const on of [service, other]) await verify(key, { cost: 0 }, on)
    const listening = postgres(service.databaseUrl, { max: 1, onnotice: () => {} })
    const heard: string[] = []
    try {
      await listening.listen('latchkey_evict', (payload) => heard.push(payload))
      const json = { keys: Array.from({ length: 100 }, (_, at) => ({ key: keys[at % keys.length] })) }
      for (let round = 0; round < 10; round++) {
        const answers = await times(10, (at) =>
          call(at % 2 ? service : other, 'POST /keys/verify-batch', { apiKey: asker.key, json }),
        )
        for (const { body } of answers)
          for (const { valid } of body.results) if (!valid) throw new Error('A use was refused')
      }
      expect((await creditsOf(customer)).remaining).toBe(10_000)
      expect(heard).toEqual([])
      // What is told is heard: the owner loses its credits.
      await setCredits(customer, null)
      while (heard.length === 0) await Bun.sleep(10)
      expect(heard).toEqual([`service_account ${customer}`])
    } finally {
      await listening.end()
    }
  },
  SLOW_MS,
)
