import { beforeAll, describe, expect, test } from 'bun:test'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { setPasswordFor } from '../../src/core/login/password.ts'
import { createAdmin, ensureFirstAdmin } from '../../src/core/users/accounts.ts'
import { Problem } from '../../src/lib/errors.ts'
import { secret } from '../../src/lib/secret.ts'
import { type Answer, call } from '../support/client.ts'
import { type AddedPerson, addLoggedIn, addPerson, PASSWORD, type Tokens } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { useService, useSql } from '../support/use-service.ts'

const service = useService({ publicUrl: 'https://keys.acme-widgets.test/auth' })
const sql = useSql(service)

const logIn = (email: string, password: string) =>
  call(service, 'POST /auth/login', { json: { email, password } })
const signUp = (email: string, password: string) =>
  call(service, 'POST /auth/signup', { json: { email, password } })
let addresses = 0
const freshEmail = () => `someone-${++addresses}@example.com`

/** Builds JSON by hand, because a client may escape any character of the password. */
function signUpRaw(email: string, passwordJson: string): Promise<Answer> {
  const raw = `{"email":${JSON.stringify(email)},"password":${passwordJson}}`
  return call(service, 'POST /auth/signup', { raw, headers: { 'content-type': 'application/json' } })
}

describe('an accepted password logs in, and a similar one does not', () => {
  test.each([
    ['8 bytes', 'vK8#qp2z', 'vK8#qp2'],
    ['72 bytes', pattern(72), pattern(71)],
    ['73 bytes, the last of which counts', pattern(73), `${pattern(72)}!`],
    ['1024 bytes, the last of which counts', pattern(1024), `${pattern(1023)}!`],
    ['1024 bytes of two-byte characters', 'éè'.repeat(256), 'éè'.repeat(255)],
    ['NUL inside: characters after NUL count', 'secret\0one', 'secret\0two'],
    ['NUL at the end: NUL counts', 'secretone\0', 'secretone'],
    ['control characters', '\u0001\u0002\u0003\u0004\u0005\u0006\u0007\u0008', '\u0001'.repeat(8)],
    ['spaces and one letter', `${' '.repeat(9)}x`, `${' '.repeat(8)}x`],
    ['digits that no list has', '9384761520', '9384761521'],
    ['signs that differ', '!?#*!?#*!', '!?#*!?#*?'],
    ['several common words', 'summer-horse-2026', 'summer-horse-2025'],
    ['a common word within a longer one', 'summertimely2026', 'summertimely2025'],
    ['look-alikes that hide no common word', 'k4rz0n-2026', 'karzon-2026'],
    ['a part of the e-mail among other words', 'someone-rides-trains', 'someone-rides'],
    ['spaces around it', ' qwzx-plomf ', 'qwzx-plomf'],
    ['eight emoji', '🔑🔒🔓🗝🔏🔐🛡🧱', '🔑🔒🔓🗝🔏🔐🛡🔑'],
    ['other letters of the same look', 'раsswоrd-xyz', 'password-xyz'],
    ['capitals', 'Correct-Horse', 'correct-horse'],
    ['quotes and backslashes', `"'\\\\";--\${}`, `"'\\";--\${}`],
    ['a common password as a part', 'password123-and-more', 'password123'],
  ])('%s', async (_, password, near) => {
    const email = freshEmail()
    expect((await signUp(email, password)).status).toBe(201)
    expectProblem(await logIn(email, near), 'invalid_login')
    expect((await logIn(email, password)).status).toBe(200)
  })

  test.each([
    ['set composed, typed decomposed', 'pässwörtchen'.normalize('NFC'), 'pässwörtchen'.normalize('NFD')],
    ['set decomposed, typed composed', 'crème-brûlée'.normalize('NFD'), 'crème-brûlée'.normalize('NFC')],
    ['Hangul', '한국어비밀번호입니다'.normalize('NFD'), '한국어비밀번호입니다'.normalize('NFC')],
    ['the Ångström sign', '\u212b-unit-of-length', '\u00c5-unit-of-length'],
  ])('in either form of its characters: %s', async (_, chosen, typed) => {
    const email = freshEmail()
    expect(chosen).not.toBe(typed)
    expect((await signUp(email, chosen)).status).toBe(201)
    expect((await logIn(email, typed)).status).toBe(200)
  })

  test('look-alikes that NFC distinguishes are different passwords', async () => {
    const email = freshEmail()
    expect((await signUp(email, 'ﬁnancial-times')).status).toBe(201)
    expectProblem(await logIn(email, 'financial-times'), 'invalid_login')
  })
})

describe('a password is refused:', () => {
  test.each([
    ['empty', ''],
    ['1 byte', 'a'],
    ['7 bytes', 'vK8#qp2'],
    ['7 emoji, of 28 bytes', '🔑'.repeat(7)],
    ['7 letters once composed', 'vK8#qpe\u0301'],
    ['1025 bytes', pattern(1025)],
    ['1025 bytes in 513 characters', `${'é'.repeat(512)}!`],
    ['1026 bytes once composed from more', 'e\u0301'.repeat(513)],
    ['8193 characters', 'vK8#qp2z-'.repeat(911)],
    ['common', 'password123'],
    ['common, in capitals', 'PASSWORD123'],
    ['common, of digits', '1234567890'],
    ['common, of one row of keys', 'qwertyuiop'],
    ['common, with digits and signs behind it', 'Password123!'],
    ['common, with digits and signs around it', '--2026-Password!?-2026--'],
    ['a season and a year', 'Summer2026!'],
    ['a month and a year', '2026.january'],
    ['a common word, with look-alikes', 'p@55w0rd'],
    ['a common word, with look-alikes at its ends', '$umm3r2026!'],
    ['a common word, with a look-alike and digits behind it', '4dm1n1234567'],
    ['a common word, with l spelled 1', 'we1c0me-2026'],
    ['a common word, with look-alikes as its last letters', 'princ3552026'],
    ['a common short word', 'test20262026'],
    ['one character again and again', 'zzzzzzzz'],
    ['one character again and again, in small and large', 'zZzZzZzZ'],
    ['one character again and again, beyond ASCII', '🔑'.repeat(12)],
    ['one control character again and again', '\u0001'.repeat(8)],
    ['blanks', ' '.repeat(9)],
    ['blanks of several kinds', ' \t \u00a0\u2003\n \t \u3000'],
    ["the service's name", 'Latchkey2026!'],
    ["the service's name, with look-alikes", 'l47chk3y'],
    ["the service's name twice", 'latchkey-latchkey'],
    ["a name of the service's host", 'Keys.Acme-Widgets1'],
    ['a part of the e-mail', 'Someone!2026'],
    ['parts of the e-mail', 'example.someone-1'],
    ['the e-mail without its sign', 'someone-example-com'],
    ['the e-mail with look-alikes', '50me0ne@3xample'],
  ])('%s', async (_, password) => {
    const email = freshEmail()
    const answer = await signUp(email, password)
    expectProblem(answer, 'validation_failed')
    expect(answer.body.errors).toEqual([{ path: '/password', message: expect.any(String) }])
    if (password.length > 1) expect(answer.text).not.toContain(password)
    expect(await sql`SELECT id FROM latchkey.users WHERE email = ${email}`).toHaveLength(0)
  })

  test.each([
    ['as it was', 'someone.odd@example.com', 'someone.odd@example.com'],
    ['in capitals', 'someone.other@example.com', 'Someone.Other@Example.com'],
    ['decomposed', 'ren\u00e9e@example.com', 'rene\u0301e@example.com'],
    ['to the e-mail as typed', ' Someone.Else@Example.com', 'Someone.Else@Example.com'],
  ])('equal to the e-mail, %s', async (_, email, password) => {
    const answer = await signUp(email, password)
    expectProblem(answer, 'validation_failed')
    expect(answer.body.errors[0].path).toBe('/password')
    // The control: the e-mail itself is accepted.
    expect((await signUp(email, 'vK8#qp2z')).status).toBe(201)
  })

  test.each([
    ['the first half of a pair', '"correct-\\ud83d-horse"'],
    ['the second half of a pair', '"correct-\\udd11-horse"'],
    ['two halves in the wrong order', '"correct-\\udd11\\ud83d-horse"'],
  ])('no Unicode text: %s', async (_, json) => {
    const email = freshEmail()
    expectProblem(await signUpRaw(email, json), 'validation_failed')
    expect((await signUpRaw(email, '"correct-\\ud83d\\udd11-horse"')).status).toBe(201)
    expect((await logIn(email, 'correct-🔑-horse')).status).toBe(200)
  })

  test('shorter than PASSWORD_MIN_LENGTH', async () => {
    const strict = await startService({ passwordMinLength: 12 }, service)
    const signUpThere = (password: string) =>
      call(strict, 'POST /auth/signup', { json: { email: 'strict@example.com', password } })
    const answer = await signUpThere('vK8#qp2zx1A')
    expectProblem(answer, 'validation_failed')
    expect(answer.body.errors[0].message).toContain('12')
    expect((await signUpThere('vK8#qp2zx1Ab')).status).toBe(201)
    await strict.stop()
  })
})

describe('a bad password is refused wherever one is set, with the reason', () => {
  let admin: AddedPerson & Tokens
  beforeAll(async () => {
    admin = await addLoggedIn(service, sql, { role: 'admin' })
  })
  const GOOD = 'a-quite-unheard-of-one'
  const refused: [what: string, password: string, reason: string][] = [
    ['a usual pattern', 'Summer2026!', 'Is a common password or word but for digits, signs and look-alikes'],
    ['one character', '77777777', 'Must not be one character again and again'],
    ['blanks', ' '.repeat(12), 'Must not be blank'],
    [
      "the service's name",
      'Latchkey1!',
      "Must not be made of the service's name or parts of the e-mail address",
    ],
  ]
  type Refusal = { path: string; message: string }
  /** Sets a password in some way, and gives the refusal, or null on success. */
  const ways: Record<string, (password: string) => Promise<Refusal | null>> = {
    'at the sign-up': async (password) => refusalOf(await signUp(freshEmail(), password)),
    'of an account that an admin makes': async (password) => {
      const json = { email: freshEmail(), password }
      return refusalOf(await call(service, 'POST /users', { bearer: admin.access, json }))
    },
    'at a change': async (new_password) => {
      const { access: bearer } = await addLoggedIn(service, sql)
      const json = { current_password: PASSWORD, new_password }
      return refusalOf(await call(service, 'POST /auth/password', { bearer, json }))
    },
    'at a reset': async (new_password) => {
      const { id } = await addPerson(sql)
      const issued = await call(service, `POST /users/${id}/password-reset`, { bearer: admin.access })
      const json = { token: issued.body.token, new_password }
      return refusalOf(await call(service, 'POST /auth/password-reset', { json }))
    },
    'of an admin that an operator makes': (password) =>
      thrownBy(createAdmin(service.context, SYSTEM, { email: freshEmail(), password })),
    'that an operator sets': async (password) => {
      const { id } = await addPerson(sql)
      return thrownBy(setPasswordFor(service.context, SYSTEM, id, password, { revokesKeys: false }))
    },
    'of the first admin': async (password) => {
      const settings = { adminEmail: freshEmail(), adminPassword: secret(password) }
      const first = await startService(settings)
      return thrownBy(ensureFirstAdmin(first.context)).finally(first.stop)
    },
  }
  for (const [where, set] of Object.entries(ways)) {
    test(`${where}`, async () => {
      const path = /change|reset/.test(where) ? '/new_password' : '/password'
      for (const [, password, message] of refused) expect(await set(password)).toEqual({ path, message })
      expect(await set(GOOD)).toBeNull()
    })
  }

  function refusalOf(answer: Answer): Refusal | null {
    if (answer.status < 300) return null
    expectProblem(answer, 'validation_failed')
    return answer.body.errors[0]
  }
  async function thrownBy(work: Promise<unknown>): Promise<Refusal | null> {
    try {
      await work
      return null
    } catch (error) {
      return (error instanceof Problem && error.extra.errors?.[0]) || Promise.reject(error)
    }
  }
})

describe('every text as the password of a log-in is answered', () => {
  const email = 'typed-at@example.com'
  beforeAll(async () => {
    await signUp(email, 'correct-horse-battery')
  })

  test.each([
    ['empty', ''],
    ['1 byte', 'a'],
    ['1025 bytes', pattern(1025)],
    ['NUL alone', '\0'],
    ['half of a pair', 'correct-horse-\ud83d'],
    ['a replacement character', 'correct-horse-battery\ufffd'],
  ])('%s is 401', async (_, password) => {
    expectProblem(await logIn(email, password), 'invalid_login')
  })

  test('a password beyond the schema is 422, known or not', async () => {
    for (const each of [email, 'nobody-at-all@example.com'])
      expectProblem(await logIn(each, 'a'.repeat(8193)), 'validation_failed')
  })

  test('and the right password still logs in', async () => {
    expect((await logIn(email, 'correct-horse-battery')).status).toBe(200)
  })
})

/** A text of so many bytes without a repeated pattern. */
function pattern(bytes: number): string {
  return Array.from(
    { length: bytes },
    (_, i) => 'abcdefghijklmnopqrstuvwxyz0123456789-'[(i * i + i) % 37],
  ).join('')
}
