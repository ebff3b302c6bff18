import { describe, expect, test } from 'bun:test'
import { call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const owner = prepare(() => addLoggedIn(service, sql))

type Json = Record<string, unknown>
const make = (credits: Json, bearer = owner.access) =>
  call(service, 'POST /keys', { bearer, json: { credits } })
const patch = (id: string, credits: unknown, bearer = owner.access) =>
  call(service, `PATCH /keys/${id}`, { bearer, json: { credits } })
const due = (id: string) =>
  sql`UPDATE latchkey.api_key_credits SET refills_at = now() - interval '1 second' WHERE key_id = ${id}`

describe('a refill', () => {
  test.each<[string, Json]>([
    ['weekly on Sundays in Berlin', { interval: 'weekly', day: 7, hour: 6, time_zone: 'Europe/Berlin' }],
    ['monthly on the 31st', { interval: 'monthly', day: 31 }],
    ['that adds, up to a maximum', { interval: 'daily', mode: 'add', max: 30 }],
    ['with its defaults named', { interval: 'weekly', day: 1, hour: 0, time_zone: 'UTC', mode: 'set' }],
  ])('%s is shown as it was given', async (_, more) => {
    const credits = { remaining: 5, refill: { amount: 10, ...more } }
    const { status, body } = await make(credits)
    expect([status, body.credits]).toEqual([201, credits])
    expect((await call(service, `GET /keys/${body.id}`, { bearer: owner.access })).body.credits).toEqual(
      credits,
    )
    expect((await patch(body.id, credits)).body.credits).toEqual(credits)
  })

  test.each<[string, Json, string]>([
    ['daily with a day', { interval: 'daily', day: 1 }, '/day'],
    ['on the eighth day of the week', { interval: 'weekly', day: 8 }, '/day'],
    ['on the zeroth day', { interval: 'monthly', day: 0 }, '/day'],
    ['on the 32nd', { interval: 'monthly', day: 32 }, '/day'],
    ['at 24 hours', { interval: 'daily', hour: 24 }, '/hour'],
    ['at half past', { interval: 'daily', hour: 1.5 }, '/hour'],
    ['in an unknown zone', { interval: 'daily', time_zone: 'Europe/Atlantis' }, '/time_zone'],
    ['at an offset, which is not a zone', { interval: 'daily', time_zone: '+01:00' }, '/time_zone'],
    ['in an unknown mode', { interval: 'daily', mode: 'multiply' }, '/mode'],
    ['by set with a maximum', { interval: 'daily', mode: 'set', max: 20 }, '/max'],
    ['by default with a maximum', { interval: 'daily', max: 20 }, '/max'],
    ['with a maximum below the amount', { interval: 'daily', mode: 'add', max: 9 }, '/max'],
    ['every hour', { interval: 'hourly' }, '/interval'],
    ['with an unknown member', { interval: 'daily', minute: 1 }, '/minute'],
  ])('%s is refused, where a key is made and where it is changed', async (_, more, path) => {
    const credits = { remaining: 5, refill: { amount: 10, ...more } }
    const { body: key } = await make({ remaining: 1 })
    for (const answer of [await make(credits), await patch(key.id, credits)]) {
      expectProblem(answer, 'validation_failed')
      expect(answer.body.errors).toMatchObject([{ path: `/credits/refill${path}` }])
    }
  })
})

describe('a change of credits', () => {
  const refill = { amount: 10, interval: 'weekly', day: 2 }

  test('leaves what it does not name, and replaces the refill as a whole', async () => {
    const { body: key } = await make({ remaining: 5, refill })
    expect((await patch(key.id, { remaining: 4 })).body.credits).toEqual({ remaining: 4, refill })
    const other = { amount: 7, interval: 'weekly' }
    expect((await patch(key.id, { refill: other })).body.credits).toEqual({ remaining: 4, refill: other })
    expect((await patch(key.id, {})).body.credits).toEqual({ remaining: 4, refill: other })
    expect((await patch(key.id, { refill: null })).body.credits).toEqual({ remaining: 4, refill: null })
    expect((await patch(key.id, null)).body.credits).toBeNull()
  })

  test('without `remaining` needs credits that are there', async () => {
    const { body: key } = await make({ remaining: 5 })
    await patch(key.id, null)
    for (const credits of [{}, { refill }, { refill: null }]) {
      const answer = await patch(key.id, credits)
      expectProblem(answer, 'validation_failed')
      expect(answer.body.errors).toMatchObject([{ path: '/credits/remaining' }])
    }
    expectProblem(await make({ refill }), 'validation_failed')
    expect((await patch(key.id, { remaining: 1 })).status).toBe(200)
  })

  test('of the refill alone makes one that is due first', async () => {
    const { body: key } = await make({ remaining: 3, refill })
    await due(key.id)
    const other = { amount: 2, interval: 'daily' }
    expect((await patch(key.id, { refill: other })).body.credits).toEqual({ remaining: 10, refill: other })
  })

  test("that moves the refill of another's key is no lowering, since it could come every hour", async () => {
    const { body: key } = await make({ remaining: 5, refill })
    const lowered = { remaining: 4, refill: { ...refill, amount: 9 } }
    expect((await patch(key.id, lowered, admin.access)).status).toBe(200)
    for (const moved of [{ hour: 5 }, { day: 3 }, { time_zone: 'Asia/Tokyo' }, { mode: 'add' }])
      expectProblem(await patch(key.id, { refill: { ...lowered.refill, ...moved } }), 'forbidden')
    const rarer = { amount: 9, interval: 'monthly' }
    expect((await patch(key.id, { refill: rarer })).status).toBe(200)
    expectProblem(await patch(key.id, { refill: lowered.refill }), 'forbidden')
  })
})

test('missed intervals of a refill that adds are added once, by any number of uses at once', async () => {
  const traveller = await startService({}, service)
  try {
    const asker = await newKey(service, admin.access, { scopes: 'latchkey:verify' })
    const { body: key } = await call(traveller, 'POST /keys', {
      bearer: owner.access,
      json: { credits: { remaining: 1, refill: { amount: 5, interval: 'daily', mode: 'add', max: 20 } } },
    })
    const verify = async (cost = 1) =>
      (await call(traveller, 'POST /keys/verify', { apiKey: asker.key, json: { key: key.key, cost } })).body
    const spend = async () => {
      const answers = await Promise.all(Array.from({ length: 40 }, () => verify()))
      return answers.filter(({ valid }) => valid).length
    }
    expect(await spend()).toBe(1)
    // Enough for the cost after two refills.
    const lack = await verify(10)
    expect(lack.retry_after_seconds).toBeGreaterThan(86_400)
    traveller.advance(3 * 86_400_000)
    expect((await verify(0)).credits).toEqual({ remaining: 15 })
    expect(await spend()).toBe(15)
    traveller.advance(30 * 86_400_000)
    expect(await spend()).toBe(20)
    expect(await spend()).toBe(0)
  } finally {
    await traveller.stop()
  }
})
