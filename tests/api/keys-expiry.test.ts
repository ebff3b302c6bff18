import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { logIn, newKey, newPerson } from '../support/client.ts'
import { call } from '../support/described.ts'
import { expectProblem } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'
import { prepare, useService } from '../support/use-service.ts'

const DAY_MS = 86_400_000

const service = useService()
const owner = prepare(() => newPerson(service))

const create = (json: Record<string, unknown>, on = service, bearer = owner.access) =>
  call(on, 'POST /keys/create', { bearer, json })
const inDays = (days: number) => new Date(Date.now() + days * DAY_MS).toISOString()

/** The seconds between an expiry and `days` from now. */
const offBy = (expiresAt: string, days: number) =>
  Math.abs(Date.parse(expiresAt) - Date.now() - days * DAY_MS) / 1000

describe('an expiry', () => {
  test.each([1, 30, 36_500])('of %p days is that many days of 24 hours from now', async (days) => {
    const answer = await create({ expires_in_days: days })
    expect(answer.status).toBe(201)
    expect(answer.body.expires_at).toEndWith('Z')
    expect(offBy(answer.body.expires_at, days)).toBeLessThan(10)
  })

  test.each([
    ['2099-12-31T23:59:59Z', '2099-12-31T23:59:59.000Z'],
    ['2099-12-31T23:59:59.5Z', '2099-12-31T23:59:59.500Z'],
    ['2099-12-31T23:59:59+02:00', '2099-12-31T21:59:59.000Z'],
    ['2096-02-29T00:00:00Z', '2096-02-29T00:00:00.000Z'],
    ['9999-12-31T23:59:59Z', '9999-12-31T23:59:59.000Z'],
  ])('at %p is that instant', async (given, expected) => {
    const answer = await create({ expires_at: given })
    expect([answer.status, answer.body.expires_at]).toEqual([201, expected])
    const listed = (await call(service, 'GET /keys/list', { bearer: owner.access })).body[0]
    expect(listed.expires_at).toBe(expected)
    expect((await call(service, 'GET /protected/any', { apiKey: answer.body.key })).status).toBe(200)
  })

  test('that is null or absent means no expiry', async () => {
    expect((await create({})).body.expires_at).toBeNull()
    expect((await create({ expires_in_days: null, expires_at: null })).body.expires_at).toBeNull()
  })

  test.each([
    ['no days', { expires_in_days: 0 }],
    ['days ago', { expires_in_days: -1 }],
    ['half a day', { expires_in_days: 1.5 }],
    ['days as text', { expires_in_days: '5' }],
    ['days as a list', { expires_in_days: [5] }],
    ['days as a boolean', { expires_in_days: true }],
    ['more days than a century has', { expires_in_days: 36_501 }],
    ['more days than a number holds', { expires_in_days: Number.MAX_SAFE_INTEGER }],
    ['a word', { expires_at: 'tomorrow' }],
    ['nothing', { expires_at: '' }],
    ['a number of seconds', { expires_at: 4_102_444_799 }],
    ['the past', { expires_at: '2020-01-01T00:00:00Z' }],
    ['the year 0', { expires_at: '0000-01-01T00:00:00Z' }],
    ['a negative year', { expires_at: '-000001-01-01T00:00:00Z' }],
    ['a day alone', { expires_at: '2099-12-31' }],
    ['no zone', { expires_at: '2099-12-31T23:59:59' }],
    ['a space for the T', { expires_at: '2099-12-31 23:59:59Z' }],
    ['the thirtieth of February', { expires_at: '2099-02-30T00:00:00Z' }],
    ['a leap day of no leap year', { expires_at: '2099-02-29T00:00:00Z' }],
    ['a thirteenth month', { expires_at: '2099-13-01T00:00:00Z' }],
    ['the year 10000', { expires_at: '10000-01-01T00:00:00Z' }],
    ['the year 10000 in its long form', { expires_at: '+010000-01-01T00:00:00Z' }],
    ['the year 10000 in UTC', { expires_at: '9999-12-31T23:59:59-05:00' }],
    ['the latest instant that a Date has', { expires_at: '+275760-09-13T00:00:00Z' }],
    ['both', { expires_in_days: 5, expires_at: '2099-12-31T23:59:59Z' }],
  ])('that is invalid answers 422 and makes no key: %s', async (_, json) => {
    const list = async (): Promise<string[]> =>
      (await call(service, 'GET /keys/list', { bearer: owner.access })).body.map(
        ({ id }: { id: string }) => id,
      )
    const before = await list()
    const answer = await create(json)
    expectProblem(answer, 'validation_failed')
    for (const { path } of answer.body.errors) expect(path).toMatch(/^\/expires_(in_days|at)$/)
    expect(await list()).toEqual(before)
  })
})

describe('API_KEY_DEFAULT_EXPIRE_DAYS and API_KEY_MAX_EXPIRE_DAYS', () => {
  let bounded: TestService
  let capped: TestService
  beforeAll(async () => {
    bounded = await startService({ apiKeyDefaultExpireDays: 30, apiKeyMaxExpireDays: 90 }, service)
    capped = await startService({ apiKeyMaxExpireDays: 90 }, service)
  })
  afterAll(async () => {
    await capped.stop()
    await bounded.stop()
  })

  test('a key without an expiry gets the default one, or else the longest', async () => {
    expect(offBy((await create({}, bounded)).body.expires_at, 30)).toBeLessThan(10)
    expect(offBy((await create({ expires_at: null }, bounded)).body.expires_at, 30)).toBeLessThan(10)
    expect(offBy((await create({}, capped)).body.expires_at, 90)).toBeLessThan(10)
  })

  test('a key may have the longest expiry', async () => {
    for (const on of [bounded, capped]) {
      expect(offBy((await create({ expires_in_days: 90 }, on)).body.expires_at, 90)).toBeLessThan(10)
      expect(offBy((await create({ expires_at: inDays(89) }, on)).body.expires_at, 89)).toBeLessThan(10)
    }
  })

  test.each([
    ['/expires_in_days', { expires_in_days: 91 }],
    ['/expires_at', { expires_at: inDays(91) }],
    ['/expires_at', { expires_at: '9999-12-31T23:59:59Z' }],
  ])('an expiry beyond the longest is a 422 at %s', async (path, json) => {
    for (const on of [bounded, capped]) {
      const answer = await create(json, on)
      expectProblem(answer, 'validation_failed')
      expect(answer.body.errors).toEqual([{ path, message: 'Must lie within 90 days' }])
    }
    expect((await create(json)).status).toBe(201)
  })
})

describe('by the clock', () => {
  test('a key is refused from its expiry on, also when it is cached, and stays in the list', async () => {
    const late = await startService()
    try {
      const person = await newPerson(late)
      const show = (key: string) => call(late, 'GET /protected/any', { apiKey: key })
      const lasting = await newKey(late, person.access)
      const { id, key } = await newKey(late, person.access, { expires_in_days: 1 })
      expect((await show(key)).status).toBe(200)
      late.advance(DAY_MS - 60_000)
      expect((await show(key)).status).toBe(200)
      late.advance(60_000)
      expectProblem(await show(key), 'invalid_token')
      expect((await show(lasting.key)).status).toBe(200)

      const { access } = await logIn(late, person.email, person.password)
      const list = await call(late, 'GET /keys/list', { bearer: access })
      expect(list.body.find((item: { id: string }) => item.id === id)).toBeDefined()
      // Revoking an expired key is no error, so that cleaning up after a leak need not check the clock.
      expect((await call(late, `DELETE /keys/revoke/${id}`, { bearer: access })).status).toBe(200)
    } finally {
      await late.stop()
    }
  })
})
