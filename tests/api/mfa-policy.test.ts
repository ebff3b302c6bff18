import { describe, expect, test } from 'bun:test'
import { decodeJwt } from 'jose'
import { isOAuthPath } from '../../src/api/oauth-path.ts'
import { call, logIn, newKey, newPerson } from '../support/client.ts'
import { clientOf, statusOf, verifierKey } from '../support/latchkey-client.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { refresh } from '../support/refresh.ts'
import { codeOf, enrolTotp, firstStep, newEnrolled, secondStep } from '../support/second-factors.ts'
import { useService, useSql } from '../support/use-service.ts'

describe('a policy that asks for a second factor', () => {
  const service = useService({ isIssuer: true })

  test('at forward-auth lets on the session that proved one, and says how; keys have no amr', async () => {
    const person = await newEnrolled(service)
    const { key } = await newKey(service, person.access, { scopes: 'read' })
    const ask = (bearer: string) => call(service, 'GET /forward-auth?mfa=true&scope=read', { bearer })
    const proved = await ask(person.access)
    expect([proved.status, proved.headers.get('x-auth-amr')]).toEqual([200, 'mfa otp pwd'])
    expectProblem(await ask(key), 'forbidden')
    expect((await call(service, 'GET /forward-auth', { bearer: key })).headers.get('x-auth-amr')).toBe('')
    const plain = await newPerson(service)
    expectProblem(await ask(plain.access), 'forbidden')
    for (const policy of ['mfa=false', 'mfa=1', 'mfa=', 'mfa=true&mfa=true'])
      expect((await call(service, `GET /forward-auth?${policy}`, { bearer: person.access })).status).toBe(400)
  })

  test('holds from the next request on where the session proves one, also for a token from before', async () => {
    const person = await newPerson(service)
    const ask = () => call(service, 'GET /forward-auth?mfa=true', { bearer: person.access })
    expectProblem(await ask(), 'forbidden')
    await enrolTotp(service, person.access)
    expect((await ask()).status).toBe(200)
    expect(decodeJwt(person.access).amr).toEqual(['pwd'])
    expect((await call(service, 'DELETE /auth/mfa/totp', { bearer: person.access })).status).toBe(204)
    expectProblem(await ask(), 'forbidden')
  })

  test('of the client package asks the same, by the token itself and by introspection', async () => {
    const key = await verifierKey(service)
    const offline = clientOf({ url: service.url, key })
    const online = clientOf({ url: service.url, key, online: true, cacheSeconds: 0 })
    const person = await newEnrolled(service)
    const { body } = await refresh(service, person.refresh)
    const own = await newKey(service, person.access, { scopes: 'read' })
    for (const { bearer } of [offline, online]) {
      expect(await bearer(body.access_token, { mfa: true })).toMatchObject({
        kind: 'user',
        amr: ['mfa', 'otp', 'pwd'],
      })
      const refused = await Promise.all([
        bearer(own.key, { mfa: true }),
        bearer((await newPerson(service)).access, { mfa: true }),
      ])
      expect(refused.map((verdict) => [statusOf(verdict), 'code' in verdict && verdict.code])).toEqual([
        [403, 'forbidden'],
        [403, 'forbidden'],
      ])
    }
    // The row decides: of a token from before the enrolment, introspection knows more than the token.
    expect(statusOf(await online.bearer(person.access, { mfa: true }))).toBe(200)
    expect(statusOf(await offline.bearer(person.access, { mfa: true }))).toBe(403)
  })
})

describe('REQUIRE_MFA', () => {
  const service = useService()
  const sql = useSql(service)
  const all = useService({ requireMfa: 'all' }, service)
  const admins = useService({ requireMfa: 'admins' }, service)

  test('leaves open to somebody without a factor what the enrolment takes, and nothing else', async () => {
    const person = await newPerson(service)
    const own = await newKey(service, person.access, { scopes: 'read' })
    const { access: bearer, refresh: refreshToken } = await logIn(all, person.email, person.password)
    const document = (await call(all, 'GET /openapi.json')).body
    const open: string[] = []
    for (const [path, operations] of Object.entries<Record<string, { security?: object[] }>>(
      document.paths,
    )) {
      for (const [method, { security = [] }] of Object.entries(operations)) {
        const isGuarded = security.length > 0 && security.every((way) => Object.keys(way).length > 0)
        const route = `${method.toUpperCase()} ${path}`
        // Ends the session that asks.
        if (!isGuarded || route === 'POST /auth/logout-all') continue
        // It takes the tokens of apps, and no person's own.
        if (path === '/oauth/userinfo') continue
        const takesBody = method !== 'get' && method !== 'delete'
        const url = path.replaceAll(/\{\w+\}/g, () => Bun.randomUUIDv7())
        const answer = await call(all, `${method.toUpperCase()} ${url}`, {
          bearer,
          ...(isOAuthPath(path) ? { form: { token: 'x' } } : takesBody && { json: { nonsense: 1 } }),
        })
        const code = answer.body?.code ?? answer.body?.error ?? answer.status
        const isWrongKind = ['wrong_credential_kind', 'forbidden'].includes(code)
        if (code !== 'mfa_enrolment_required' && !isWrongKind) open.push(route)
      }
    }
    expect(open.sort()).toEqual([
      'DELETE /auth/mfa/totp',
      'DELETE /auth/passkeys/{id}',
      'GET /auth/me',
      'GET /auth/mfa',
      'PATCH /auth/passkeys/{id}',
      'POST /auth/mfa/recovery-codes',
      'POST /auth/mfa/totp',
      'POST /auth/mfa/totp/confirm',
      'POST /auth/passkeys',
      'POST /auth/passkeys/options',
      'POST /auth/reauthenticate',
      'POST /auth/reauthenticate/options',
    ])
    expectProblem(await call(all, 'GET /protected/any', { bearer }), 'mfa_enrolment_required')
    expectProblem(await call(all, 'GET /forward-auth', { bearer }), 'mfa_enrolment_required')
    // The key of the same person goes on, and so does everything where the setting is another.
    expect((await call(all, 'GET /protected/any', { bearer: own.key })).status).toBe(200)
    expect((await call(service, 'GET /protected/any', { bearer })).status).toBe(200)
    expect((await refresh(all, refreshToken)).status).toBe(200)
  })

  test('introspection knows no such token, until the factor is set up; then the same token is good', async () => {
    const admin = (await addLoggedIn(service, sql, { role: 'admin' })).access
    const { key } = await newKey(service, admin, { scopes: ['latchkey:introspect'] })
    const person = await newPerson(all)
    const introspect = async (token: string) =>
      (await call(all, 'POST /oauth/introspect', { bearer: key, form: { token } })).body
    expect(await introspect(person.access)).toEqual({ active: false })
    expect(await introspect(person.refresh)).toEqual({ active: false })
    const { body } = await call(all, 'GET /auth/mfa', { bearer: person.access })
    expect(body).toMatchObject({ required: true, totp: null })
    await enrolTotp(all, person.access)
    expect(await introspect(person.access)).toMatchObject({ active: true, amr: ['mfa', 'otp', 'pwd'] })
    expect(await introspect(person.refresh)).toMatchObject({ active: true })
    expect((await call(all, 'GET /protected/any', { bearer: person.access })).status).toBe(200)
  })

  test('keeps the last factor, and lets a factor go while there is another', async () => {
    const person = await newEnrolled(all)
    const remove = () => call(all, 'DELETE /auth/mfa/totp', { bearer: person.access })
    expectProblem(await remove(), 'conflict')
    await sql`INSERT INTO latchkey.passkeys
      (id, user_id, name, credential_id, public_key, sign_count, transports, is_backed_up, created_at)
      VALUES (gen_random_uuid(), ${person.id}, 'laptop', '\\x01', '\\x00', 0, '{}', false, now())`
    expect((await remove()).status).toBe(204)
  })

  test('of admins asks admins alone, by the role that they have now, whatever a narrowed token says', async () => {
    const person = await newPerson(service)
    expect((await call(admins, 'GET /protected/any', { bearer: person.access })).status).toBe(200)
    await sql`UPDATE latchkey.users SET role = 'admin' WHERE id = ${person.id}`
    const form = { grant_type: 'password', username: person.email, password: person.password, scope: 'read' }
    const { access_token: narrowed } = (await call(admins, 'POST /oauth/token', { form })).body
    for (const bearer of [narrowed, (await logIn(admins, person.email, person.password)).access])
      expectProblem(await call(admins, 'GET /protected/any', { bearer }), 'mfa_enrolment_required')
    expect((await call(service, 'GET /protected/any', { bearer: narrowed })).status).toBe(200)
  })
})

describe('no way past the second step', () => {
  const service = useService()
  const sql = useSql(service)

  test('the password grant asks for it too, and the session gets the scopes that the grant asked for', async () => {
    const person = await newEnrolled(service)
    const grant = (scope?: string) =>
      call(service, 'POST /oauth/token', {
        form: {
          grant_type: 'password',
          username: person.email,
          password: person.password,
          ...(scope !== undefined && { scope }),
        },
      })
    const narrowed = await grant('read')
    expect(narrowed.status).toBe(403)
    const { mfa_token: token, ...rest } = narrowed.body
    expect(rest).toMatchObject({ error: 'mfa_required', methods: ['totp', 'recovery_code'] })
    const done = await secondStep(service, token, { code: codeOf(service, person.secret) })
    expect(decodeJwt(done.body.access_token)).toMatchObject({ scope: 'read', narrowed: true })
    const renewed = await refresh(service, done.body.refresh_token)
    expect(decodeJwt(renewed.body.access_token)).toMatchObject({ scope: 'read', narrowed: true })
    const whole = await grant()
    const all = await secondStep(service, whole.body.mfa_token, { code: codeOf(service, person.secret, 1) })
    expect(decodeJwt(all.body.access_token)).toMatchObject({ scope: 'read write' })
    // A scope that the user does not hold is refused before, and tells nothing of the factor.
    expect((await grant('deploy')).body.error).toBe('invalid_scope')
  })

  test('a token of the first step is good for nothing else', async () => {
    const person = await newEnrolled(service)
    const { mfa_token: token } = (await firstStep(service, person)).body
    expect((await call(service, 'GET /auth/me', { bearer: token })).status).toBe(401)
    expect((await refresh(service, token)).status).toBe(401)
    const form = { grant_type: 'refresh_token', refresh_token: token }
    expect((await call(service, 'POST /oauth/token', { form })).status).toBe(400)
    const json = { token, new_password: 'another-long-one' }
    expect((await call(service, 'POST /auth/password-reset', { json })).status).toBe(401)
  })

  test('a wrong password of somebody with a factor is the answer of everybody', async () => {
    const [person, plain] = [await newEnrolled(service), await newPerson(service)]
    const wrong = await Promise.all(
      [person, plain, { email: 'nobody@example.com' }].map(({ email }) =>
        firstStep(service, { email, password: 'a-wrong-password' }),
      ),
    )
    const bodies = wrong.map(({ body: { request_id, ...body }, status }) => ({ ...body, status }))
    expect(new Set(bodies.map((body) => JSON.stringify(body))).size).toBe(1)
    expect(bodies[0]).toMatchObject({ code: 'invalid_login', status: 401 })
  })

  test('sessions from before the first factor are over, by each of their credentials', async () => {
    const person = await newPerson(service)
    const old = await logIn(service, person.email, person.password)
    await enrolTotp(service, person.access)
    expect((await refresh(service, old.refresh)).status).toBe(401)
    const form = { grant_type: 'refresh_token', refresh_token: old.refresh }
    expect((await call(service, 'POST /oauth/token', { form })).status).toBe(400)
    expect((await call(service, 'GET /auth/me', { bearer: old.access })).status).toBe(401)
  })

  test('a disabled user’s second step is over, and so is one whose password changed', async () => {
    const person = await newEnrolled(service)
    const { mfa_token } = (await firstStep(service, person)).body
    await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${person.id}`
    const code = codeOf(service, person.secret)
    expectProblem(await secondStep(service, mfa_token, { code }), 'invalid_token')
    await sql`UPDATE latchkey.users SET is_active = true WHERE id = ${person.id}`
    expect((await secondStep(service, mfa_token, { code })).status).toBe(200)
  })
})
