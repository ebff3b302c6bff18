import { afterAll, afterEach, beforeAll, describe, expect, mock, spyOn, test } from 'bun:test'
import postgres from 'postgres'
import { createPasswordHasher, OWASP_COST } from '../../src/core/passwords/hasher.ts'
import { fail as raise } from '../../src/lib/errors.ts'
import { type Answer, call, newPerson } from '../support/client.ts'
import { expectProblem } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'

let service: TestService
let sql: postgres.Sql
beforeAll(async () => {
  const trustedProxies = ['127.0.0.0/8']
  service = await startService({ passwordHashConcurrency: 1, passwordCost: OWASP_COST, trustedProxies })
  sql = postgres(service.databaseUrl, { max: 1 })
})
afterAll(async () => {
  await sql.end()
  await service.stop()
})

const TODAYS = '$argon2id$v=19$m=19456,t=2,p=1$'
const logIn = (email: string, password: string, headers: Record<string, string> = {}) =>
  call(service, 'POST /auth/login', { json: { email, password }, headers })
let addresses = 0

/** A user whose hash was made elsewhere. */
async function importUser(hash: string): Promise<string> {
  const email = `imported-${++addresses}@example.com`
  const user = { id: Bun.randomUUIDv7(), email, password_hash: hash, created_at: new Date() }
  await sql`INSERT INTO latchkey.users ${sql(user)}`
  return email
}
const hashOf = async (email: string) =>
  (await sql`SELECT password_hash FROM latchkey.users WHERE email = ${email}`)[0]?.password_hash

/** Test vectors of crypt_blowfish: the same hash under each prefix. */
const UU = '$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'
const LONG =
  '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored'
const LONG_HASH = '$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui'

test('a new hash has the present cost by default', async () => {
  const config = { passwordHashConcurrency: 1 }
  const caller = { address: null, account: 'someone@example.com' }
  expect(await createPasswordHasher(config).hash('vK8#qp2zx', caller)).toStartWith(TODAYS)
  const cheaper = createPasswordHasher(config, { memoryCost: 16, timeCost: 3 })
  expect(await cheaper.hash('vK8#qp2zx', caller)).toStartWith('$argon2id$v=19$m=16,t=3,p=1$')
})

describe('a bcrypt hash', () => {
  test.each(['$2a', '$2b', '$2y'])('%s verifies, and is replaced at that log-in', async (kind) => {
    const email = await importUser(kind + UU)
    expectProblem(await logIn(email, 'U*U*'), 'invalid_login')
    expect(await hashOf(email)).toBe(kind + UU)
    expect((await logIn(email, 'U*U')).status).toBe(200)
    const replaced = await hashOf(email)
    expect(replaced).toStartWith(TODAYS)
    // The password stays valid, although it is shorter than allowed now. A wrong one is still refused.
    expectProblem(await logIn(email, 'U*U*'), 'invalid_login')
    expect((await logIn(email, 'U*U')).status).toBe(200)
    expect(await hashOf(email)).toBe(replaced)
  })

  test('of a password beyond 72 bytes is verified on the first 72 bytes, as before', async () => {
    const email = await importUser(LONG_HASH)
    expectProblem(await logIn(email, `!${LONG}`), 'invalid_login')
    expectProblem(await logIn(email, LONG.slice(0, 71)), 'invalid_login')
    expect((await logIn(email, LONG)).status).toBe(200)
    expect(await hashOf(email)).toStartWith(TODAYS)
    // The new hash covers the rest too.
    expectProblem(await logIn(email, LONG.slice(0, 72)), 'invalid_login')
    expect((await logIn(email, LONG)).status).toBe(200)
  })

  test('of a password that is cut within a character is verified too', async () => {
    const password = `${'a'.repeat(71)}é and more`
    const cut = new Uint8Array(Buffer.from(password).subarray(0, 72))
    const email = await importUser(await Bun.password.hash(cut, { algorithm: 'bcrypt', cost: 4 }))
    expect((await logIn(email, password)).status).toBe(200)
  })

  test('of a disabled user is not replaced', async () => {
    const email = await importUser(`$2b${UU}`)
    await sql`UPDATE latchkey.users SET is_active = false WHERE email = ${email}`
    expectProblem(await logIn(email, 'U*U'), 'invalid_login')
    expect(await hashOf(email)).toBe(`$2b${UU}`)
  })

  test('is replaced once by two log-ins at the same time, and both succeed', async () => {
    const email = await importUser(`$2b${UU}`)
    const answers = await Promise.all([logIn(email, 'U*U'), logIn(email, 'U*U'), logIn(email, 'U*U')])
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200])
    expect(await hashOf(email)).toStartWith(TODAYS)
    expect((await logIn(email, 'U*U')).status).toBe(200)
  })
})

describe('an argon2 hash', () => {
  test.each([
    ['argon2id, less memory', { algorithm: 'argon2id', memoryCost: 4096, timeCost: 2 }],
    ['argon2id, more passes', { algorithm: 'argon2id', memoryCost: 19_456, timeCost: 3 }],
    ['argon2i', { algorithm: 'argon2i', memoryCost: 4096, timeCost: 3 }],
    ['argon2d', { algorithm: 'argon2d', memoryCost: 4096, timeCost: 2 }],
  ] as const)('of other parameters is replaced: %s', async (_, parameters) => {
    const email = await importUser(await Bun.password.hash('vK8#qp2zx', parameters))
    expectProblem(await logIn(email, 'vK8#qp2zy'), 'invalid_login')
    expect(await hashOf(email)).not.toStartWith(TODAYS)
    expect((await logIn(email, 'vK8#qp2zx')).status).toBe(200)
    expect(await hashOf(email)).toStartWith(TODAYS)
    expect((await logIn(email, 'vK8#qp2zx')).status).toBe(200)
  })

  test('of the present parameters is kept', async () => {
    const person = await newPerson(service)
    const before = await hashOf(person.email)
    expect((await logIn(person.email, person.password)).status).toBe(200)
    expect(await hashOf(person.email)).toBe(before)
  })

  test.each([
    ['empty', ''],
    ['a plain password', 'vK8#qp2zx'],
    ['scrypt', '$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD'],
    ['an unsalted digest', '5f4dcc3b5aa765d61d8327deb882cf99'],
    ['half a hash', TODAYS],
    ['a bcrypt hash cut short', `$2b${UU}`.slice(0, -1)],
    ['a disabled account of Unix', '!'],
  ])('of an unknown kind verifies no password: %s', async (_, hash) => {
    const email = await importUser(hash)
    for (const password of ['vK8#qp2zx', 'password', hash])
      expectProblem(await logIn(email, password), 'invalid_login')
    expect(await hashOf(email)).toBe(hash)
  })
})

describe('the queue of hashes', () => {
  afterEach(() => mock.restore())
  const countAttempts = async () =>
    (await sql`SELECT attempts FROM latchkey.login_attempts WHERE attempts > 0`).map((row) => row.attempts)

  test('has a limit: beyond it a log-in answers 503 with Retry-After, and is not counted as an attempt', async () => {
    const person = await newPerson(service)
    await sql`DELETE FROM latchkey.login_attempts`
    // One hash does not end and blocks the only slot. A hundred log-ins wait behind it.
    const hold = Promise.withResolvers<void>()
    spyOn(Bun.password, 'verify').mockImplementation(() => hold.promise.then(() => false))
    const refused: Answer[] = []
    const all = Array.from({ length: 130 }, async (_, i) => {
      const from = { 'x-forwarded-for': `203.0.113.${i}` }
      const answer = await logIn(`busy-${i}@example.com`, 'whatever-it-is', from)
      if (answer.status !== 401) refused.push(answer)
      return answer
    })
    await until(() => refused.length >= 29, 'the queue is full')
    for (const answer of refused) {
      expectProblem(answer, 'unavailable')
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    }
    for (let i = 0; i < 12; i++) expectProblem(await logIn(person.email, person.password), 'unavailable')
    const json = { email: 'busy@example.com', password: 'vK8#qp2zx' }
    expectProblem(await call(service, 'POST /auth/signup', { json }), 'unavailable')
    // Verification and refresh do not need the queue.
    expect((await call(service, 'GET /auth/me', { bearer: person.access })).status).toBe(200)
    const refresh = { refresh_token: person.refresh }
    expect((await call(service, 'POST /auth/refresh', { json: refresh })).status).toBe(200)

    hold.resolve()
    const statuses = (await Promise.all(all)).map((answer) => answer.status)
    const checked = statuses.filter((status) => status === 401).length
    // On a slow machine some of the hundred have already left the queue.
    expect(checked).toBeWithin(1, 102)
    expect(statuses.filter((status) => status === 503)).toHaveLength(130 - checked)
    expect(await countAttempts()).toEqual(Array(checked).fill(1))
    mock.restore()
    expect((await logIn(person.email, person.password)).status).toBe(200)
  })

  test('is left after two and a half seconds: the log-in answers 503 with Retry-After, and is not counted as an attempt', async () => {
    await sql`DELETE FROM latchkey.login_attempts`
    const hold = Promise.withResolvers<void>()
    const checking = spyOn(Bun.password, 'verify').mockImplementation(() => hold.promise.then(() => false))
    const first = logIn('early@example.com', 'whatever-it-is')
    await until(() => checking.mock.calls.length === 1, 'the first is being checked')
    const others = Promise.all([1, 2, 3].map((i) => logIn(`late-${i}@example.com`, 'whatever-it-is')))
    await until(async () => (await countAttempts()).length === 4, 'the others wait behind it')
    // The first log-in is still being checked.
    for (const answer of await others) {
      expectProblem(answer, 'unavailable')
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    }
    hold.resolve()
    expectProblem(await first, 'invalid_login')
    expect(await countAttempts()).toEqual([1])
  })

  test('that is full delays the replacement of a hash, and not the log-in', async () => {
    const email = await importUser(`$2b${UU}`)
    spyOn(service.context.passwords, 'hash').mockImplementationOnce(async () => raise('unavailable'))
    expect((await logIn(email, 'U*U')).status).toBe(200)
    expect(await hashOf(email)).toBe(`$2b${UU}`)
    expect((await logIn(email, 'U*U')).status).toBe(200)
    expect(await hashOf(email)).toStartWith(TODAYS)
  })
})
