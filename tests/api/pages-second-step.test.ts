import { describe, expect, test } from 'bun:test'
import { ask, cookieOf, signIn } from '../support/browser.ts'
import { type Answer, call, newPerson } from '../support/client.ts'
import { expectProblem } from '../support/problem.ts'
import { codeOf, newEnrolled, wrongCodeOf } from '../support/second-factors.ts'
import { useService } from '../support/use-service.ts'

const service = useService()

const hiddenOf = ({ text }: Answer, name: string) =>
  new RegExp(`name="${name}" value="([^"]*)"`).exec(text)?.[1]?.replaceAll('&amp;', '&')
const isAlive = async (cookie: string | null) =>
  (await ask(service, 'POST /session/token', { headers: { cookie: cookie ?? '' } })).status === 200

type Someone = { email: string; password: string }
const begin = ({ email, password }: Someone, more: Record<string, string> = {}) =>
  ask(service, 'POST /login', { form: { email, password, ...more } })
const finish = (form: Record<string, string>) => ask(service, 'POST /login/verify', { form })

describe('/login of a person with a second factor', () => {
  test('answers 403 with the page of the second step, which holds the token, and sets no cookie', async () => {
    const person = await newEnrolled(service)
    const answer = await begin(person, { return_to: '/console?a=b&c' })
    expect([answer.status, answer.headers.get('set-cookie')]).toEqual([403, null])
    expect(hiddenOf(answer, 'mfa_token')).toStartWith('mfa_')
    expect(hiddenOf(answer, 'return_to')).toBe('/console?a=b&c')
    expect(answer.text).toContain('autocomplete="one-time-code"')
    expect(answer.text).toContain('name="recovery_code"')
    expect(answer.text).not.toContain('data-passkey="verify"')
  })

  test('goes on with a code, to the place that was asked for, with the cookie', async () => {
    const person = await newEnrolled(service)
    const page = await begin(person, { return_to: '/console', remember: 'true' })
    const form = { mfa_token: hiddenOf(page, 'mfa_token') ?? '', return_to: '/console' }
    const code = codeOf(service, person.secret)
    // As some apps show it.
    const answer = await finish({ ...form, code: `${code.slice(0, 3)} ${code.slice(3)}` })
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/console'])
    expect(answer.headers.get('set-cookie')).toContain('Max-Age=')
    expect(await isAlive(cookieOf(answer))).toBe(true)
  })

  test('goes on with a recovery code, once', async () => {
    const person = await newEnrolled(service)
    const [recovery_code = ''] = person.recoveryCodes
    const once = async () => {
      const mfa_token = hiddenOf(await begin(person), 'mfa_token') ?? ''
      return finish({ mfa_token, recovery_code })
    }
    expect((await once()).status).toBe(303)
    expect((await once()).status).toBe(403)
  })

  test('with a wrong code is the same page with a sentence, and the token stays good', async () => {
    const person = await newEnrolled(service)
    const mfa_token = hiddenOf(await begin(person), 'mfa_token') ?? ''
    const wrong = await finish({ mfa_token, code: wrongCodeOf(service, person.secret), return_to: '/a' })
    expect([wrong.status, wrong.headers.get('set-cookie')]).toEqual([403, null])
    expect(wrong.text).toContain('role="alert">The code is wrong, used or too old.')
    expect([hiddenOf(wrong, 'mfa_token'), hiddenOf(wrong, 'return_to')]).toEqual([mfa_token, '/a'])
    expect((await finish({ mfa_token })).status).toBe(422)
    expect((await finish({ mfa_token, response: '{"no":"passkey"}' })).status).toBe(403)
    expect((await finish({ mfa_token, response: 'no JSON' })).status).toBe(403)
    expect((await finish({ mfa_token, code: codeOf(service, person.secret) })).status).toBe(303)
  })

  test('with a token that is unknown, used or over begins again', async () => {
    const person = await newEnrolled(service)
    const mfa_token = hiddenOf(await begin(person), 'mfa_token') ?? ''
    expect((await finish({ mfa_token, code: codeOf(service, person.secret) })).status).toBe(303)
    for (const form of [{ mfa_token }, { mfa_token: 'mfa_unknown' }, {}]) {
      const answer = await finish({ ...form, code: '123456' } as Record<string, string>)
      expect(answer.status).toBe(401)
      expect(answer.text).toContain('name="password"')
      expect(answer.text).toContain('Sign in again.')
    }
  })

  test('that was begun by the API is not finished here, nor the other way round', async () => {
    const person = await newEnrolled(service)
    const code = codeOf(service, person.secret)
    const { email, password } = person
    const api = (await call(service, 'POST /auth/login', { json: { email, password } })).body.mfa_token
    expect((await finish({ mfa_token: api, code })).status).toBe(401)
    expectProblem(
      await ask(service, 'POST /session/mfa', { json: { mfa_token: api, code } }),
      'invalid_token',
    )
    const own = (await ask(service, 'POST /session', { json: { email, password } })).body.mfa_token
    expectProblem(
      await call(service, 'POST /auth/login/mfa', { json: { mfa_token: own, code } }),
      'invalid_token',
    )
    const done = await ask(service, 'POST /session/mfa', { json: { mfa_token: own, code } })
    expect([done.status, done.text]).toEqual([204, ''])
    expect(await isAlive(cookieOf(done))).toBe(true)
  })

  test('locked for wrong codes is 429 with Retry-After, also for a right one', async () => {
    const person = await newEnrolled(service)
    const mfa_token = hiddenOf(await begin(person), 'mfa_token') ?? ''
    const code = wrongCodeOf(service, person.secret)
    for (let n = 0; n < 5; n++) expect((await finish({ mfa_token, code })).status).toBe(403)
    const locked = await finish({ mfa_token, code: codeOf(service, person.secret) })
    expect(locked.status).toBe(429)
    expect(Number(locked.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(hiddenOf(locked, 'mfa_token')).toBe(mfa_token)
  })
})

describe('/login/verify', () => {
  test('opened by itself leads to the log-in', async () => {
    const answer = await call(service, 'GET /login/verify')
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/login'])
  })
})

describe('passkeys', () => {
  test('are offered where browsers have them, and refused alike by /session/passkey', async () => {
    expect((await call(service, 'GET /login')).text).toContain('data-passkey="login"')
    const response = {
      id: 'AA',
      rawId: 'AA',
      type: 'public-key',
      response: { clientDataJSON: 'e30', authenticatorData: 'AA', signature: 'AA' },
    }
    expectProblem(await ask(service, 'POST /session/passkey', { json: { response } }), 'invalid_login')
  })

  const byNumber = useService({ publicUrl: 'https://192.0.2.1' })
  test('are offered nowhere at an address of numbers', async () => {
    expect((await call(byNumber, 'GET /login')).text).not.toContain('data-passkey')
  })
})

describe('/login/enrol', () => {
  const strict = useService({ requireMfa: 'all' })
  const post = (cookie: string, form: Record<string, string> = {}) =>
    ask(strict, 'POST /login/enrol', { form, headers: { cookie } })

  test('is where a person is led who has to set up a second factor', async () => {
    const person = await newPerson(strict)
    const form = { email: person.email, password: person.password, return_to: '/console?a=b' }
    const answer = await ask(strict, 'POST /login', { form })
    const to = '/login/enrol?return_to=%2Fconsole%3Fa%3Db'
    expect([answer.status, answer.headers.get('location')]).toEqual([303, to])
    const headers = { cookie: cookieOf(answer) ?? '' }
    const again = await call(strict, 'GET /login?return_to=/console', { headers })
    expect(again.headers.get('location')).toBe('/login/enrol?return_to=%2Fconsole')
    const page = await call(strict, `GET ${to}`, { headers })
    expect(page.status).toBe(200)
    expect(hiddenOf(page, 'return_to')).toBe('/console?a=b')
    // A GET makes nothing.
    expect(page.text).not.toContain('<svg')
  })

  test('shows a QR code and the key, then the recovery codes, this once', async () => {
    const person = await newPerson(strict)
    const { cookie } = await signIn(strict, person)
    const begun = await post(cookie)
    expect(begun.status).toBe(200)
    expect(begun.text).toContain('<svg')
    const secret = (/Key: <code>([^<]*)</.exec(begun.text)?.[1] ?? '').replaceAll(' ', '')
    const wrong = await post(cookie, { code: wrongCodeOf(strict, secret) })
    expect(wrong.status).toBe(403)
    expect(wrong.text).toContain('name="code"')
    const done = await post(cookie, { code: codeOf(strict, secret), return_to: '/console' })
    expect(done.status).toBe(200)
    expect(done.text.match(/<li><code>[0-9A-Z-]{19}<\/code>/g)).toHaveLength(10)
    expect(done.text).toContain('href="/console"')
    const closed = await call(strict, 'GET /login/enrol', { headers: { cookie } })
    expect([closed.status, closed.headers.get('location')]).toEqual([303, '/console'])
    expect((await call(strict, 'POST /session/token', { headers: { cookie } })).status).toBe(403)
    const { body } = await ask(strict, 'POST /session/token', { headers: { cookie } })
    const me = await call(strict, 'GET /keys', { bearer: body.access_token })
    expect(me.status).toBe(200)
  })

  test('asks who is not signed in, or not lately, to sign in first', async () => {
    const to = '/login?return_to=%2Flogin%2Fenrol%3Fmax_age%3D600'
    const anonymous = await call(strict, 'GET /login/enrol')
    expect([anonymous.status, anonymous.headers.get('location')]).toEqual([303, to])
    const person = await newPerson(strict)
    const { cookie } = await signIn(strict, person)
    strict.advance(11 * 60_000)
    const late = await post(cookie)
    expect([late.status, late.headers.get('location')]).toEqual([303, to])
    // The log-in asks again, and does not go round in circles.
    expect((await call(strict, `GET ${to}`, { headers: { cookie } })).status).toBe(200)
    expectProblem(await call(strict, 'POST /login/enrol', { form: {}, headers: { cookie } }), 'cross_site')
  })
})
