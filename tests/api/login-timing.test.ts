import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, mock, spyOn, test } from 'bun:test'
import type postgres from 'postgres'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { placeUsers } from '../../src/core/import/place-users.ts'
import { kindOf, sampleOf } from '../../src/core/passwords/kinds.ts'
import { listKinds } from '../../src/core/passwords/queries.ts'
import { type Answer, call } from '../support/client.ts'
import { addLoggedIn, addPerson, connectTo } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { CHEAPEST, startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'

const WRONG = 'not-the-password'
const RIGHT = 'the-right-password'
/** The kind of the hashes that `startService` makes. */
const TODAY = `$argon2id$v=19$m=${CHEAPEST.memoryCost},t=${CHEAPEST.timeCost},p=1`
const TODAYS_MS = 20
const DEAR = '$2b$12'
const DEAR_MS = 150
const DEARER = '$2b$13'
const DEARER_MS = 600

/**
 * Replaces hashing by waiting, so that the load of the machine does not matter. A damaged hash is refused at once, as by
 * the real function.
 */
function checkByClock() {
  return spyOn(Bun.password, 'verify').mockImplementation(async (typed, hash) => {
    const text = String(hash)
    const kind = kindOf(text)
    if (kind === null) throw new Error('not a hash')
    await Bun.sleep(kind === DEARER ? DEARER_MS : kind === DEAR ? DEAR_MS : TODAYS_MS)
    return String(typed) === RIGHT && !text.endsWith('A')
  })
}

let service: TestService
let sql: postgres.Sql
let checking: ReturnType<typeof checkByClock>
beforeAll(async () => {
  // Enough for all checks at once, so that no time is spent in the queue.
  service = await startService({ passwordHashConcurrency: 64 })
  sql = connectTo(service)
})
afterAll(async () => {
  await sql.end()
  await service.stop()
})
beforeEach(() => {
  checking = checkByClock()
})
afterEach(() => mock.restore())

const logIn = (email: string, password: string, at = service) =>
  call(at, 'POST /auth/login', { json: { email, password } })
const grant = (username: string, password: string) =>
  call(service, 'POST /oauth/token', { form: { grant_type: 'password', username, password } })
let strangers = 0
/** An e-mail without an account and without failed attempts. */
const unknownEmail = () => `nobody-${++strangers}@example.com`
const fits = (hash: string) => `${hash.slice(0, -1)}B`

async function msOf(work: () => Promise<Answer>): Promise<[ms: number, answer: Answer]> {
  const start = performance.now()
  const answer = await work()
  return [performance.now() - start, answer]
}

/** The median time of failed checks, in milliseconds. */
async function medianOf(work: () => Promise<Answer>): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < 3; i++) {
    const [ms, { status, body }] = await msOf(work)
    expect([status, body.code ?? body.error]).toBeOneOf([
      [401, 'invalid_login'],
      [400, 'invalid_grant'],
    ])
    times.push(ms)
  }
  return times.sort((a, b) => a - b)[1] ?? 0
}

/** Whether two times are alike. Without the floor the ratio is below a quarter or above four. */
const isNearOne = (ratio: number) => ratio > 1 / 1.5 && ratio < 1.5

const importKind = (kind: string, at = service) => {
  const id = Bun.randomUUIDv7()
  const user = {
    id,
    email: `imported-${id}@example.com`,
    passwordHash: fits(sampleOf(kind)),
    scopes: null,
    role: 'user' as const,
    isActive: true,
    emailVerified: false,
    createdAt: new Date(),
  }
  return placeUsers(at.context, SYSTEM, [user], null).then(() => user.email)
}

describe('a failed check of a password', () => {
  test('takes the time of the only stored kind of hash', async () => {
    const { email } = await addPerson(sql)
    for (const each of [email, unknownEmail()])
      expect(await medianOf(() => logIn(each, WRONG))).toBeWithin(TODAYS_MS, 2 * DEAR_MS)
  })

  test('takes the same time for every account at every entry point, once hashes of a dearer kind are stored', async () => {
    const other = await startService({}, service)
    // Another process imports the hash. This process hears of it through the database.
    const email = await importKind(DEAR, other)
    await other.stop()
    await until(() => checking.mock.calls.some(([, hash]) => hash === sampleOf(DEAR)), 'it is measured')
    const today = await addPerson(sql)
    const right = await addPerson(sql, { hash: fits(sampleOf(TODAY)) })
    const disabled = await addPerson(sql, { hash: fits(sampleOf(TODAY)) })
    const damaged = await addPerson(sql, { hash: '!' })
    const nameless = await addPerson(sql)
    const { access } = await addLoggedIn(service, sql)
    await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${disabled.id}`
    await sql`UPDATE latchkey.users SET password_hash = NULL WHERE id = ${nameless.id}`
    const change = () =>
      call(service, 'POST /auth/password', {
        bearer: access,
        json: { current_password: WRONG, new_password: 'a-quite-unheard-of-one' },
      })
    const cases: Record<string, () => Promise<Answer>> = {
      bcrypt: () => logIn(email, WRONG),
      'of today': () => logIn(today.email, WRONG),
      'of an unknown e-mail': () => logIn(unknownEmail(), WRONG),
      'disabled, and right': () => logIn(disabled.email, RIGHT),
      'without a password': () => logIn(nameless.email, WRONG),
      'with a damaged hash': () => logIn(damaged.email, WRONG),
      'bcrypt, at /oauth/token': () => grant(email, WRONG),
      'of an unknown e-mail, at /oauth/token': () => grant(unknownEmail(), WRONG),
      'in a session, for a new password': change,
    }
    const names = Object.keys(cases)
    const times = await Promise.all(Object.values(cases).map(medianOf))
    const [reference = 0] = times
    expect(reference).toBeGreaterThan(DEAR_MS)
    const ratios = times.map((ms) => ms / reference)
    expect(names.filter((_, i) => !isNearOne(ratios[i] ?? 0))).toEqual([])
    // A right password is not delayed.
    const [okMs, ok] = await msOf(() => logIn(right.email, RIGHT))
    expect(ok.status).toBe(200)
    expect(okMs).toBeLessThan(reference)
  })

  test('of a decomposed password takes the same time for an unknown e-mail as for bcrypt, which is checked twice', async () => {
    const email = await importKind(DEAR)
    const decomposed = 'pa\u0308sswo\u0308rtchen'
    const [unknownMs = 0, bcryptMs = 0] = await Promise.all([
      medianOf(() => logIn(unknownEmail(), decomposed)),
      medianOf(() => logIn(email, decomposed)),
    ])
    expect(bcryptMs).toBeGreaterThan(2 * DEAR_MS)
    expect(unknownMs / bcryptMs).toSatisfy(isNearOne)
  })

  test('does not occupy the hashing queue while it is delayed', async () => {
    const narrow = await startService({ passwordHashConcurrency: 1 }, service)
    try {
      const [alone] = await msOf(() => logIn(unknownEmail(), WRONG, narrow))
      const [together] = await msOf(async () => {
        const answers = await Promise.all(
          Array.from({ length: 8 }, () => logIn(unknownEmail(), WRONG, narrow)),
        )
        for (const answer of answers) expectProblem(answer, 'invalid_login')
        return answers[0] as Answer
      })
      // In sequence the delays would take eight times as long.
      expect(together).toBeLessThan(4 * alone)
    } finally {
      await narrow.stop()
    }
  })

  test('is delayed by at most a second, whatever is stored', async () => {
    await importKind(DEARER)
    await until(() => checking.mock.calls.some(([, hash]) => hash === sampleOf(DEARER)), 'it is measured')
    const decomposed = 'pa\u0308sswo\u0308rtchen'
    const [ms, answer] = await msOf(() => logIn(unknownEmail(), decomposed))
    expectProblem(answer, 'invalid_login')
    expect(ms).toBeWithin(950, 2 * DEARER_MS * 1.2)
  })

  test('is delayed from the first one after a start, and the start does not wait', async () => {
    const again = await startService({}, service)
    try {
      const measuring = () => checking.mock.calls.some(([, hash]) => hash === sampleOf(DEARER))
      const [ms, answer] = await msOf(() => logIn(unknownEmail(), WRONG, again))
      expectProblem(answer, 'invalid_login')
      expect(measuring()).toBe(true)
      expect(ms).toBeGreaterThan(DEARER_MS)
    } finally {
      await again.stop()
    }
  })
})

test('every kind of stored hash is found, page by page', async () => {
  const kinds = new Set<string>()
  const pages: string[][] = []
  let after: string | null = null
  do {
    const page = await listKinds(service.context.db, { after, limit: 2 })
    pages.push(page.kinds)
    for (const kind of page.kinds) kinds.add(kind)
    after = page.last
  } while (after !== null)
  const stored = await sql`SELECT password_hash FROM latchkey.users`
  const expected = stored.map((row) => kindOf(row.password_hash ?? '')).filter((kind) => kind !== null)
  expect(pages).toHaveLength(Math.floor(stored.length / 2) + 1)
  expect([...kinds].sort()).toEqual([...new Set(expected)].sort())
  expect(kinds).toContain(DEARER)
})

test('the sample that is measured is a hash of its kind', async () => {
  mock.restore()
  for (const kind of ['$2b$04', '$2y$05', '$argon2id$v=19$m=19456,t=2,p=1', '$argon2i$v=19$m=4096,t=3,p=1']) {
    expect(kindOf(sampleOf(kind))).toBe(kind)
    expect(await Bun.password.verify('x', sampleOf(kind))).toBe(false)
  }
  for (const none of ['', '!', '$2b$', '$2b$31$', '$argon2id$v=19$m=4000000,t=9,p=1$', '$argon2id$'])
    expect(kindOf(none + '.'.repeat(53))).toBeNull()
})
