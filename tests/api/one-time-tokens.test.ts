import { afterAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { issueSetupToken, useSetupToken } from '../../src/core/one-time-tokens/one-time-tokens.ts'
import { checksum, decodeBase62, encodeBase62 } from '../../src/lib/base62.ts'
import { secret } from '../../src/lib/secret.ts'
import { HOUR_MS } from '../../src/lib/time.ts'
import { readOneTimeToken } from '../../src/lib/tokens.ts'
import { call, newKey } from '../support/client.ts'
import { startMailServer, tokenIn } from '../support/mail-server.ts'
import { addLoggedIn, PASSWORD } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { rows } from '../support/rows.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const NEW = 'a-quite-different-one'
const mails = await startMailServer()
afterAll(() => mails.stop())

const service = useService({ ...mails.settings })
const other = useService({ ...mails.settings }, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))

const fresh = () => `${Bun.randomUUIDv7()}@example.com`
const reset = (token: string, at = service, more: object = {}) =>
  call(at, 'POST /auth/password-reset', { json: { token, new_password: NEW, ...more } })
const verify = (token: string, password = PASSWORD, at = service) =>
  call(at, 'POST /auth/verify-email', { json: { token, password } })
const asAdmin = (route: string, json?: unknown) => call(service, route, { bearer: admin.access, json })
const logsIn = async (email: string, password: string) =>
  (await call(service, 'POST /auth/login', { json: { email, password } })).status === 200
/** Somebody with a verified address, unless said otherwise. */
async function somebody(isVerified = true) {
  const person = await addLoggedIn(service, sql, { email: fresh() })
  await sql`UPDATE latchkey.users SET email_verified = ${isVerified} WHERE id = ${person.id}`
  return person
}
const forget = async (email: string, at = service) => {
  const before = mails.to(email).length
  expect((await call(at, 'POST /auth/forgot-password', { json: { email } })).status).toBe(202)
  return tokenIn(await mails.next(email, before + 1))
}

describe('a one-time token', () => {
  test('is used once, of many at once on two servers', async () => {
    const person = await somebody()
    const token = await forget(person.email)
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) => reset(token, i % 2 ? other : service)),
    )
    const statuses = answers.map(({ status }) => status).sort()
    expect(statuses).toEqual([204, ...Array.from({ length: 9 }, () => 401)])
    expect(await logsIn(person.email, NEW)).toBe(true)
  })

  test('of one purpose is of no use for another', async () => {
    const person = await somebody(false)
    await call(service, 'POST /auth/verify-email/resend', { json: { email: person.email } })
    const link = tokenIn(await mails.next(person.email))
    const mailed = await forget(person.email)
    expectProblem(await reset(link), 'invalid_token')
    expectProblem(await verify(mailed), 'invalid_token')
    expect((await verify(link)).status).toBe(200)
  })

  test('that is changed in any byte is refused', async () => {
    const person = await somebody()
    const token = await forget(person.email)
    const bytes = decodeBase62(token.slice(3, -6), 50)
    if (!bytes) throw new Error('It is no token')
    for (let at = 0; at < bytes.length; at++) {
      const forged = Uint8Array.from(bytes)
      forged[at] = (forged[at] ?? 0) ^ 1
      const body = `et_${encodeBase62(forged)}`
      expect([at, readOneTimeToken(service.context.keys.oneTime, body + checksum(body))]).toEqual([at, null])
    }
    const body = `et_${encodeBase62(bytes)}`
    expect(readOneTimeToken(service.context.keys.oneTime, body + checksum(body))).toMatchObject({
      purpose: 'reset',
    })
    for (const wrong of [
      '',
      'et_',
      'et_\0',
      `${token}x`,
      token.slice(0, -1),
      'x'.repeat(4096),
      randomBytes(40).toString('hex'),
    ])
      expectProblem(await reset(wrong), 'invalid_token')
    expect((await reset(token)).status).toBe(204)
  })

  test('that is not good answers the same, whatever is wrong with it, and asks for no other credential', async () => {
    const person = await somebody()
    const [void_, used] = [await forget(person.email), await forget(person.email)]
    await reset(used)
    const gone = await somebody()
    const ofNobody = await forget(gone.email)
    await sql`DELETE FROM latchkey.users WHERE id = ${gone.id}`
    const comparable = ({
      status,
      body: { request_id: _, ...body },
      headers,
    }: Awaited<ReturnType<typeof reset>>) => ({
      status,
      body,
      challenge: headers.get('www-authenticate'),
    })
    const unknown = comparable(await reset('et_unknown'))
    expect(unknown).toMatchObject({ status: 401, body: { code: 'invalid_token' }, challenge: null })
    for (const token of [void_, used, ofNobody]) expect(comparable(await reset(token))).toEqual(unknown)
  })

  test('survives a refused password, and a rotation of SECRET_KEY', async () => {
    const person = await somebody()
    const token = await forget(person.email)
    expectProblem(await reset(token, service, { new_password: 'short' }), 'validation_failed')
    const before = service.config.secretKey
    const rotated = await startService(
      { secretKey: secret('r'.repeat(48)), secretKeyPrevious: before },
      service,
    )
    const strangers = await startService({ secretKey: secret('s'.repeat(48)), algorithm: 'HS256' }, service)
    expectProblem(await reset(token, strangers), 'invalid_token')
    expect((await reset(token, rotated)).status).toBe(204)
    await Promise.all([rotated.stop(), strangers.stop()])
  })

  test.each<[string, (person: Awaited<ReturnType<typeof somebody>>) => Promise<unknown>]>([
    [
      'a password change',
      (person) =>
        call(service, 'POST /auth/password', {
          bearer: person.access,
          json: { current_password: PASSWORD, new_password: 'yet-another-one' },
        }),
    ],
    ['another address', ({ id }) => asAdmin(`PATCH /users/${id}`, { email: fresh() })],
    [
      'disabling, also once the user is enabled again',
      async ({ id }) => {
        await asAdmin(`PATCH /users/${id}`, { is_active: false })
        await asAdmin(`PATCH /users/${id}`, { is_active: true })
      },
    ],
    ['deleting', ({ id }) => asAdmin(`DELETE /users/${id}`)],
  ])('is void after %s', async (_, end) => {
    const [person, untouched] = [await somebody(), await somebody()]
    const [token, good] = [await forget(person.email), await forget(untouched.email)]
    await end(person)
    expectProblem(await reset(token), 'invalid_token')
    expect((await reset(good)).status).toBe(204)
  })

  test('that is mailed for an admin works only while that admin is an active admin', async () => {
    const boss = await addLoggedIn(service, sql, { role: 'admin' })
    const person = await somebody()
    const answer = await call(service, `POST /users/${person.id}/password-reset`, {
      bearer: boss.access,
      json: { send: true },
    })
    expect([answer.status, Object.keys(answer.body)]).toEqual([202, ['message']])
    const token = tokenIn(await mails.next(person.email))
    await asAdmin(`PATCH /users/${boss.id}`, { role: 'user' })
    expectProblem(await reset(token), 'invalid_token')
    await asAdmin(`PATCH /users/${boss.id}`, { role: 'admin' })
    expect((await reset(token)).status).toBe(204)
  })
})

describe('a mailed reset', () => {
  const everything = async (person: Awaited<ReturnType<typeof somebody>>) => {
    const { key } = await newKey(service, person.access, { scopes: ['read'] })
    const account = await call(service, 'POST /service-accounts', {
      bearer: person.access,
      json: { name: 'robot', scopes: ['read'] },
    })
    await sql`INSERT INTO latchkey.totp_secrets ${sql(snake(rows.totpSecret(person.id)))}`
    await sql`INSERT INTO latchkey.passkeys ${sql(snake(rows.passkey(person.id)))}`
    await sql`INSERT INTO latchkey.recovery_codes ${sql(snake(rows.recoveryCode(person.id)))}`
    await sql`UPDATE latchkey.users SET has_second_factor = true WHERE id = ${person.id}`
    const present = async (): Promise<Record<string, unknown>> => {
      const [row] = await sql`SELECT u.has_second_factor AS factor, u.email_verified AS verified,
        (SELECT count(*)::int FROM latchkey.totp_secrets WHERE user_id = u.id) AS totp,
        (SELECT count(*)::int FROM latchkey.passkeys WHERE user_id = u.id) AS passkeys,
        (SELECT count(*)::int FROM latchkey.recovery_codes WHERE user_id = u.id) AS codes,
        (SELECT count(*)::int FROM latchkey.sessions WHERE user_id = u.id AND ended_at IS NULL) AS sessions
        FROM latchkey.users u WHERE id = ${person.id}`
      const [robot] = await sql`SELECT is_active FROM latchkey.service_accounts WHERE id = ${account.body.id}`
      const { body } = await call(service, 'POST /keys/verify', { bearer: admin.access, json: { key } })
      return { ...row, robot: robot?.is_active, key: body.valid }
    }
    return present
  }
  /** Column names of a row of `rows`. */
  const snake = (row: object) =>
    Object.fromEntries(
      Object.entries(row).map(([name, value]) => [
        name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`),
        value,
      ]),
    )

  test('of a verified address ends sessions; keys, second factors and accounts stay', async () => {
    const person = await somebody()
    const present = await everything(person)
    expect((await reset(await forget(person.email))).status).toBe(204)
    expect(await present()).toEqual({
      factor: true,
      verified: true,
      totp: 1,
      passkeys: 1,
      codes: 1,
      sessions: 0,
      robot: true,
      key: true,
    })
    expect((await mails.next(person.email, 2)).subject).toBe('Your password for Latchkey was changed')
  })

  test('of an address that was not verified removes everything from before, says so, and verifies it', async () => {
    const person = await somebody(false)
    const present = await everything(person)
    expect(await present()).toMatchObject({ factor: true, sessions: 1, robot: true, key: true })
    const token = await forget(person.email)
    const [mail] = mails.to(person.email)
    expect(mail?.text).toContain('removes everything from before')
    const link = await call(service, 'POST /auth/verify-email/resend', { json: { email: person.email } })
    expect(link.status).toBe(202)
    const other_ = tokenIn(await mails.next(person.email, 2))
    expect((await reset(token)).status).toBe(204)
    expect(await present()).toEqual({
      factor: false,
      verified: true,
      totp: 0,
      passkeys: 0,
      codes: 0,
      sessions: 0,
      robot: false,
      key: false,
    })
    expectProblem(await verify(other_, NEW), 'invalid_token')
    expect(await logsIn(person.email, NEW)).toBe(true)
    expect(await logsIn(person.email, PASSWORD)).toBe(false)
  })

  test('by a token that an admin handed over verifies nothing, and ends sessions only', async () => {
    const person = await somebody(false)
    const present = await everything(person)
    const { token } = (await asAdmin(`POST /users/${person.id}/password-reset`)).body
    expect((await reset(token)).status).toBe(204)
    expect(await present()).toMatchObject({
      factor: true,
      verified: false,
      totp: 1,
      sessions: 0,
      robot: true,
      key: true,
    })
  })
})

describe('an invitation', () => {
  test('sets the first password, verifies the address, and is sent again while there is none', async () => {
    const email = fresh()
    expectProblem(
      await asAdmin('POST /users', { email, invite: true, password: PASSWORD }),
      'validation_failed',
    )
    const made = await asAdmin('POST /users', { email, invite: true })
    expect([made.status, made.body.email_verified]).toEqual([201, false])
    const first = tokenIn(await mails.next(email))
    expect((await asAdmin(`POST /users/${made.body.id}/invite`)).status).toBe(202)
    const second = tokenIn(await mails.next(email, 2))
    expectProblem(await reset(first), 'invalid_token')
    expect((await reset(second)).status).toBe(204)
    expect((await asAdmin(`GET /users/${made.body.id}`)).body.email_verified).toBe(true)
    expect(await logsIn(email, NEW)).toBe(true)
    expectProblem(await asAdmin(`POST /users/${made.body.id}/invite`), 'conflict')
    const actions =
      await sql`SELECT action FROM latchkey.audit_events WHERE target_id = ${made.body.id} ORDER BY id`
    expect(actions.map(({ action }) => action)).toEqual([
      'user.created',
      'user.invited',
      'user.invited',
      'user.password_reset',
      'user.email_verified',
      'user.login',
    ])
    expect(mails.to(email)).toHaveLength(2)
  })

  test('is an admin’s, by their own token, and takes SMTP_URL', async () => {
    const { key } = await newKey(service, admin.access, { scopes: ['latchkey:users.write'] })
    const json = { email: fresh(), invite: true }
    expectProblem(await call(service, 'POST /users', { bearer: key, json }), 'forbidden')
    const silent = await startService({}, service)
    const answer = await call(silent, 'POST /users', { bearer: admin.access, json })
    expectProblem(answer, 'conflict')
    expect(answer.body.detail).toContain('SMTP_URL')
    expect(
      (await call(silent, 'POST /users', { bearer: admin.access, json: { email: json.email } })).status,
    ).toBe(201)
    await silent.stop()
  })

  test('of an admin who is none any more is of no use', async () => {
    const boss = await addLoggedIn(service, sql, { role: 'admin' })
    const email = fresh()
    await call(service, 'POST /users', { bearer: boss.access, json: { email, invite: true } })
    const token = tokenIn(await mails.next(email))
    await asAdmin(`PATCH /users/${boss.id}`, { is_active: false })
    expectProblem(await reset(token), 'invalid_token')
    await asAdmin(`PATCH /users/${boss.id}`, { is_active: true })
    expect((await reset(token)).status).toBe(204)
  })
})

describe('a set-up token', () => {
  test('is random, stored hashed, good for an hour, and used once; a newer one leaves it good', async () => {
    const now = new Date()
    const { db } = service.context
    const [one, two] = await db.transaction(async (tx) => [
      await issueSetupToken(tx, now),
      await issueSetupToken(tx, now),
    ])
    if (!one || !two) throw new Error('No tokens')
    expect(one).toMatch(/^et_\w{49}$/)
    const dump = JSON.stringify(
      await sql`SELECT t::text FROM latchkey.one_time_tokens t WHERE purpose = 'setup'`,
    )
    expect(dump).not.toContain(one.slice(3, 20))
    const use = (token: string, at = now) => db.transaction((tx) => useSetupToken(tx, token, at))
    expect(await use('et_wrong')).toBe(false)
    expect(await use(two, new Date(now.getTime() + HOUR_MS))).toBe(false)
    const used = await Promise.all([use(one), use(one), use(one)])
    expect(used.sort()).toEqual([false, false, true])
    expect(await use(two)).toBe(true)
  })
})

test('an account is deleted by its own user, with the password, as long as DELETE_ACCOUNT allows it', async () => {
  const person = await somebody()
  const { key } = await newKey(service, person.access, { scopes: ['read'] })
  const remove = (json?: object, at = service) => call(at, 'DELETE /auth/me', { bearer: person.access, json })
  const closed = await startService({ deleteAccount: false }, service)
  expectProblem(await remove({ current_password: PASSWORD }, closed), 'not_found')
  await closed.stop()
  expectProblem(await remove(), 'invalid_login')
  expectProblem(await remove({ current_password: 'not-the-password' }), 'invalid_login')
  expectProblem(
    await call(service, 'DELETE /auth/me', { bearer: key, json: { current_password: PASSWORD } }),
    'wrong_credential_kind',
  )
  expect((await remove({ current_password: PASSWORD })).status).toBe(204)
  expectProblem(await remove({ current_password: PASSWORD }), 'invalid_token')
  expect(await logsIn(person.email, PASSWORD)).toBe(false)
  await until(async () => {
    const { body } = await call(service, 'POST /keys/verify', { bearer: admin.access, json: { key } })
    return body.valid === false
  }, 'the key is gone')
})

test('GET /auth/activity shows what the caller did and what was done to them, page by page, and nobody else', async () => {
  const [person, stranger] = [await somebody(), await somebody()]
  await asAdmin(`PATCH /users/${person.id}`, { scopes: ['read'] })
  const all: { action: string; id: string; actor: { id: string }; target: { id: string } }[] = []
  for (let cursor = ''; ; ) {
    const { body } = await call(service, `GET /auth/activity?limit=1${cursor}`, { bearer: person.access })
    all.push(...body.items)
    if (body.next_cursor === null) break
    cursor = `&cursor=${body.next_cursor}`
  }
  expect(all.map(({ action }) => action)).toEqual(['user.scopes_changed', 'user.login'])
  expect(all.every(({ actor, target }) => actor.id === person.id || target.id === person.id)).toBe(true)
  const others = await call(service, 'GET /auth/activity', { bearer: stranger.access })
  expect(others.body.items.map(({ id }: { id: string }) => id)).not.toContain(all[0]?.id)
  expectProblem(await call(service, 'GET /auth/activity'), 'missing_credential')
})
