import { describe, expect, test } from 'bun:test'
import { decodeJwt } from 'jose'
import { MINUTE_MS } from '../../src/lib/time.ts'
import { createAuthenticator, type Misbehaviour } from '../support/authenticator.ts'
import { call, logIn, newPerson, type Person } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { refresh } from '../support/refresh.ts'
import { codeOf, enrolTotp, firstStep, newEnrolled, secondStep } from '../support/second-factors.ts'
import type { TestService } from '../support/service.ts'
import { useService, useSql } from '../support/use-service.ts'

const service = useService({ publicUrl: 'https://auth.example.com', brandName: 'Acme' })
const other = useService({ publicUrl: 'https://auth.example.com' }, service)
const sql = useSql(service)

const ORIGIN = 'https://auth.example.com'
type Passkey = ReturnType<typeof createAuthenticator>

/** Enrols a passkey in the session that asks. */
async function enrol(
  bearer: string,
  passkey: Passkey,
  { wrong = {}, name = 'laptop' }: { wrong?: Misbehaviour; name?: string } = {},
) {
  const options = await call(service, 'POST /auth/passkeys/options', { bearer })
  if (options.status !== 200) throw new Error(`Options answered ${options.status}: ${options.text}`)
  const json = { name, response: passkey.create(options.body, wrong) }
  return call(service, 'POST /auth/passkeys', { bearer, json })
}

async function newWithPasskey(options: Parameters<typeof createAuthenticator>[1] = {}) {
  const person = await newPerson(service)
  const passkey = createAuthenticator(ORIGIN, options)
  const made = await enrol(person.access, passkey)
  if (made.status !== 201) throw new Error(`Enrolment answered ${made.status}: ${made.text}`)
  return { ...person, passkey, passkeyId: made.body.id as string, recoveryCodes: made.body.recovery_codes }
}

const loginOptions = async (mfa_token?: string, at: TestService = service) =>
  (await call(at, 'POST /auth/passkeys/login/options', { json: { ...(mfa_token && { mfa_token }) } })).body
const logInBy = async (passkey: Passkey, wrong: Misbehaviour = {}, at: TestService = service) =>
  call(at, 'POST /auth/passkeys/login', { json: { response: passkey.get(await loginOptions(), wrong) } })
const secondStepBy = async (person: Person, passkey: Passkey, wrong: Misbehaviour = {}) => {
  const { mfa_token } = (await firstStep(service, person)).body
  return secondStep(service, mfa_token, { response: passkey.get(await loginOptions(mfa_token), wrong) })
}
const auditOf = async (id: string, action: string) =>
  (
    await sql`SELECT details FROM latchkey.audit_events WHERE target_id = ${id} AND action = ${action} ORDER BY id`
  ).map(({ details }) => details)

describe('enrolling a passkey', () => {
  test('is asked for by the options that browsers know', async () => {
    const person = await newWithPasskey()
    const { status, body } = await call(service, 'POST /auth/passkeys/options', { bearer: person.access })
    expect(status).toBe(200)
    const { challenge, ...rest } = body
    expect(Buffer.from(challenge, 'base64url')).toHaveLength(32)
    const userId = Buffer.from(person.id.replaceAll('-', ''), 'hex').toString('base64url')
    expect(rest).toEqual({
      rp: { id: 'auth.example.com', name: 'Acme' },
      user: { id: userId, name: person.email, displayName: person.email },
      pubKeyCredParams: [-7, -8, -257].map((alg) => ({ type: 'public-key', alg })),
      timeout: 300_000,
      attestation: 'none',
      authenticatorSelection: {
        residentKey: 'required',
        requireResidentKey: true,
        userVerification: 'required',
      },
      excludeCredentials: [
        {
          id: person.passkey.credentialId.toString('base64url'),
          type: 'public-key',
          transports: ['internal'],
        },
      ],
    })
  })

  test.each([['ES256' as const], ['EdDSA' as const]])(
    '%s: the first one brings recovery codes and ends other sessions',
    async (algorithm) => {
      const person = await newPerson(service)
      const another = await logIn(service, person.email, person.password)
      const made = await enrol(person.access, createAuthenticator(ORIGIN, { algorithm }), { name: 'ключ 🔑' })
      expect(made.status).toBe(201)
      expect(made.body.recovery_codes).toHaveLength(10)
      expect((await call(service, 'GET /auth/me', { bearer: another.access })).status).toBe(401)
      const { body } = await call(service, 'GET /auth/mfa', { bearer: person.access })
      expect(body.passkeys).toEqual([
        {
          id: made.body.id,
          name: 'ключ 🔑',
          created_at: made.body.created_at,
          last_used_at: null,
          backed_up: false,
          suspended: false,
        },
      ])
      const renewed = await refresh(service, person.refresh)
      expect(decodeJwt(renewed.body.access_token).amr).toEqual(['hwk', 'mfa', 'pwd', 'user'])
      const second = await enrol(person.access, createAuthenticator(ORIGIN))
      expect([second.status, second.body.recovery_codes]).toEqual([201, undefined])
      expect(await auditOf(person.id, 'user.mfa_added')).toEqual([
        { factor: 'passkey', name: 'ключ 🔑', replaced: false, sessions_ended: 1 },
        { factor: 'passkey', name: 'laptop', replaced: false, sessions_ended: 0 },
      ])
    },
  )

  test.each<[string, Misbehaviour]>([
    ['another origin', { origin: 'https://evil.example' }],
    ['a subdomain’s origin', { origin: 'https://www.auth.example.com' }],
    ['another port', { origin: 'https://auth.example.com:8443' }],
    ['another RP ID', { rpId: 'example.com' }],
    ['a challenge of its own', { challenge: Buffer.alloc(32, 7).toString('base64url') }],
    ['an assertion’s type', { type: 'webauthn.get' }],
    ['no user verification', { flags: 0x01 }],
    ['no user presence', { flags: 0x04 }],
    ['an algorithm that was not offered', { alg: -35 }],
    ['a statement to no attestation', { attStmt: new Map([['sig', new Uint8Array([1])]]) }],
    [
      'an attestation that names certificates',
      { fmt: 'packed', attStmt: new Map([['x5c', new Uint8Array([1])]]) },
    ],
    ['an attestation whose checks would ask the network', { fmt: 'android-key' }],
    ['an unknown attestation', { fmt: 'fortune' }],
  ])('is refused with %s', async (_, wrong) => {
    const person = await newPerson(service)
    const passkey = createAuthenticator(ORIGIN)
    expectProblem(await enrol(person.access, passkey, { wrong }), 'invalid_code')
    expect((await call(service, 'GET /auth/mfa', { bearer: person.access })).body.passkeys).toEqual([])
    expect((await enrol(person.access, createAuthenticator(ORIGIN))).status).toBe(201)
  })

  test('uses its challenge up, also by a failed try; it is over after five minutes and of one session', async () => {
    const person = await newPerson(service)
    const bearer = person.access
    const options = async () => (await call(service, 'POST /auth/passkeys/options', { bearer })).body
    const send = (response: object, by = bearer) =>
      call(service, 'POST /auth/passkeys', { bearer: by, json: { name: 'laptop', response } })
    const first = await options()
    expectProblem(await send(createAuthenticator(ORIGIN).create(first, { flags: 0 })), 'invalid_code')
    expectProblem(await send(createAuthenticator(ORIGIN).create(first)), 'invalid_code')
    const old = await options()
    await sql`UPDATE latchkey.passkey_challenges SET expires_at = ${new Date(service.context.clock())}
      WHERE user_id = ${person.id}`
    expectProblem(await send(createAuthenticator(ORIGIN).create(old)), 'invalid_code')
    const another = await logIn(service, person.email, person.password)
    expectProblem(
      await send(createAuthenticator(ORIGIN).create(await options()), another.access),
      'invalid_code',
    )
    const stranger = await newPerson(service)
    expectProblem(
      await send(createAuthenticator(ORIGIN).create(await options()), stranger.access),
      'invalid_code',
    )
    // A challenge of a log-in enrols nothing.
    const login = { ...(await options()), challenge: (await loginOptions()).challenge }
    expectProblem(await send(createAuthenticator(ORIGIN).create(login)), 'invalid_code')
    expect((await send(createAuthenticator(ORIGIN).create(await options()))).status).toBe(201)
  })

  test('one challenge at once on two servers enrols once', async () => {
    const person = await newPerson(service)
    const { body } = await call(service, 'POST /auth/passkeys/options', { bearer: person.access })
    const answers = await Promise.all(
      [service, other, service, other].map((at) => {
        const json = { name: 'laptop', response: createAuthenticator(ORIGIN).create(body) }
        return call(at, 'POST /auth/passkeys', { bearer: person.access, json })
      }),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 403, 403, 403])
  })

  test('refuses one that is enrolled already, for whomever, and the twenty-first', async () => {
    const person = await newWithPasskey()
    const again = await enrol(person.access, person.passkey)
    expectProblem(again, 'conflict')
    const stranger = await newPerson(service)
    expectProblem(await enrol(stranger.access, person.passkey), 'conflict')
    await sql`INSERT INTO latchkey.passkeys
      (id, user_id, name, credential_id, public_key, sign_count, transports, is_backed_up, created_at)
      SELECT gen_random_uuid(), ${person.id}, 'x', decode(md5(n::text || ${person.id}), 'hex'), '\\x00', 0, '{}', false, now()
      FROM generate_series(1, 18) AS n`
    const { body } = await call(service, 'POST /auth/passkeys/options', { bearer: person.access })
    expect((await enrol(person.access, createAuthenticator(ORIGIN))).status).toBe(201)
    expectProblem(
      await call(service, 'POST /auth/passkeys/options', { bearer: person.access }),
      'quota_exceeded',
    )
    const json = { name: 'laptop', response: createAuthenticator(ORIGIN).create(body) }
    expectProblem(
      await call(service, 'POST /auth/passkeys', { bearer: person.access, json }),
      'quota_exceeded',
    )
  })

  test('a passkey is renamed and removed by its user alone', async () => {
    const [person, stranger] = [await newWithPasskey(), await newWithPasskey()]
    const route = `/auth/passkeys/${person.passkeyId}`
    const rename = (bearer: string, name: unknown) =>
      call(service, `PATCH ${route}`, { bearer, json: { name } })
    expectProblem(await rename(stranger.access, 'mine'), 'not_found')
    expectProblem(await call(service, `DELETE ${route}`, { bearer: stranger.access }), 'not_found')
    expectProblem(await call(service, 'DELETE /auth/passkeys/x', { bearer: person.access }), 'not_found')
    for (const name of ['', 'x'.repeat(101), 'a\u0000b', null])
      expectProblem(await rename(person.access, name), 'validation_failed')
    const renamed = await rename(person.access, '<b>phone</b>')
    expect([renamed.status, renamed.body.name]).toEqual([200, '<b>phone</b>'])
    expect((await call(service, `DELETE ${route}`, { bearer: person.access })).status).toBe(204)
    expectProblem(await logInBy(person.passkey), 'invalid_login')
    expect((await firstStep(service, person)).status).toBe(200)
    const { body } = await refresh(service, person.refresh)
    expect(decodeJwt(body.access_token).amr).toEqual(['pwd'])
  })

  test('the last passkey of an account without a password stays', async () => {
    const person = await newWithPasskey()
    await enrolTotp(service, person.access)
    await sql`UPDATE latchkey.users SET password_hash = NULL WHERE id = ${person.id}`
    const route = `DELETE /auth/passkeys/${person.passkeyId}`
    expectProblem(await call(service, route, { bearer: person.access }), 'conflict')
    expect((await enrol(person.access, createAuthenticator(ORIGIN))).status).toBe(201)
    expect((await call(service, route, { bearer: person.access })).status).toBe(204)
  })
})

describe('a log-in by passkey', () => {
  test.each<[string, Parameters<typeof createAuthenticator>[1] & object, string[]]>([
    ['bound to its device', { isBackedUp: false }, ['hwk', 'mfa', 'user']],
    ['synchronised', { isBackedUp: true }, ['mfa', 'swk', 'user']],
    ['EdDSA', { algorithm: 'EdDSA' }, ['hwk', 'mfa', 'user']],
    ['one that does not count', { counts: false }, ['hwk', 'mfa', 'user']],
  ])('%s is both factors', async (_, options, amr) => {
    const person = await newWithPasskey(options)
    for (let i = 0; i < 3; i++) {
      const done = await logInBy(person.passkey)
      expect(done.status).toBe(200)
      expect(decodeJwt(done.body.access_token)).toMatchObject({ sub: person.id, amr })
    }
    const { body } = await call(service, 'GET /auth/mfa', { bearer: person.access })
    expect(body.passkeys[0]).toMatchObject({ backed_up: options.isBackedUp ?? false, suspended: false })
    expect(Date.parse(body.passkeys[0].last_used_at)).toBeGreaterThan(Date.now() - MINUTE_MS)
  })

  test('begins with no name of anybody', async () => {
    const { challenge, ...rest } = await loginOptions()
    expect(rest).toEqual({ rpId: 'auth.example.com', timeout: 300_000, userVerification: 'required' })
    expect(challenge).not.toBe((await loginOptions()).challenge)
  })

  test.each<[string, Misbehaviour]>([
    ['another origin', { origin: 'https://evil.example' }],
    ['plain http', { origin: 'http://auth.example.com' }],
    ['another RP ID', { rpId: 'evil.example' }],
    ['a challenge of its own', { challenge: Buffer.alloc(32, 7).toString('base64url') }],
    ['a registration’s type', { type: 'webauthn.create' }],
    ['no user verification', { flags: 0x01 }],
    ['a signature of another key', { forged: true }],
    ['no user handle', { userHandle: null }],
    ['another’s user handle', { userHandle: Buffer.alloc(16, 1).toString('base64url') }],
  ])('is refused alike with %s', async (_, wrong) => {
    const person = await newWithPasskey()
    const refused = await logInBy(person.passkey, wrong)
    expectProblem(refused, 'invalid_login')
    const { request_id: _id, ...body } = refused.body
    const { request_id, ...unknown } = (await logInBy(createAuthenticator(ORIGIN))).body
    expect(body).toEqual(unknown)
    expect((await logInBy(person.passkey)).status).toBe(200)
  })

  test('uses its challenge up, is over after five minutes, and takes no challenge of another purpose', async () => {
    const person = await newWithPasskey()
    const send = (response: object) => call(service, 'POST /auth/passkeys/login', { json: { response } })
    const options = await loginOptions()
    expect((await send(person.passkey.get(options))).status).toBe(200)
    expectProblem(await send(person.passkey.get(options)), 'invalid_login')
    const failed = await loginOptions()
    expectProblem(await send(person.passkey.get(failed, { forged: true })), 'invalid_login')
    expectProblem(await send(person.passkey.get(failed)), 'invalid_login')
    const old = await loginOptions()
    await sql`UPDATE latchkey.passkey_challenges SET expires_at = ${new Date(service.context.clock())}`
    expectProblem(await send(person.passkey.get(old)), 'invalid_login')
    const { mfa_token } = (await firstStep(service, person)).body
    expectProblem(await send(person.passkey.get(await loginOptions(mfa_token))), 'invalid_login')
    const again = await call(service, 'POST /auth/reauthenticate/options', { bearer: person.access })
    expectProblem(await send(person.passkey.get(again.body)), 'invalid_login')
  })

  test('of a disabled user is the same refusal, and is audited', async () => {
    const person = await newWithPasskey()
    await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${person.id}`
    expectProblem(await logInBy(person.passkey), 'invalid_login')
    expect(await auditOf(person.id, 'user.login_failed')).toEqual([{ method: 'passkey' }])
    await sql`UPDATE latchkey.users SET is_active = true WHERE id = ${person.id}`
    expect((await logInBy(person.passkey)).status).toBe(200)
  })

  test('or its removal at the same moment: one comes first, and no session stands on a passkey that is gone', async () => {
    for (let round = 0; round < 8; round++) {
      const person = await newWithPasskey()
      const response = person.passkey.get(await loginOptions())
      const at = round % 2 === 0 ? service : other
      const [done, removed] = await Promise.all([
        call(at, 'POST /auth/passkeys/login', { json: { response } }),
        call(service, `DELETE /auth/passkeys/${person.passkeyId}`, { bearer: person.access }),
      ])
      expect(removed.status).toBe(204)
      expect([200, 401]).toContain(done.status)
      if (done.status === 200)
        expect((await call(at, 'GET /auth/me', { bearer: done.body.access_token })).status).toBe(401)
    }
  })
})

describe('a passkey as a second step', () => {
  test('is offered by the first, with the passkeys of that user alone', async () => {
    const person = await newWithPasskey()
    const { body } = await firstStep(service, person)
    expect(body.methods).toEqual(['passkey', 'recovery_code'])
    const options = await loginOptions(body.mfa_token)
    expect(options.allowCredentials.map(({ id }: { id: string }) => id)).toEqual([
      person.passkey.credentialId.toString('base64url'),
    ])
    const done = await secondStep(service, body.mfa_token, { response: person.passkey.get(options) })
    expect(decodeJwt(done.body.access_token)).toMatchObject({ amr: ['hwk', 'mfa', 'pwd', 'user'] })
    const unknown = await call(service, 'POST /auth/passkeys/login/options', { json: { mfa_token: 'mfa_x' } })
    expectProblem(unknown, 'invalid_token')
    expect(unknown.headers.get('www-authenticate')).toBeNull()
  })

  test('needs no user handle, and takes no wrong one', async () => {
    const person = await newWithPasskey()
    expect((await secondStepBy(person, person.passkey, { userHandle: null })).status).toBe(200)
    const wrong = Buffer.alloc(16, 1).toString('base64url')
    expectProblem(await secondStepBy(person, person.passkey, { userHandle: wrong }), 'invalid_code')
  })

  test('takes no passkey of another, no challenge of another step, and nothing wrong', async () => {
    const [person, stranger] = [await newWithPasskey(), await newWithPasskey()]
    expectProblem(await secondStepBy(person, stranger.passkey), 'invalid_code')
    expectProblem(
      await secondStepBy(person, person.passkey, { origin: 'https://evil.example' }),
      'invalid_code',
    )
    expectProblem(await secondStepBy(person, person.passkey, { forged: true }), 'invalid_code')
    const tokens = [
      (await firstStep(service, person)).body.mfa_token,
      (await firstStep(service, person)).body.mfa_token,
    ]
    const response = person.passkey.get(await loginOptions(tokens[0]))
    expectProblem(await secondStep(service, tokens[1], { response }), 'invalid_code')
    const bare = person.passkey.get(await loginOptions())
    expectProblem(await secondStep(service, tokens[1], { response: bare }), 'invalid_code')
    const fresh = person.passkey.get(await loginOptions(tokens[1]))
    expect((await secondStep(service, tokens[1], { response: fresh })).status).toBe(200)
  })

  test('works while codes are locked', async () => {
    const person = await newWithPasskey()
    const { mfa_token } = (await firstStep(service, person)).body
    for (let i = 0; i < 5; i++) await secondStep(service, mfa_token, { recovery_code: '0000-0000-0000-0000' })
    expectProblem(
      await secondStep(service, mfa_token, { recovery_code: person.recoveryCodes[0] }),
      'too_many_attempts',
    )
    expect((await secondStepBy(person, person.passkey)).status).toBe(200)
    expect((await logInBy(person.passkey)).status).toBe(200)
  })
})

describe('re-authentication by passkey', () => {
  test('takes the answer to a challenge of this session, and adds to its amr', async () => {
    const person = await newEnrolled(service)
    const bearer = person.access
    const options = (by = bearer) => call(service, 'POST /auth/reauthenticate/options', { bearer: by })
    expectProblem(await options(), 'conflict')
    const passkey = createAuthenticator(ORIGIN)
    expect((await enrol(bearer, passkey)).status).toBe(201)
    await sql`UPDATE latchkey.sessions SET auth_time = now() - interval '11 minutes' WHERE user_id = ${person.id}`
    const prove = (response: object, by = bearer) =>
      call(service, 'POST /auth/reauthenticate', { bearer: by, json: { response } })
    const another = await secondStep(service, (await firstStep(service, person)).body.mfa_token, {
      code: codeOf(service, person.secret),
    })
    const foreign = passkey.get((await options(another.body.access_token)).body)
    expectProblem(await prove(foreign), 'invalid_code')
    expectProblem(await prove(passkey.get((await options()).body, { flags: 0x01 })), 'invalid_code')
    expect((await prove(passkey.get((await options()).body))).status).toBe(200)
    expect((await call(service, 'POST /auth/mfa/recovery-codes', { bearer })).status).toBe(201)
    const { body } = await refresh(service, person.refresh)
    expect(decodeJwt(body.access_token).amr).toEqual(['hwk', 'mfa', 'otp', 'pwd', 'user'])
  })
})

describe('a sign count that does not grow', () => {
  test.each([
    ['back', 3],
    ['the same', 7],
    ['to zero', 0],
  ])('refuses the use, and suspends the passkey: %s', async (_, signCount) => {
    const person = await newWithPasskey()
    expect((await logInBy(person.passkey, { signCount: 7 })).status).toBe(200)
    expectProblem(await logInBy(person.passkey, { signCount }), 'invalid_login')
    expect(await auditOf(person.id, 'user.passkey_suspended')).toEqual([
      { passkey_id: person.passkeyId, name: 'laptop' },
    ])
    // From then on no count helps, neither alone nor as a second step.
    expectProblem(await logInBy(person.passkey, { signCount: 100 }), 'invalid_login')
    const first = await firstStep(service, person)
    // It still counts as a second factor, and is not offered.
    expect(first.body).toMatchObject({ code: 'mfa_required', methods: ['recovery_code'] })
    const [recovery_code] = person.recoveryCodes
    const { body } = await secondStep(service, first.body.mfa_token, { recovery_code })
    const bearer = body.access_token
    expect((await call(service, 'GET /auth/mfa', { bearer })).body.passkeys).toMatchObject([
      { suspended: true },
    ])
    expect((await call(service, `DELETE /auth/passkeys/${person.passkeyId}`, { bearer })).status).toBe(204)
  })

  test('is believed of a genuine signature alone: nobody else has a passkey suspended', async () => {
    const person = await newWithPasskey()
    expect((await logInBy(person.passkey, { signCount: 7 })).status).toBe(200)
    expectProblem(await logInBy(person.passkey, { signCount: 3, forged: true }), 'invalid_login')
    expect(await auditOf(person.id, 'user.passkey_suspended')).toEqual([])
    expect((await logInBy(person.passkey, { signCount: 8 })).status).toBe(200)
  })

  test('at the second step and at re-authentication, too', async () => {
    const person = await newWithPasskey()
    expect((await secondStepBy(person, person.passkey, { signCount: 7 })).status).toBe(200)
    expectProblem(await secondStepBy(person, person.passkey, { signCount: 7 }), 'invalid_code')
    expect(await auditOf(person.id, 'user.passkey_suspended')).toHaveLength(1)
    // Suspended, it is no way to re-authenticate.
    expectProblem(
      await call(service, 'POST /auth/reauthenticate/options', { bearer: person.access }),
      'conflict',
    )
  })
})

describe('where browsers have no passkeys', () => {
  for (const publicUrl of [
    'http://auth.example.com',
    'http://127.0.0.1:8000',
    'https://[2001:db8::1]',
    'https://192.0.2.7',
  ]) {
    describe(publicUrl, () => {
      const bare = useService({ publicUrl })
      const bareSql = useSql(bare)
      test('every route of them is a conflict, and the second step offers none', async () => {
        const person = await addLoggedIn(bare, bareSql)
        const bearer = person.access
        const response = createAuthenticator(ORIGIN).get({ challenge: 'AA', rpId: 'x' })
        const registration = createAuthenticator(ORIGIN).create({
          challenge: 'AA',
          rp: { id: 'x' },
          user: { id: 'AA' },
        })
        const answers = [
          await call(bare, 'POST /auth/passkeys/options', { bearer }),
          await call(bare, 'POST /auth/passkeys', { bearer, json: { name: 'x', response: registration } }),
          await call(bare, `PATCH /auth/passkeys/${Bun.randomUUIDv7()}`, { bearer, json: { name: 'x' } }),
          await call(bare, `DELETE /auth/passkeys/${Bun.randomUUIDv7()}`, { bearer }),
          await call(bare, 'POST /auth/passkeys/login/options', { json: {} }),
          await call(bare, 'POST /auth/passkeys/login', { json: { response } }),
          await call(bare, 'POST /auth/reauthenticate/options', { bearer }),
          await call(bare, 'POST /auth/reauthenticate', { bearer, json: { response } }),
        ]
        for (const answer of answers) {
          expectProblem(answer, 'conflict')
          expect(answer.body.detail).toContain('PUBLIC_URL')
        }
      })
    })
  }

  test('plain http on localhost has them', async () => {
    const { relyingPartyOf } = await import('../../src/core/second-factors/webauthn.ts')
    expect(relyingPartyOf({ publicUrl: 'http://localhost:8000' })).toEqual({
      id: 'localhost',
      origin: 'http://localhost:8000',
    })
  })
})
