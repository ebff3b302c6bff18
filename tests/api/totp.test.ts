import { describe, expect, test } from 'bun:test'
import { decodeJwt } from 'jose'
import { rewrapSecrets } from '../../src/core/second-factors/rewrap.ts'
import { secret } from '../../src/lib/secret.ts'
import { MINUTE_MS } from '../../src/lib/time.ts'
import { call, logIn, newPerson } from '../support/client.ts'
import { expectProblem } from '../support/problem.ts'
import { refresh } from '../support/refresh.ts'
import {
  awaitTimeInStep,
  beginLogIn,
  codeOf,
  enrolTotp,
  firstStep,
  newEnrolled,
  STEP_MS,
  secondStep,
  wrongCodeOf,
} from '../support/second-factors.ts'
import { startService } from '../support/service.ts'
import { useService, useSql } from '../support/use-service.ts'

const service = useService({ brandName: 'Acme & Söhne' })
const other = useService({}, service)
const sql = useSql(service)

const factorsOf = async (bearer: string) => (await call(service, 'GET /auth/mfa', { bearer })).body
const isGood = async (bearer: string) => (await call(service, 'GET /auth/me', { bearer })).status === 200
const auditOf = async (id: string, prefix = 'user.') =>
  (
    await sql`SELECT action, outcome, details FROM latchkey.audit_events
      WHERE target_id = ${id} AND action LIKE ${`${prefix}%`} ORDER BY id`
  ).map(({ action, outcome, details }) => ({ action, outcome, details }))

describe('setting up TOTP', () => {
  test('gives a secret, its address and a QR code, and after the first code ten recovery codes', async () => {
    const person = await newPerson(service)
    expect(await factorsOf(person.access)).toEqual({
      required: false,
      totp: null,
      passkeys: [],
      recovery_codes_left: 0,
    })
    const begun = await call(service, 'POST /auth/mfa/totp', { bearer: person.access })
    expect(begun.status).toBe(201)
    const { secret, otpauth_uri, qr_svg } = begun.body
    expect(secret).toMatch(/^[A-Z2-7]{32}$/)
    const address = new URL(otpauth_uri)
    expect(decodeURIComponent(address.pathname)).toBe(`/Acme & Söhne:${person.email}`)
    expect(Object.fromEntries(address.searchParams)).toMatchObject({
      secret,
      issuer: 'Acme & Söhne',
      algorithm: 'SHA1',
      digits: '6',
      period: '30',
    })
    expect(qr_svg).toStartWith('<svg')
    // A pending TOTP is not confirmed, so no log-in asks for it.
    expect((await factorsOf(person.access)).totp).toBeNull()
    expect((await firstStep(service, person)).status).toBe(200)

    const json = { code: codeOf(service, secret) }
    const confirmed = await call(service, 'POST /auth/mfa/totp/confirm', { bearer: person.access, json })
    expect(confirmed.status).toBe(200)
    expect(confirmed.body.recovery_codes).toHaveLength(10)
    expect(new Set(confirmed.body.recovery_codes).size).toBe(10)
    for (const code of confirmed.body.recovery_codes)
      expect(code).toMatch(/^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$/)
    const moment = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect(await factorsOf(person.access)).toMatchObject({
      totp: { created_at: moment },
      recovery_codes_left: 10,
    })
    expect(await auditOf(person.id, 'user.mfa')).toEqual([
      {
        action: 'user.mfa_added',
        outcome: 'success',
        details: { factor: 'totp', replaced: false, sessions_ended: 1 },
      },
    ])
  })

  test('stores no secret and no recovery code as it is', async () => {
    const person = await newEnrolled(service)
    const [row] = await sql`SELECT secret FROM latchkey.totp_secrets WHERE user_id = ${person.id}`
    const stored = Buffer.from(row?.secret)
    expect(stored.toString('latin1')).not.toContain(person.secret)
    const codes = await sql`SELECT encode(hash, 'escape') AS hash FROM latchkey.recovery_codes
      WHERE user_id = ${person.id}`
    expect(codes).toHaveLength(10)
    const logged = service.loggedText()
    for (const secret of [person.secret, ...person.recoveryCodes]) {
      expect(JSON.stringify(codes)).not.toContain(secret)
      expect(logged).not.toContain(secret)
    }
    const audit = JSON.stringify(await auditOf(person.id))
    expect(audit).not.toContain(person.secret)
  })

  test('a wrong code confirms nothing; nothing pending, or pending for too long, is a conflict', async () => {
    const person = await newPerson(service)
    const confirm = (code: string) =>
      call(service, 'POST /auth/mfa/totp/confirm', { bearer: person.access, json: { code } })
    expectProblem(await confirm('123456'), 'conflict')
    const { secret } = (await call(service, 'POST /auth/mfa/totp', { bearer: person.access })).body
    expectProblem(await confirm(wrongCodeOf(service, secret)), 'invalid_code')
    expect((await factorsOf(person.access)).totp).toBeNull()
    const newer = (await call(service, 'POST /auth/mfa/totp', { bearer: person.access })).body.secret
    expectProblem(await confirm(codeOf(service, secret)), 'invalid_code')
    await sql`UPDATE latchkey.totp_secrets SET created_at = created_at - interval '10 minutes 1 second'
      WHERE user_id = ${person.id}`
    expectProblem(await confirm(codeOf(service, newer)), 'conflict')
    const { secret: last } = (await call(service, 'POST /auth/mfa/totp', { bearer: person.access })).body
    expect((await confirm(codeOf(service, last))).status).toBe(200)
  })

  test('ends every other session and pending step; the session that asks goes on with the new amr', async () => {
    const person = await newPerson(service)
    const another = await logIn(service, person.email, person.password)
    await enrolTotp(service, person.access)
    expect(await isGood(another.access)).toBe(false)
    expectProblem(await refresh(service, another.refresh), 'invalid_token')
    expect(await isGood(person.access)).toBe(true)
    const renewed = await refresh(service, person.refresh)
    expect(decodeJwt(renewed.body.access_token).amr).toEqual(['mfa', 'otp', 'pwd'])
  })

  test('a replacement leaves the old one in force until it is confirmed, and no longer', async () => {
    const person = await newEnrolled(service)
    const { secret: next } = (await call(service, 'POST /auth/mfa/totp', { bearer: person.access })).body
    const byOld = await secondStep(service, await beginLogIn(service, person), {
      code: codeOf(service, person.secret),
    })
    expect(byOld.status).toBe(200)
    expectProblem(
      await secondStep(service, await beginLogIn(service, person), { code: codeOf(service, next) }),
      'invalid_code',
    )
    await awaitTimeInStep(service, 500)
    const json = { code: codeOf(service, next, -1) }
    const bearer = byOld.body.access_token
    const confirmed = await call(service, 'POST /auth/mfa/totp/confirm', { bearer, json })
    // The recovery codes are those of before.
    expect(confirmed.body).toEqual({})
    expect(await factorsOf(bearer)).toMatchObject({ recovery_codes_left: 10 })
    expectProblem(
      await secondStep(service, await beginLogIn(service, person), {
        code: codeOf(service, person.secret, 1),
      }),
      'invalid_code',
    )
    const byNew = await secondStep(service, await beginLogIn(service, person), {
      code: codeOf(service, next),
    })
    expect(byNew.status).toBe(200)
  })
})

describe('the second step', () => {
  test('the right password of somebody with a factor gives no token, but what the second step takes', async () => {
    const person = await newEnrolled(service)
    const answer = await firstStep(service, person)
    expect(answer.status).toBe(403)
    expect(answer.body).toMatchObject({ code: 'mfa_required', methods: ['totp', 'recovery_code'] })
    expect(answer.text).not.toContain('access_token')
    const done = await secondStep(service, answer.body.mfa_token, { code: codeOf(service, person.secret) })
    expect(done.status).toBe(200)
    expect(Object.keys(done.body).sort()).toEqual([
      'access_token',
      'expires_in',
      'refresh_token',
      'token_type',
    ])
    expect(decodeJwt(done.body.access_token)).toMatchObject({ sub: person.id, amr: ['mfa', 'otp', 'pwd'] })
    const { body } = await refresh(service, done.body.refresh_token)
    expect(decodeJwt(body.access_token).amr).toEqual(['mfa', 'otp', 'pwd'])
  })

  test('the token is used once, over after five minutes, and no answer to a wrong code uses it up', async () => {
    const person = await newEnrolled(service)
    const token = await beginLogIn(service, person)
    expectProblem(
      await secondStep(service, token, { code: wrongCodeOf(service, person.secret) }),
      'invalid_code',
    )
    expect((await secondStep(service, token, { code: codeOf(service, person.secret) })).status).toBe(200)
    const again = await secondStep(service, token, { code: codeOf(service, person.secret, 1) })
    expectProblem(again, 'invalid_token')
    expect(again.headers.get('www-authenticate')).toBeNull()
    const old = await beginLogIn(service, person)
    await sql`UPDATE latchkey.pending_steps SET expires_at = ${new Date(service.context.clock())}`
    expectProblem(
      await secondStep(service, old, { code: codeOf(service, person.secret, 1) }),
      'invalid_token',
    )
    expectProblem(await secondStep(service, 'mfa_guess', { code: '123456' }), 'invalid_token')
  })

  test('a step begun for a browser is not finished as an API session, and its code stays good', async () => {
    const person = await newEnrolled(service)
    const token = await beginLogIn(service, person)
    await sql`UPDATE latchkey.pending_steps SET kind = 'browser' WHERE user_id = ${person.id}`
    const code = codeOf(service, person.secret)
    expectProblem(await secondStep(service, token, { code }), 'invalid_token')
    await sql`UPDATE latchkey.pending_steps SET kind = 'api' WHERE user_id = ${person.id}`
    expect((await secondStep(service, token, { code })).status).toBe(200)
  })

  test.each([
    ['none', {}],
    ['two', { code: '123456', recovery_code: '0000-0000-0000-0000' }],
    ['an empty code', { code: '' }],
    ['a number', { code: 123456 }],
    ['an unknown member', { code: '123456', kind: 'browser' }],
    ['a response of nothing', { response: {} }],
    ['a code of 65 characters', { code: '1'.repeat(65) }],
  ])('422 uses up nothing: %s', async (_, proof) => {
    const person = await newEnrolled(service)
    const token = await beginLogIn(service, person)
    expectProblem(await secondStep(service, token, proof), 'validation_failed')
    expect((await secondStep(service, token, { code: codeOf(service, person.secret) })).status).toBe(200)
  })

  test.each([
    ['one step behind', -1, true],
    ['one step ahead', 1, true],
    ['two steps behind', -2, false],
    ['two steps ahead', 2, false],
  ])('a phone whose clock is %s', async (_, steps, isTaken) => {
    const person = await newEnrolled(service)
    // Behind every code that was accepted at the enrolment.
    service.advance(5 * STEP_MS)
    const token = await beginLogIn(service, person)
    const { status } = await secondStep(service, token, {
      code: codeOf(service, person.secret, steps),
    })
    expect(status).toBe(isTaken ? 200 : 403)
  })

  test('a code is good once, and none of an earlier step after it', async () => {
    const person = await newEnrolled(service)
    service.advance(5 * STEP_MS)
    const now = codeOf(service, person.secret)
    const before = codeOf(service, person.secret, -1)
    expect((await secondStep(service, await beginLogIn(service, person), { code: now })).status).toBe(200)
    const token = await beginLogIn(service, person)
    expectProblem(await secondStep(service, token, { code: now }), 'invalid_code')
    expectProblem(await secondStep(service, token, { code: before }), 'invalid_code')
    const next = await secondStep(service, token, { code: codeOf(service, person.secret, 1) })
    expect(next.status).toBe(200)
  })

  test('one code at once on two servers, with tokens of their own, signs in once', async () => {
    for (let round = 0; round < 5; round++) {
      const person = await newEnrolled(service)
      const tokens = await Promise.all([1, 2, 3, 4].map(() => beginLogIn(service, person)))
      const code = codeOf(service, person.secret)
      const answers = await Promise.all(
        tokens.map((token, i) => secondStep(i % 2 === 0 ? service : other, token, { code })),
      )
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 403, 403, 403])
    }
  })

  test('one token at once on two servers, by two factors, signs in once', async () => {
    for (let round = 0; round < 5; round++) {
      const person = await newEnrolled(service)
      const token = await beginLogIn(service, person)
      const [recovery_code] = person.recoveryCodes
      const answers = await Promise.all([
        secondStep(service, token, { code: codeOf(service, person.secret) }),
        secondStep(other, token, { recovery_code }),
      ])
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 401])
    }
  })
})

describe('recovery codes', () => {
  test('each signs in once, however it is typed, and says nothing of an authenticator app', async () => {
    const person = await newEnrolled(service)
    const [first = '', second = ''] = person.recoveryCodes
    const typed = ` ${first.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o').replaceAll('1', 'l')} `
    const done = await secondStep(service, await beginLogIn(service, person), { recovery_code: typed })
    expect(done.status).toBe(200)
    expect(decodeJwt(done.body.access_token).amr).toEqual(['mfa', 'pwd'])
    expect(await factorsOf(done.body.access_token)).toMatchObject({ recovery_codes_left: 9 })
    const token = await beginLogIn(service, person)
    expectProblem(await secondStep(service, token, { recovery_code: first }), 'invalid_code')
    expect((await secondStep(service, token, { recovery_code: second.replaceAll('-', '') })).status).toBe(200)
    expect((await auditOf(person.id)).filter(({ action }) => action.startsWith('user.recovery'))).toEqual([
      { action: 'user.recovery_code_used', outcome: 'success', details: { left: 9 } },
      { action: 'user.recovery_code_used', outcome: 'success', details: { left: 8 } },
    ])
  })

  test('one at once on two servers signs in once; another person’s never', async () => {
    const [person, stranger] = [await newEnrolled(service), await newEnrolled(service)]
    const tokens = [await beginLogIn(service, person), await beginLogIn(service, person)]
    const recovery_code = person.recoveryCodes[3]
    const answers = await Promise.all(
      tokens.map((token, i) => secondStep(i === 0 ? service : other, token, { recovery_code })),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 403])
    const token = await beginLogIn(service, stranger)
    expectProblem(
      await secondStep(service, token, { recovery_code: person.recoveryCodes[4] }),
      'invalid_code',
    )
  })

  test('new ones void the old ones, and end every other session', async () => {
    const person = await newEnrolled(service)
    const pending = await beginLogIn(service, person)
    const another = await secondStep(service, await beginLogIn(service, person), {
      code: codeOf(service, person.secret),
    })
    const bearer = person.access
    const renewed = await call(service, 'POST /auth/mfa/recovery-codes', { bearer })
    expect(renewed.status).toBe(201)
    expect(renewed.body.recovery_codes).toHaveLength(10)
    expect(await isGood(another.body.access_token)).toBe(false)
    expect(await isGood(bearer)).toBe(true)
    expectProblem(
      await secondStep(service, pending, { recovery_code: renewed.body.recovery_codes[0] }),
      'invalid_token',
    )
    const token = await beginLogIn(service, person)
    expectProblem(
      await secondStep(service, token, { recovery_code: person.recoveryCodes[0] }),
      'invalid_code',
    )
    const { status } = await secondStep(service, token, { recovery_code: renewed.body.recovery_codes[0] })
    expect(status).toBe(200)
    const none = await newPerson(service)
    expectProblem(await call(service, 'POST /auth/mfa/recovery-codes', { bearer: none.access }), 'conflict')
  })
})

describe('removing TOTP', () => {
  test('ends every other session, the recovery codes and the second step; amr is the password alone', async () => {
    const person = await newEnrolled(service)
    const another = await secondStep(service, await beginLogIn(service, person), {
      code: codeOf(service, person.secret),
    })
    expect((await call(service, 'DELETE /auth/mfa/totp', { bearer: person.access })).status).toBe(204)
    expect(await isGood(another.body.access_token)).toBe(false)
    expect(await factorsOf(person.access)).toMatchObject({ totp: null, recovery_codes_left: 0 })
    const { body } = await refresh(service, person.refresh)
    expect(decodeJwt(body.access_token).amr).toEqual(['pwd'])
    expect((await firstStep(service, person)).status).toBe(200)
    expectProblem(await call(service, 'DELETE /auth/mfa/totp', { bearer: person.access }), 'not_found')
  })

  test('a factor that is added while a password is being checked is asked for by that log-in', async () => {
    const person = await newPerson(service)
    const answers = await Promise.all([
      enrolTotp(service, person.access),
      ...Array.from({ length: 6 }, (_, i) => firstStep(i % 2 === 0 ? service : other, person)),
    ])
    const [, ...steps] = answers as [unknown, ...Awaited<ReturnType<typeof firstStep>>[]]
    // A session without the factor began before it, and their session has ended by now.
    for (const { status, body } of steps)
      if (status === 200) expect(await isGood(body.access_token)).toBe(false)
    expect((await firstStep(service, person)).status).toBe(403)
  })
})

describe('a rotation of SECRET_KEY', () => {
  const before = useService()
  const own = useSql(before)

  test('codes go on by the previous key, and after secrets rewrap by the new one alone', async () => {
    const person = await newEnrolled(before)
    const [old, next] = [before.config.secretKey, secret('another key that is long enough for it')]
    const both = await startService({ secretKey: next, secretKeyPrevious: old }, before)
    const first = await secondStep(both, await beginLogIn(both, person), {
      code: codeOf(both, person.secret),
    })
    expect(first.status).toBe(200)
    expect(await rewrapSecrets(both.context)).toEqual({ rewrapped: 1, totp_secrets: 1 })
    const alone = await startService({ secretKey: next, secretKeyPrevious: null }, before)
    const again = await secondStep(alone, await beginLogIn(alone, person), {
      code: codeOf(alone, person.secret, 1),
    })
    expect(again.status).toBe(200)
    // The old key decrypts nothing any more, which counts as no wrong code.
    const code = codeOf(before, person.secret, 1)
    expectProblem(await secondStep(before, await beginLogIn(before, person), { code }), 'unavailable')
    await Promise.all([both.stop(), alone.stop()])
    const [row] = await own`SELECT failures FROM latchkey.code_failures WHERE user_id = ${person.id}`
    expect(row?.failures).toBe(0)
  })
})

test('a wait of ten minutes after a log-in asks for recent authentication before any factor changes', async () => {
  const person = await newEnrolled(service)
  service.advance(10 * MINUTE_MS + 1000)
  for (const route of [
    'POST /auth/mfa/totp',
    'POST /auth/mfa/totp/confirm',
    'DELETE /auth/mfa/totp',
    'POST /auth/mfa/recovery-codes',
  ]) {
    const json = route.endsWith('confirm') ? { json: { code: '123456' } } : {}
    expectProblem(await call(service, route, { bearer: person.access, ...json }), 'reauthentication_required')
  }
})
