import { describe, expect, test } from 'bun:test'
import { decodeJwt } from 'jose'
import { MINUTE_MS, SECOND_MS } from '../../src/lib/time.ts'
import { call, logIn, newKey, newPerson } from '../support/client.ts'
import { addLoggedIn, addPerson, PASSWORD } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { refresh } from '../support/refresh.ts'
import { beginLogIn, codeOf, newEnrolled, secondStep, wrongCodeOf } from '../support/second-factors.ts'
import { until } from '../support/until.ts'
import { useService, useSql } from '../support/use-service.ts'

const service = useService()
const forKeys = useService({ reauthenticateForKeys: true }, service)
const sql = useSql(service)

/** Lets a session grow too old, as nothing but time does. */
const age = async (userId: string, ms = 10 * MINUTE_MS + SECOND_MS) => {
  await sql`UPDATE latchkey.sessions SET auth_time = ${new Date(service.context.clock() - ms)} WHERE user_id = ${userId}`
  // The database tells of it a moment later.
  service.context.cache.flush()
}
const reauthenticate = (bearer: string, json: Record<string, unknown>) =>
  call(service, 'POST /auth/reauthenticate', { bearer, json })

describe('re-authentication', () => {
  test('by the password of somebody without a factor moves auth_time, by the session’s row, not by a token', async () => {
    const person = await newPerson(service)
    await age(person.id)
    const begin = () => call(service, 'POST /auth/mfa/totp', { bearer: person.access })
    expectProblem(await begin(), 'reauthentication_required')
    // A refresh proves nothing anew.
    const { body } = await refresh(service, person.refresh)
    expectProblem(
      await call(service, 'POST /auth/mfa/totp', { bearer: body.access_token }),
      'reauthentication_required',
    )
    const done = await reauthenticate(person.access, { password: person.password })
    expect(done.status).toBe(200)
    expect(Math.abs(Date.parse(done.body.auth_time) - service.context.clock())).toBeLessThan(10_000)
    // The token of before goes on; of its claim nothing depends.
    expect((await begin()).status).toBe(201)
    const renewed = await refresh(service, body.refresh_token)
    const seconds = Math.floor(Date.parse(done.body.auth_time) / 1000)
    expect(decodeJwt(renewed.body.access_token)).toMatchObject({ auth_time: seconds, amr: ['pwd'] })
    expect(
      (await call(service, 'GET /auth/sessions', { bearer: person.access })).body.items[0],
    ).toMatchObject({
      auth_time: done.body.auth_time,
    })
  })

  test('ten minutes are recent, and a second more is not', async () => {
    const person = await newPerson(service)
    const begin = () => call(service, 'POST /auth/mfa/totp', { bearer: person.access })
    await age(person.id, 10 * MINUTE_MS - 5 * SECOND_MS)
    expect((await begin()).status).toBe(201)
    await age(person.id, 10 * MINUTE_MS + SECOND_MS)
    expectProblem(await begin(), 'reauthentication_required')
  })

  test('is of the session that asks alone', async () => {
    const person = await newPerson(service)
    const another = await logIn(service, person.email, person.password)
    await age(person.id)
    expect((await reauthenticate(person.access, { password: person.password })).status).toBe(200)
    expectProblem(
      await call(service, 'POST /auth/mfa/totp', { bearer: another.access }),
      'reauthentication_required',
    )
  })

  test('a wrong password, none, several proofs and a code without a factor are refused', async () => {
    const person = await newPerson(service)
    expectProblem(await reauthenticate(person.access, { password: 'a-wrong-password' }), 'invalid_login')
    expectProblem(await reauthenticate(person.access, { password: '' }), 'invalid_login')
    expectProblem(await reauthenticate(person.access, {}), 'validation_failed')
    expectProblem(
      await reauthenticate(person.access, { password: person.password, code: '123456' }),
      'validation_failed',
    )
    expectProblem(await reauthenticate(person.access, { code: '123456' }), 'invalid_code')
    const { key } = await newKey(service, person.access)
    expectProblem(await reauthenticate(key, { password: person.password }), 'wrong_credential_kind')
  })

  test('of somebody with a factor takes a code, and neither the password nor a recovery code', async () => {
    const person = await newEnrolled(service)
    await age(person.id)
    const answer = await reauthenticate(person.access, { password: person.password })
    expectProblem(answer, 'mfa_required')
    expect(Object.keys(answer.body)).not.toContain('mfa_token')
    expectProblem(
      await reauthenticate(person.access, { recovery_code: person.recoveryCodes[0] }),
      'validation_failed',
    )
    expectProblem(await reauthenticate(person.access, { code: person.recoveryCodes[0] }), 'invalid_code')
    expectProblem(
      await reauthenticate(person.access, { code: wrongCodeOf(service, person.secret) }),
      'invalid_code',
    )
    const code = codeOf(service, person.secret)
    expect((await reauthenticate(person.access, { code })).status).toBe(200)
    // Its code is used up, at the second step too.
    expectProblem(await secondStep(service, await beginLogIn(service, person), { code }), 'invalid_code')
    expect((await call(service, 'POST /auth/mfa/recovery-codes', { bearer: person.access })).status).toBe(201)
    const audit = await sql`SELECT details FROM latchkey.audit_events
      WHERE target_id = ${person.id} AND action = 'user.reauthenticated'`
    expect(audit.map(({ details }) => details.method)).toEqual(['totp'])
  })

  test('adds what was proved to the session’s amr', async () => {
    const person = await newEnrolled(service)
    const [recovery_code] = person.recoveryCodes
    const { body } = await secondStep(service, await beginLogIn(service, person), { recovery_code })
    expect(decodeJwt(body.access_token).amr).toEqual(['mfa', 'pwd'])
    await reauthenticate(body.access_token, { code: codeOf(service, person.secret) })
    const renewed = await refresh(service, body.refresh_token)
    expect(decodeJwt(renewed.body.access_token).amr).toEqual(['mfa', 'otp', 'pwd'])
  })
})

describe('recent authentication is asked of people', () => {
  const routes: [string, Record<string, unknown> | undefined][] = [
    ['POST /auth/mfa/totp', undefined],
    ['DELETE /auth/mfa/totp', undefined],
    ['POST /auth/mfa/recovery-codes', undefined],
    ['POST /auth/passkeys/options', undefined],
    ['PATCH /auth/passkeys/:id', { name: 'laptop' }],
    ['DELETE /auth/passkeys/:id', undefined],
    ['DELETE /users/:id', undefined],
    ['DELETE /users/:id/mfa', undefined],
    ['POST /users/:id/unlock', undefined],
    ['POST /users/:id/password-reset', undefined],
    ['POST /users', { email: 'new-admin@example.com', role: 'admin' }],
    ['PATCH /users/:id', { role: 'admin' }],
    ['PATCH /users/:id', { email_verified: true }],
  ]

  test.each(routes)('%s %j: before any look-up', async (route, json) => {
    const admin = await addLoggedIn(service, sql, { role: 'admin' })
    // An unknown id: where the question is asked first, nothing is looked for.
    const path = route.replace(':id', Bun.randomUUIDv7())
    const send = () => call(service, path, { bearer: admin.access, ...(json && { json }) })
    await age(admin.id)
    expectProblem(await send(), 'reauthentication_required')
    if (json) {
      const { body } = await call(service, path, { bearer: admin.access, json: { ...json, nonsense: 1 } })
      expect(body.code).toBe('validation_failed')
    }
    expect((await reauthenticate(admin.access, { password: PASSWORD })).status).toBe(200)
    expect((await send()).body?.code ?? 'done').not.toBe('reauthentication_required')
  })

  test.each([
    ['POST /users', { email: 'new-user@example.com' }],
    ['PATCH /users/:id', { scopes: ['read'] }],
    ['POST /users/:id/logout', undefined],
    ['POST /keys', { scopes: ['read'] }],
  ])('%s %j asks for none', async (route, json) => {
    const admin = await addLoggedIn(service, sql, { role: 'admin' })
    const target = await addPerson(sql)
    await age(admin.id)
    const answer = await call(service, route.replace(':id', target.id), {
      bearer: admin.access,
      ...(json && { json }),
    })
    expect(answer.status).toBeLessThan(300)
  })

  test('a key is not asked: its scope is the permission', async () => {
    const admin = await addLoggedIn(service, sql, { role: 'admin' })
    const { key } = await newKey(service, admin.access, { scopes: ['latchkey:users.write'] })
    const target = await addPerson(sql, { scopes: [] })
    await age(admin.id)
    expect((await call(service, `DELETE /users/${target.id}`, { bearer: key })).status).toBe(200)
  })

  test('REAUTHENTICATE_FOR_KEYS asks for it at every change of keys and service accounts, and at no reading', async () => {
    const person = await newPerson(service)
    const { id, key } = await newKey(service, person.access, { scopes: ['latchkey:keys.write'] })
    const json = { name: 'x' }
    const account = (await call(service, 'POST /service-accounts', { bearer: person.access, json })).body.id
    await age(person.id)
    const changes: [string, unknown?][] = [
      ['POST /keys', {}],
      ['POST /keys/create', {}],
      [`PATCH /keys/${id}`, json],
      [`POST /keys/${id}/rotate`, {}],
      [`DELETE /keys/${id}`],
      [`DELETE /keys/revoke/${id}`],
      [`DELETE /keys/delete/${id}`],
      [`DELETE /keys/${id}/secrets/x`],
      ['POST /service-accounts', json],
      [`PATCH /service-accounts/${account}`, json],
      [`DELETE /service-accounts/${account}`],
    ]
    for (const [route, body] of changes) {
      const sent = { bearer: person.access, ...(body !== undefined && { json: body }) }
      expectProblem(await call(forKeys, route, sent), 'reauthentication_required')
    }
    for (const route of ['GET /keys', `GET /keys/${id}`, 'GET /service-accounts'])
      expect((await call(forKeys, route, { bearer: person.access })).status).toBe(200)
    expect((await call(forKeys, 'POST /keys', { bearer: key, json: {} })).status).toBe(201)
    expect((await call(service, 'POST /keys', { bearer: person.access, json: {} })).status).toBe(201)
    await reauthenticate(person.access, { password: person.password })
    // The other server hears of it within a second.
    const mayNow = async () =>
      (await call(forKeys, 'POST /keys', { bearer: person.access, json: {} })).status === 201
    await until(mayNow, 'the other server asks no longer')
  })
})

describe('a change of the password', () => {
  const change = (bearer: string, json: Record<string, unknown>) =>
    call(service, 'POST /auth/password', { bearer, json })
  const new_password = 'another-long-one'

  test('takes the current one instead of recent authentication where there is no factor', async () => {
    const person = await newPerson(service)
    await age(person.id)
    expectProblem(await change(person.access, { new_password }), 'invalid_login')
    expectProblem(
      await change(person.access, { current_password: 'a-wrong-password', new_password }),
      'invalid_login',
    )
    const done = await change(person.access, { current_password: person.password, new_password })
    expect(done.status).toBe(200)
    const { auth_time, amr } = decodeJwt(done.body.access_token)
    expect([Math.abs(Number(auth_time) - service.context.clock() / 1000) < 10, amr]).toEqual([true, ['pwd']])
  })

  test('takes both where there is one; what the new session says of the factor is what the old one did', async () => {
    const person = await newEnrolled(service)
    await age(person.id)
    const json = { current_password: person.password, new_password }
    expectProblem(await change(person.access, json), 'reauthentication_required')
    const { body } = await reauthenticate(person.access, { code: codeOf(service, person.secret) })
    expectProblem(await change(person.access, { new_password }), 'invalid_login')
    const done = await change(person.access, json)
    expect(decodeJwt(done.body.access_token)).toMatchObject({
      auth_time: Math.floor(Date.parse(body.auth_time) / 1000),
      amr: ['mfa', 'otp', 'pwd'],
    })
  })

  test('of somebody without a password leaves it out, and takes recent authentication', async () => {
    const person = await addLoggedIn(service, sql)
    await sql`UPDATE latchkey.users SET password_hash = NULL WHERE id = ${person.id}`
    expectProblem(await change(person.access, { current_password: PASSWORD, new_password }), 'invalid_login')
    await age(person.id)
    expectProblem(await change(person.access, { new_password }), 'reauthentication_required')
    await age(person.id, 0)
    expect((await change(person.access, { new_password })).status).toBe(200)
    expect((await logIn(service, person.email, new_password)).access).toBeString()
  })

  test('takes tokens of API sessions alone', async () => {
    const person = await addLoggedIn(service, sql)
    await sql`UPDATE latchkey.sessions SET kind = 'browser' WHERE user_id = ${person.id}`
    service.context.cache.flush()
    const answer = await change(person.access, { current_password: PASSWORD, new_password })
    expectProblem(answer, 'wrong_credential_kind')
    expect(answer.body.detail).toContain('/session/password')
  })
})

test('a session whose proof is taken back while a change waits makes no change', async () => {
  const admin = await addLoggedIn(service, sql, { role: 'admin' })
  const target = await addPerson(sql)
  const holder = await sql.reserve()
  await holder`BEGIN`
  await holder`UPDATE latchkey.sessions SET auth_time = auth_time - interval '11 minutes' WHERE user_id = ${admin.id}`
  const sent = call(service, `DELETE /users/${target.id}`, { bearer: admin.access })
  const isBlocked = async () =>
    (await holder`SELECT 1 FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))`)
      .length > 0
  await until(isBlocked, 'the change waits')
  await holder`COMMIT`
  holder.release()
  expectProblem(await sent, 'reauthentication_required')
  const [row] = await sql`SELECT id FROM latchkey.users WHERE id = ${target.id}`
  expect(row?.id).toBe(target.id)
})
