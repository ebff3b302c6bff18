import { beforeAll, describe, expect, test } from 'bun:test'
import { deleteOutdated } from '../../src/core/housekeeping/delete-outdated.ts'
import { type Answer, call, insist, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const MAX = 1_000_000_000_000
const WRITE = 'latchkey:service-accounts.write'

const service = useService()
const other = useService({}, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const owner = prepare(() => addLoggedIn(service, sql))
let backEnd: { id: string; key: string }
beforeAll(async () => {
  const scopes = [WRITE, 'latchkey:keys.write', 'read']
  const { body } = await as(admin.access, 'POST /service-accounts', { name: 'back end', scopes })
  const { key } = await newKey(service, admin.access, { service_account_id: body.id, scopes })
  backEnd = { id: body.id, key }
})

type Json = Record<string, unknown>
type Target = { path: string; bearer: string; remaining(): Promise<number>; action: string }
const as = (bearer: string, route: string, json?: unknown): Promise<Answer> =>
  call(service, route, { bearer, json })
const newCustomer = async (more: Json = {}): Promise<string> =>
  (await as(backEnd.key, 'PUT /service-accounts', { external_id: crypto.randomUUID(), ...more })).body.id

/** Somebody with these credits, and who tops them up. */
const TARGETS: Record<string, (credits: Json | null) => Promise<Target>> = {
  'a key': async (credits) => {
    const { id } = await newKey(service, owner.access, credits ? { credits } : {})
    return {
      path: `/keys/${id}/credits`,
      bearer: owner.access,
      action: 'key.credited',
      remaining: async () => (await as(owner.access, `GET /keys/${id}`)).body.credits.remaining,
    }
  },
  'a service account': async (credits) => {
    const id = await newCustomer(credits ? { credits } : {})
    return {
      path: `/service-accounts/${id}/credits`,
      bearer: backEnd.key,
      action: 'service_account.credited',
      remaining: async () => (await as(admin.access, `GET /service-accounts/${id}`)).body.credits.remaining,
    }
  },
  'a user': async (credits) => {
    const { id } = await addLoggedIn(service, sql)
    if (credits) await as(admin.access, `PATCH /users/${id}`, { credits })
    return {
      path: `/users/${id}/credits`,
      bearer: admin.access,
      action: 'user.credited',
      remaining: async () => (await as(admin.access, `GET /users/${id}`)).body.credits.remaining,
    }
  },
}

describe.each(Object.entries(TARGETS))('of %s', (_, make) => {
  const topUp = ({ path, bearer }: Target, json: unknown, key?: string, on = service) =>
    call(on, `POST ${path}`, { bearer, json, ...(key && { headers: { 'idempotency-key': key } }) })

  test('credits are added, taken away and set, and each time audited', async () => {
    const target = await make({ remaining: 10 })
    for (const [json, remaining] of [
      [{ add: 5 }, 15],
      [{ add: -15 }, 0],
      [{ add: MAX }, MAX],
      [{ set: 0 }, 0],
      [{ set: MAX }, MAX],
      [{ add: -MAX }, 0],
      [{ set: 7 }, 7],
    ] as const) {
      const answer = await topUp(target, json)
      expect([answer.status, answer.body]).toEqual([200, { remaining }])
      expect(answer.headers.get('idempotent-replayed')).toBeNull()
    }
    const [, , id = ''] = target.path.split('/')
    const events = await sql`SELECT details FROM latchkey.audit_events
      WHERE target_id = ${id} AND action = ${target.action} ORDER BY at, id`
    expect(events.slice(0, 2).map(({ details }) => details)).toEqual([
      { add: 5, before: 10, after: 15 },
      { add: -15, before: 15, after: 0 },
    ])
    expect(events.at(-1)?.details).toEqual({ set: 7, before: 0, after: 7 })
  })

  test('what goes below zero or above the maximum changes nothing, and says what is left', async () => {
    const target = await make({ remaining: 10 })
    for (const add of [-11, -MAX, MAX - 9, MAX]) {
      const answer = await topUp(target, { add })
      expectProblem(answer, 'conflict')
      expect(answer.body.detail).toContain('10 credits are left')
    }
    expect(await target.remaining()).toBe(10)
  })

  test('where there are none, nothing is added to them, and they can be set', async () => {
    const target = await make(null)
    expectProblem(await topUp(target, { add: 1 }), 'conflict')
    expect((await topUp(target, { set: 4 })).body).toEqual({ remaining: 4 })
    expect(await target.remaining()).toBe(4)
  })

  test.each<[unknown, string]>([
    [{}, ''],
    [{ add: 1, set: 1 }, ''],
    [{ add: 0 }, '/add'],
    [{ add: MAX + 1 }, '/add'],
    [{ add: -MAX - 1 }, '/add'],
    [{ add: 1.5 }, '/add'],
    [{ add: '1' }, '/add'],
    [{ set: -1 }, '/set'],
    [{ set: MAX + 1 }, '/set'],
    [{ add: 1, refill: null }, ''],
    [{ remaining: 1 }, '/remaining'],
  ])('%j is refused', async (json, path) => {
    const target = await make({ remaining: 10 })
    const answer = await topUp(target, json)
    if (path === '' && answer.status === 200) return expect(json).toEqual({ add: 1, refill: null })
    expectProblem(answer, 'validation_failed')
    expect(answer.body.errors).toMatchObject([{ path }])
    expect(await target.remaining()).toBe(10)
  })

  test('a refill that is due is made first, and goes on', async () => {
    const refill = { amount: 100, interval: 'monthly', day: 31 }
    const target = await make({ remaining: 1, refill })
    await sql`UPDATE latchkey.api_key_credits SET refills_at = now() - interval '1 second' WHERE refill_day = 31`
    await sql`UPDATE latchkey.owner_credits SET refills_at = now() - interval '1 second' WHERE refill_day = 31`
    expect((await topUp(target, { add: 5 })).body).toEqual({ remaining: 105 })
    expect((await topUp(target, { add: 5 })).body).toEqual({ remaining: 110 })
  })

  test('a repeated request with the same Idempotency-Key adds once, also at the same moment, on two instances', async () => {
    const target = await make({ remaining: 10 })
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, at) => topUp(target, { add: 5 }, 'order-1', at % 2 ? service : other)),
    )
    expect(answers.map(({ status, body }) => [status, body.remaining])).toEqual(Array(10).fill([200, 15]))
    const replayed = answers.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')
    expect(replayed).toHaveLength(9)
    // The first answer, whatever came since.
    expect((await topUp(target, { add: 1 }, 'order-2')).body).toEqual({ remaining: 16 })
    expect((await topUp(target, { add: 5 }, 'order-1')).body).toEqual({ remaining: 15 })
    expectProblem(await topUp(target, { add: 6 }, 'order-1'), 'conflict')
    expectProblem(await topUp(target, { set: 5 }, 'order-1'), 'conflict')
    expect(await target.remaining()).toBe(16)
    // Another path, and another caller, are another request.
    const second = await make({ remaining: 10 })
    expect((await topUp(second, { add: 5 }, 'order-1')).body).toEqual({ remaining: 15 })
    // What failed does not use the value up.
    expectProblem(await topUp(second, { add: -100 }, 'failed'), 'conflict')
    expect((await topUp(second, { add: -1 }, 'failed')).body).toEqual({ remaining: 14 })
    for (const key of ['', 'x'.repeat(256)])
      expectProblem(
        await call(service, `POST ${second.path}`, {
          bearer: second.bearer,
          json: { add: 1 },
          headers: { 'idempotency-key': key },
        }),
        'validation_failed',
      )
  })

  test('any number of top-ups at once add up', async () => {
    const target = await make({ remaining: 0 })
    const add = (on: typeof service) => {
      const key = crypto.randomUUID()
      return insist(() => topUp(target, { add: 2 }, key, on))
    }
    await Promise.all(Array.from({ length: 30 }, (_, at) => add(at % 2 ? service : other)))
    expect(await target.remaining()).toBe(60)
  })
})

test('an Idempotency-Key works again after a day, and its row is deleted', async () => {
  const traveller = await startService({}, service)
  try {
    const id = await newCustomer({ credits: { remaining: 1 } })
    const topUp = async () =>
      (
        await call(traveller, `POST /service-accounts/${id}/credits`, {
          bearer: backEnd.key,
          json: { add: 1 },
          headers: { 'idempotency-key': 'daily' },
        })
      ).body.remaining
    expect([await topUp(), await topUp()]).toEqual([2, 2])
    traveller.advance(86_400_000 + 1000)
    expect([await topUp(), await topUp()]).toEqual([3, 3])
    traveller.advance(2 * 86_400_000)
    await deleteOutdated(traveller.context, { vacuums: false })
    expect(await sql`SELECT FROM latchkey.top_ups`).toHaveLength(0)
  } finally {
    await traveller.stop()
  }
})

describe('who tops up', () => {
  test('a key: who may raise its credits', async () => {
    const stranger = await addLoggedIn(service, sql)
    const { id } = await newKey(service, owner.access, { credits: { remaining: 5 } })
    const path = `POST /keys/${id}/credits`
    expectProblem(await as(stranger.access, path, { add: 1 }), 'not_found')
    // The user set them: an admin lowers them, and does not raise them.
    for (const json of [{ add: 1 }, { add: -1 }, { set: 3 }])
      expectProblem(await as(admin.access, path, json), 'forbidden')
    expect((await as(owner.access, path, { add: 1 })).body).toEqual({ remaining: 6 })
    // What an admin has lowered, the user does not raise, and may not top up.
    await as(admin.access, `PATCH /keys/${id}`, { credits: { remaining: 2 } })
    for (const json of [{ add: 1 }, { add: -1 }])
      expectProblem(await as(owner.access, path, json), 'forbidden')
    expect((await as(owner.access, `PATCH /keys/${id}`, { credits: { remaining: 1 } })).status).toBe(200)
    expect((await as(admin.access, path, { add: 1 })).body).toEqual({ remaining: 2 })
  })

  test('a key of a customer: its back end, and not the customer', async () => {
    const customer = await newCustomer({ scopes: ['read', 'latchkey:keys.write'] })
    const credits = { remaining: 5 }
    const { id } = await newKey(service, backEnd.key, { service_account_id: customer, scopes: [], credits })
    const own = await newKey(service, backEnd.key, {
      service_account_id: customer,
      scopes: ['latchkey:keys.write'],
    })
    const path = `POST /keys/${id}/credits`
    for (const json of [{ add: 1 }, { set: 100 }, { add: -1 }])
      expectProblem(await as(own.key, path, json), 'forbidden')
    expect((await as(backEnd.key, path, { add: 1 })).body).toEqual({ remaining: 6 })
    expectProblem(await as(own.key, `PATCH /keys/${id}`, { credits: { remaining: 7 } }), 'forbidden')
    expectProblem(await as(own.key, `PATCH /keys/${id}`, { credits: null }), 'forbidden')
    expect((await as(own.key, `PATCH /keys/${id}`, { credits: { remaining: 4 } })).status).toBe(200)
    // What the customer set, the customer changes.
    const mine = await newKey(service, own.key, { scopes: [], credits })
    expect((await as(own.key, `POST /keys/${mine.id}/credits`, { add: 5 })).body).toEqual({ remaining: 10 })
  })

  test('a user: admins alone; a service account: admins and the keys of its managers', async () => {
    const { id } = await addLoggedIn(service, sql)
    const { key } = await newKey(service, admin.access, { scopes: 'latchkey:users.write' })
    expectProblem(await as(key, `POST /users/${id}/credits`, { set: 1 }), 'wrong_credential_kind')
    expectProblem(await as(owner.access, `POST /users/${id}/credits`, { set: 1 }), 'forbidden')
    expectProblem(
      await as(admin.access, `POST /users/${crypto.randomUUID()}/credits`, { set: 1 }),
      'not_found',
    )
    const customer = await newCustomer({ credits: { remaining: 1 } })
    const path = `POST /service-accounts/${customer}/credits`
    expect((await as(admin.access, path, { add: 1 })).status).toBe(200)
    expect((await as(backEnd.key, path, { add: 1 })).body).toEqual({ remaining: 3 })
    const account = (await as(admin.access, 'POST /service-accounts', { name: 'x', scopes: [WRITE] })).body.id
    const stranger = await newKey(service, admin.access, { service_account_id: account, scopes: [WRITE] })
    expectProblem(await as(stranger.key, path, { add: 1 }), 'not_found')
  })

  test('nobody a key that is revoked', async () => {
    const { id } = await newKey(service, owner.access, { credits: { remaining: 5 } })
    await as(owner.access, `DELETE /keys/${id}`)
    expectProblem(await as(owner.access, `POST /keys/${id}/credits`, { add: 1 }), 'conflict')
  })
})
