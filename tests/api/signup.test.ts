import { describe, expect, test } from 'bun:test'
import { OWASP_COST } from '../../src/core/passwords/hasher.ts'
import { type Answer, call } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { addLoggedIn, addPerson } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { useService, useSql } from '../support/use-service.ts'

const service = useService()
const closed = useService({ signup: 'closed' }, service)
const sql = useSql(service)

const PASSWORD = 'correct-horse-battery'
const signUp = (json: unknown) => call(service, 'POST /auth/signup', { json })
let addresses = 0
const freshEmail = () => `new-${++addresses}@example.com`
const countUsers = async () => Number((await sql`SELECT count(*) FROM latchkey.users`)[0]?.count)

describe('sign-up', () => {
  test('answers exactly the account', async () => {
    const before = Date.now()
    const answer = await signUp({ email: 'user@example.com', password: 'securepassword' })
    expect(answer.status).toBe(201)
    expect(answer.body).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
      email: 'user@example.com',
      role: 'user',
      is_active: true,
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    })
    expect(Math.abs(Date.parse(answer.body.created_at) - before)).toBeLessThan(10_000)
  })

  test('hashes the password as OWASP recommends', async () => {
    const real = await startService({ passwordCost: OWASP_COST }, service)
    const json = { email: freshEmail(), password: PASSWORD }
    const { id } = (await call(real, 'POST /auth/signup', { json })).body
    await real.stop()
    const [row] = await sql`SELECT password_hash FROM latchkey.users WHERE id = ${id}`
    expect(row?.password_hash).toStartWith('$argon2id$v=19$m=19456,t=2,p=1$')
  })

  test('is audited once, without the password', async () => {
    const { id } = (await signUp({ email: freshEmail(), password: 'a-password-of-mine' })).body
    const rows = await sql`SELECT * FROM latchkey.audit_events WHERE target_id = ${id}`
    expect(rows).toHaveLength(1)
    expect(rows[0]).toMatchObject({
      action: 'user.signup',
      outcome: 'success',
      actor_type: 'user',
      actor_id: id,
      target_type: 'user',
    })
    expect(JSON.stringify(rows)).not.toContain('a-password-of-mine')
  })

  test('ignores a role, a state, an id and a ceiling in the body', async () => {
    const answer = await signUp({
      email: freshEmail(),
      password: PASSWORD,
      role: 'admin',
      is_active: false,
      id: '0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6',
      scopes: ['latchkey:users.write'],
      email_verified: true,
    })
    expect(answer.status).toBe(201)
    const [row] = await sql`SELECT * FROM latchkey.users WHERE id = ${answer.body.id}`
    expect(row).toMatchObject({ role: 'user', is_active: true, scopes: null, email_verified: false })
    expect(answer.body.id).not.toBe('0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6')
  })

  test.each([
    ['as it was', 'jos\u00e9@example.com'],
    ['in capitals', 'JOS\u00c9@EXAMPLE.COM'],
    ['with spaces around', '  jos\u00e9@example.com\t'],
    ['decomposed', 'jose\u0301@example.com'],
    ['decomposed, in capitals, with spaces', ' JOSE\u0301@Example.com '],
  ])('of an e-mail that is taken answers 409, %s', async (_, email) => {
    await signUp({ email: 'jos\u00e9@example.com', password: PASSWORD })
    const before = await countUsers()
    expectProblem(await signUp({ email, password: 'another-password' }), 'email_taken')
    expect(await countUsers()).toBe(before)
    // The first password still logs in, and the second does not.
    expect((await logIn(email, PASSWORD)).status).toBe(200)
    expect((await logIn(email, 'another-password')).status).toBe(401)
  })

  test('fifty times at once for one e-mail makes one account', async () => {
    const email = freshEmail()
    /** A busy machine answers 503 to who has waited for four seconds, and makes nothing: the client comes again. */
    const signUpAtLast = async (json: unknown): Promise<Answer> => {
      const answer = await signUp(json)
      return answer.status === 503 ? signUpAtLast(json) : answer
    }
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        signUpAtLast({ email: i % 2 ? email : email.toUpperCase(), password: PASSWORD }),
      ),
    )
    const taken = answers.filter((answer) => answer.status === 409)
    expect(answers.filter((answer) => answer.status === 201)).toHaveLength(1)
    expect(taken).toHaveLength(49)
    for (const answer of taken) expectProblem(answer, 'email_taken')
    expect(await sql`SELECT id FROM latchkey.users WHERE email = ${email}`).toHaveLength(1)
  }, 240_000)

  test('answers 403 with SIGNUP=closed, and makes no account', async () => {
    const before = await countUsers()
    const json = { email: freshEmail(), password: PASSWORD }
    expectProblem(await call(closed, 'POST /auth/signup', { json }), 'signup_closed')
    expect(await countUsers()).toBe(before)
    expect((await signUp(json)).status).toBe(201)
    // Existing users can still log in.
    expect((await call(closed, 'POST /auth/login', { json })).status).toBe(200)
  })
})

describe('an e-mail at sign-up', () => {
  const local = (length: number) => `${'a'.repeat(length - '@example.com'.length)}@example.com`
  test.each([
    ['254 characters', local(254)],
    ['outside ASCII', '用户@例え.jp'],
    ['an emoji', '🔑@example.com'],
    ['a tag and a quote', "o'hara+tag@example.com"],
    ['a quote and SQL', `';drop_table_users;--@example.com`],
  ])('is accepted: %s', async (_, email) => {
    const answer = await signUp({ email, password: PASSWORD })
    expect([answer.status, answer.body.email]).toEqual([201, email])
    expect((await logIn(email, PASSWORD)).status).toBe(200)
  })

  test.each([
    ['255 characters', local(255)],
    ['far too long', local(100_000 / 2)],
    ['empty', ''],
    ['no @', 'user.example.com'],
    ['two @', 'a@b@example.com'],
    ['a space inside', 'us er@example.com'],
    ['a line break', 'user@example.com\r\nBcc: all@example.com'],
    ['NUL', 'us\0er@example.com'],
    ['a control character', 'us\u0007er@example.com'],
    ['a zero-width space', 'us\u200ber@example.com'],
    ['a right-to-left override', 'us\u202eer@example.com'],
    ['half of a pair', 'us\ud83der@example.com'],
    ['a letter of another script', '\u0430dmin@example.com'],
    ['full width', '\uff41dmin@example.com'],
    ['a dot at its end', 'admin@example.com.'],
    ['a tag', '<b>admin</b>@example.com'],
    ['a number', 5],
    ['a list', ['user@example.com']],
    ['an object', { $ne: null }],
    ['true', true],
  ])('is refused: %s', async (_, email) => {
    await expectRefused({ email, password: PASSWORD }, '/email')
  })

  test('that resembles another one is refused to an admin too; an existing one can log in', async () => {
    const admin = await addLoggedIn(service, sql, { role: 'admin' })
    const looking = '\u0430dmin@example.com'
    const make = (email: string) =>
      call(service, 'POST /users', {
        bearer: admin.access,
        json: { email, password: PASSWORD, role: 'admin' },
      })
    const refused = await make(looking)
    expectProblem(refused, 'validation_failed')
    expect(refused.body.errors.map(({ path }: { path: string }) => path)).toEqual(['/email'])
    const secretKey = service.config.secretKey?.reveal() ?? ''
    const env = { DATABASE_URL: service.databaseUrl, SECRET_KEY: secretKey }
    const typed = await runInProcess(['admin', 'create', '--email', looking], { env })
    expect([typed.code, typed.err]).toEqual([1, expect.stringContaining('one script')])
    expect((await make('admin@example.com')).status).toBe(201)

    const there = await addPerson(sql, { email: looking })
    const login = await call(service, 'POST /auth/login', {
      json: { email: there.email, password: PASSWORD },
    })
    expect(login.status).toBe(200)
    const me = await call(service, 'GET /auth/me', { bearer: login.body.access_token })
    expect(me.body.email).toBe(looking)
  })

  test.each([
    ['neither member', {}],
    ['null', null],
    ['a list', []],
    ['a text', 'user@example.com'],
    ['a null password', { email: 'x@example.com', password: null }],
    ['no password', { email: 'x@example.com' }],
    ['no e-mail', { password: PASSWORD }],
    ['a number as the password', { email: 'x@example.com', password: 1234567890 }],
    ['a list as the password', { email: 'x@example.com', password: [PASSWORD] }],
  ])('and a password are both required, as text: %s', async (_, json) => {
    await expectRefused(json)
  })
})

/** Expects a 422 that repeats nothing of the body, and no change. */
async function expectRefused(json: unknown, path?: string): Promise<Answer> {
  const before = await countUsers()
  const answer = await signUp(json)
  expectProblem(answer, 'validation_failed')
  expect(answer.text).not.toContain(PASSWORD)
  if (path !== undefined) expect(answer.body.errors[0].path).toBe(path)
  expect(await countUsers()).toBe(before)
  return answer
}

function logIn(email: string, password: string): Promise<Answer> {
  return call(service, 'POST /auth/login', { json: { email, password } })
}
