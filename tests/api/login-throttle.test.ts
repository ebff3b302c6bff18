import { afterAll, beforeAll, beforeEach, describe, expect, spyOn, test } from 'bun:test'
import postgres from 'postgres'
import { type Answer, call, newPerson, type Person } from '../support/client.ts'
import { comparable, expectProblem, expectSpent } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'

const MINUTE_MS = 60_000
const WRONG = 'not-the-password'

let service: TestService
let second: TestService
let sql: postgres.Sql
let person: Person
const hashing = spyOn(Bun.password, 'verify')
beforeAll(async () => {
  service = await startService({ trustedProxies: ['127.0.0.0/8'] })
  second = await startService({}, service)
  sql = postgres(service.databaseUrl, { max: 1 })
})
afterAll(async () => {
  hashing.mockRestore()
  await sql.end()
  await second.stop()
  await service.stop()
})
beforeEach(async () => {
  person = await newPerson(service)
  hashing.mockClear()
})

const logIn = (email: string, password: string, address = '203.0.113.1', at = service) =>
  call(at, 'POST /auth/login', { json: { email, password }, headers: { 'x-forwarded-for': address } })

async function fail(times: number, email: string, more: { at?: TestService } = {}): Promise<void> {
  for (let i = 0; i < times; i++)
    expectProblem(await logIn(email, WRONG, `203.0.113.${i}`, more.at), 'invalid_login')
}

function expectLocked(answer: Answer): void {
  expectProblem(answer, 'too_many_attempts')
  const seconds = Number(answer.headers.get('retry-after'))
  expect(seconds).toBeGreaterThan(0)
  expect(seconds).toBeLessThanOrEqual(15 * 60)
  // The headers are those of the account's limit. The limit per address is not used up.
  expect(answer.headers.get('ratelimit-limit')).toBe('10')
}

const countAudited = async (action: string, since: Date) =>
  (
    await sql`SELECT count(*)::int AS n FROM latchkey.audit_events WHERE action = ${action} AND at >= ${since}`
  )[0]?.n

describe('guessing at one account', () => {
  test('is refused after the tenth failure, also with the right password, and before hashing', async () => {
    await fail(9, person.email)
    expect((await logIn(person.email, person.password)).status).toBe(200)
    await fail(1, person.email)
    hashing.mockClear()
    expectLocked(await logIn(person.email, person.password))
    expectLocked(await logIn(person.email, WRONG))
    expect(hashing).not.toHaveBeenCalled()
  })

  test('is counted across addresses, spellings of the e-mail, routes and servers', async () => {
    const since = new Date()
    await fail(4, person.email)
    await fail(3, person.email, { at: second })
    await fail(1, ` ${person.email.toUpperCase()} `)
    const form = { grant_type: 'password', username: person.email, password: WRONG }
    for (let i = 0; i < 2; i++) {
      const answer = await call(service, 'POST /oauth/token', { form })
      expect([answer.status, answer.body.error]).toEqual([400, 'invalid_grant'])
    }
    expectLocked(await logIn(person.email, person.password, '198.51.100.7'))
    expectLocked(await logIn(person.email, person.password, '2001:db8::1', second))
    const refused = await call(service, 'POST /oauth/token', { form: { ...form, password: person.password } })
    expect([refused.status, refused.body.error]).toEqual([429, 'invalid_grant'])
    expectSpent(refused)
    const rows = await sql`
      SELECT DISTINCT ip FROM latchkey.audit_events WHERE action = 'user.login_failed' AND at >= ${since}`
    const addresses = ['127.0.0.1', '203.0.113.0', '203.0.113.1', '203.0.113.2', '203.0.113.3']
    expect(rows.map((row) => row.ip).sort()).toEqual(addresses)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  })

  test('gets the same answers where the account does not exist', async () => {
    const unknownEmail = `nobody-${person.id}@example.com`
    const [known, unknown] = [[], []] as Answer[][]
    for (let i = 0; i < 12; i++) {
      known?.push(await logIn(person.email, WRONG))
      unknown?.push(await logIn(unknownEmail, WRONG))
    }
    const shape = (answer: Answer) => {
      const { headers, ...rest } = comparable(answer)
      return { ...rest, headers: Object.keys(headers).sort() }
    }
    expect(unknown?.map(shape)).toEqual(known?.map(shape) ?? [])
    expect(known?.map((answer) => answer.status)).toEqual([...Array(10).fill(401), 429, 429])
  })

  test('by a hundred requests at once costs ten hashes', async () => {
    const since = new Date()
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) => logIn(person.email, WRONG, `198.51.100.${i}`)),
    )
    expect(hashing).toHaveBeenCalledTimes(10)
    expect(answers.filter((answer) => answer.status === 401)).toHaveLength(10)
    expect(answers.filter((answer) => answer.status === 429)).toHaveLength(90)
    expect(await countAudited('user.login_failed', since)).toBe(10)
    expect(await countAudited('user.locked', since)).toBe(1)
  })

  test('does not lock other users out, and ends no session', async () => {
    const other = await newPerson(service)
    await fail(10, person.email)
    expectLocked(await logIn(person.email, person.password))
    expect((await logIn(other.email, other.password)).status).toBe(200)
    expect((await call(service, 'GET /auth/me', { bearer: person.access })).status).toBe(200)
    const refreshed = await call(service, 'POST /auth/refresh', { json: { refresh_token: person.refresh } })
    expect(refreshed.status).toBe(200)
    expect((await call(service, 'GET /auth/me', { bearer: refreshed.body.access_token })).status).toBe(200)
  })

  test('is forgotten fifteen minutes after the first failure, and later attempts do not prolong it', async () => {
    await fail(10, person.email)
    const locked = await logIn(person.email, person.password)
    expectLocked(locked)
    service.advance(14 * MINUTE_MS)
    const later = await logIn(person.email, person.password)
    expectLocked(later)
    expect(Number(later.headers.get('retry-after'))).toBeLessThanOrEqual(60)
    service.advance(MINUTE_MS)
    expect((await logIn(person.email, person.password)).status).toBe(200)
    await fail(9, person.email)
    expect((await logIn(person.email, person.password)).status).toBe(200)
  })

  test('leaves no e-mail in the database', async () => {
    await fail(1, person.email)
    const rows = await sql`SELECT encode(email_hmac, 'escape') AS hmac, * FROM latchkey.login_attempts`
    expect(rows.length).toBeGreaterThan(0)
    expect(rows.every((row) => row.email_hmac.length === 32)).toBe(true)
    expect(JSON.stringify(rows)).not.toContain('example.com')
  })
})

describe('the right password', () => {
  test('is not counted, however often it is used', async () => {
    for (let i = 0; i < 12; i++) expect((await logIn(person.email, person.password)).status).toBe(200)
    await fail(10, person.email)
    expectLocked(await logIn(person.email, person.password))
  })

  test('used many times at once does not lock the user out afterwards', async () => {
    const answers = await Promise.all(Array.from({ length: 30 }, () => logIn(person.email, person.password)))
    expect(answers.filter((answer) => answer.status === 200).length).toBeGreaterThanOrEqual(10)
    for (const answer of answers.filter((each) => each.status !== 200)) expectLocked(answer)
    expect((await logIn(person.email, person.password)).status).toBe(200)
    await fail(10, person.email)
  })
})
