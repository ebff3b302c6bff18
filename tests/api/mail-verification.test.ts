import { afterAll, describe, expect, test } from 'bun:test'
import { call, logIn } from '../support/client.ts'
import { startMailServer, tokenIn } from '../support/mail-server.ts'
import { addLoggedIn, addPerson, beginSession, PASSWORD } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const mails = await startMailServer()
afterAll(() => mails.stop())

const service = useService({
  ...mails.settings,
  emailVerification: 'optional',
  publicUrl: 'https://auth.example.com/base',
})
const strict = useService({ ...mails.settings, emailVerification: 'required' }, service)
const silent = useService({}, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))

const fresh = () => `${Bun.randomUUIDv7()}@example.com`
const signUp = (email: string, at = service) =>
  call(at, 'POST /auth/signup', { json: { email, password: PASSWORD } })
const verify = (token: string, more: { password?: string; bearer?: string } = {}, at = service) =>
  call(at, 'POST /auth/verify-email', {
    json: { token, ...(more.password === undefined ? {} : { password: more.password }) },
    ...(more.bearer === undefined ? {} : { bearer: more.bearer }),
  })
const isVerified = async (email: string) =>
  (await sql`SELECT email_verified FROM latchkey.users WHERE email = ${email}`)[0]?.email_verified
const actionsOf = async (email: string) =>
  (
    await sql`SELECT e.action FROM latchkey.audit_events e JOIN latchkey.users u ON e.target_id = u.id::text
      WHERE u.email = ${email} ORDER BY e.id`
  ).map(({ action }) => action)

describe('sign-up with EMAIL_VERIFICATION=optional', () => {
  test('mails a link at PUBLIC_URL, which proves the address with the password', async () => {
    const email = fresh()
    // Whatever a request says of its host.
    const headers = {
      host: 'evil.example',
      'x-forwarded-host': 'evil.example',
      forwarded: 'host=evil.example',
    }
    const made = await call(service, 'POST /auth/signup', { json: { email, password: PASSWORD }, headers })
    expect(made.status).toBe(201)
    const mail = await mails.next(email)
    expect(mail.raw).not.toContain('evil.example')
    expect(mail.subject).toBe('Confirm your e-mail address for Latchkey')
    expect(mail.text).toContain('https://auth.example.com/base/verify-email?token=et_')
    expect(mail.headers.get('auto-submitted')).toBe('auto-generated')
    expect(mail.messageId).toEndWith('@auth.example.com>')
    expect(mail.from?.value).toEqual([{ name: 'Latchkey', address: 'no-reply@auth.example.com' }])
    expect(mail.recipients).toEqual([email])
    const token = tokenIn(mail)
    expectProblem(await verify(token), 'password_required')
    expectProblem(await verify(token, { password: 'not-the-password' }), 'invalid_login')
    expect(await isVerified(email)).toBe(false)
    const answer = await verify(token, { password: PASSWORD })
    expect(answer.body).toEqual({ email, email_verified: true })
    expect(await isVerified(email)).toBe(true)
    const again = await verify(token, { password: PASSWORD })
    expectProblem(again, 'invalid_token')
    expect(again.headers.get('www-authenticate')).toBeNull()
    expect(await actionsOf(email)).toEqual([
      'user.signup',
      'user.verification_sent',
      'user.login_failed',
      'user.email_verified',
    ])
  })

  test('takes a bearer of that account in place of the password, and no other one', async () => {
    const email = fresh()
    await signUp(email)
    const token = tokenIn(await mails.next(email))
    expectProblem(await verify(token, { bearer: admin.access }), 'password_required')
    expectProblem(await verify(token, { bearer: 'sk_wrong' }), 'invalid_token')
    const { access } = await logIn(service, email, PASSWORD)
    expect((await verify(token, { bearer: access })).status).toBe(200)
    expect(await isVerified(email)).toBe(true)
  })

  test('without SMTP_URL mails nothing, and no route that has to send works', async () => {
    const email = fresh()
    expect((await signUp(email, silent)).status).toBe(201)
    for (const route of ['POST /auth/forgot-password', 'POST /auth/verify-email/resend']) {
      const answer = await call(silent, route, { json: { email } })
      expectProblem(answer, 'conflict')
      expect(answer.body.detail).toContain('SMTP_URL')
    }
    expect(await sql`SELECT 1 FROM latchkey.mails WHERE recipient = ${email}`).toHaveLength(0)
  })
})

describe('sign-up with EMAIL_VERIFICATION=required', () => {
  test('answers a known and an unknown address alike; nothing of the account changes, and its owner is told', async () => {
    const known = await addPerson(sql, { email: fresh() })
    const email = fresh()
    const [new_, old] = [await signUp(email, strict), await signUp(known.email.toUpperCase(), strict)]
    expect([new_.status, new_.body]).toEqual([202, { message: expect.any(String) }])
    expect([old.status, old.body]).toEqual([new_.status, new_.body])
    const told = await mails.next(known.email)
    expect(told.subject).toBe('You already have an account at Latchkey')
    expect(told.text).toContain(`${strict.config.publicUrl}/login`)
    expect(told.text).not.toContain('token=')
    expectProblem(
      await call(strict, 'POST /auth/login', { json: { email, password: PASSWORD } }),
      'email_not_verified',
    )
    const link = tokenIn(await mails.next(email, 2))
    expectProblem(
      await verify(tokenIn(await mails.next(email)), { password: PASSWORD }, strict),
      'invalid_token',
    )
    expect((await verify(link, { password: PASSWORD }, strict)).status).toBe(200)
    expect((await logIn(strict, email, PASSWORD)).access).toBeString()
  })

  test.each([
    ['POST /auth/signup', (email: string) => ({ email, password: PASSWORD })],
    ['POST /auth/forgot-password', (email: string) => ({ email })],
    ['POST /auth/verify-email/resend', (email: string) => ({ email })],
  ])('%s answers no earlier than 100 ms, for known and for unknown addresses', async (route, bodyOf) => {
    const known = await addPerson(sql, { email: fresh() })
    const times: Record<'known' | 'unknown', number[]> = { known: [], unknown: [] }
    for (let i = 0; i < 12; i++) {
      for (const [kind, email] of [
        ['known', known.email],
        ['unknown', fresh()],
      ] as const) {
        const start = performance.now()
        expect((await call(strict, route, { json: bodyOf(email) })).status).toBe(202)
        times[kind].push(performance.now() - start)
      }
    }
    expect(Math.min(...times.known, ...times.unknown)).toBeGreaterThanOrEqual(99)
  })

  test('refuses the password grant of an unverified address, and goes on with sessions from before', async () => {
    const added = await addPerson(sql, { email: fresh() })
    await sql`UPDATE latchkey.users SET email_verified = true WHERE id = ${added.id}`
    const person = { ...added, ...(await beginSession(strict, added)) }
    await sql`UPDATE latchkey.users SET email_verified = false WHERE id = ${person.id}`
    const form = { grant_type: 'password', username: person.email, password: PASSWORD }
    const answer = await call(strict, 'POST /oauth/token', { form })
    expect([answer.status, answer.body.error]).toEqual([403, 'email_not_verified'])
    expect((await call(strict, 'GET /auth/me', { bearer: person.access })).status).toBe(200)
    await sql`UPDATE latchkey.users SET email_verified = true WHERE id = ${person.id}`
    expect((await call(strict, 'POST /oauth/token', { form })).status).toBe(200)
  })

  test('a wrong password is refused as ever, and mails nothing', async () => {
    const person = await addPerson(sql, { email: fresh() })
    const json = { email: person.email, password: 'not-the-password' }
    expectProblem(await call(strict, 'POST /auth/login', { json }), 'invalid_login')
    expect(await sql`SELECT 1 FROM latchkey.mails WHERE recipient = ${person.email}`).toHaveLength(0)
  })
})

describe('a mailbox', () => {
  test('gets five mails with a link an hour, from all servers; beyond that none, and no token is made or voided', async () => {
    const person = await addPerson(sql, { email: fresh() })
    const unknown = fresh()
    const ask = (email: string, at = service) => call(at, 'POST /auth/forgot-password', { json: { email } })
    const answers = await Promise.all(
      Array.from({ length: 9 }, (_, i) => ask(person.email, i % 2 ? strict : service)),
    )
    for (const answer of [...answers, await ask(unknown)])
      expect([answer.status, answer.body]).toEqual([202, answers[0]?.body])
    const counted = await sql`SELECT 1 FROM latchkey.one_time_tokens WHERE user_id = ${person.id}`
    expect(counted).toHaveLength(5)
    await call(service, 'POST /auth/verify-email/resend', { json: { email: person.email } })
    const written = () => sql`SELECT outcome FROM latchkey.mails WHERE recipient = ${person.email}`
    await until(
      async () => (await written()).every(({ outcome }) => outcome !== null),
      'all are sent or void',
    )
    expect(await written()).toHaveLength(5)
    // Of those that were voided before they were sent none is sent.
    const last = mails.to(person.email).at(-1)
    if (!last) throw new Error('Nothing was sent')
    const json = { token: tokenIn(last), new_password: 'a-quite-different-one' }
    expect((await call(service, 'POST /auth/password-reset', { json })).status).toBe(204)
    expect(
      await sql`SELECT 1 FROM latchkey.mailbox_counts WHERE email_hmac::text LIKE '%example%'`,
    ).toHaveLength(0)
    service.advance(3_600_000)
    const links = () =>
      mails.to(person.email).filter(({ subject }) => subject?.includes('Set a new password'))
    const before = links().length
    await ask(person.email)
    await until(() => links().length > before, 'the next hour has room')
    service.advance(-3_600_000)
  })
})

describe('another address', () => {
  const change = (bearer: string, email: string, password = PASSWORD) =>
    call(service, 'POST /auth/email', { bearer, json: { email, current_password: password } })

  test('is the user’s once its link is used; the old one is told, and no other token of theirs works', async () => {
    const person = await addLoggedIn(service, sql, { email: fresh() })
    await call(service, 'POST /auth/forgot-password', { json: { email: person.email } })
    const reset = tokenIn(await mails.next(person.email))
    const email = fresh()
    expectProblem(await change(person.access, email, 'not-the-password'), 'invalid_login')
    expect((await change(person.access, email)).status).toBe(202)
    const token = tokenIn(await mails.next(email))
    expect((await call(service, 'GET /auth/me', { bearer: person.access })).body.email).toBe(person.email)
    expect((await verify(token, { password: PASSWORD })).body).toEqual({ email, email_verified: true })
    expect((await call(service, 'GET /auth/me', { bearer: person.access })).body).toMatchObject({
      email,
      email_verified: true,
    })
    const told = await mails.next(person.email, 2)
    expect([told.subject, told.text?.includes(email)]).toEqual([
      'Your e-mail address at Latchkey was changed',
      true,
    ])
    const answer = await call(service, 'POST /auth/password-reset', {
      json: { token: reset, new_password: 'another-long-one' },
    })
    expectProblem(answer, 'invalid_token')
    expect((await logIn(service, email, PASSWORD)).access).toBeString()
  })

  test('that is taken answers the same, leaves the same trail, and is told to its holder alone', async () => {
    const [person, holder] = [
      await addLoggedIn(service, sql, { email: fresh() }),
      await addPerson(sql, { email: fresh() }),
    ]
    const [free, taken] = [await change(person.access, fresh()), await change(person.access, holder.email)]
    expect([taken.status, taken.body]).toEqual([free.status, free.body])
    expect((await mails.next(holder.email)).subject).toBe('You already have an account at Latchkey')
    const { items } = (await call(service, 'GET /auth/activity', { bearer: person.access })).body
    const sent = items.filter(({ action }: { action: string }) => action === 'user.verification_sent')
    expect(sent.map(({ details }: { details: object }) => Object.keys(details))).toEqual([
      ['email'],
      ['email'],
    ])
  })

  test('that somebody took meanwhile is 409, and the token stays good', async () => {
    const person = await addLoggedIn(service, sql, { email: fresh() })
    const email = fresh()
    await change(person.access, email)
    const token = tokenIn(await mails.next(email))
    const other = await addPerson(sql, { email })
    expectProblem(await verify(token, { password: PASSWORD }), 'email_taken')
    await sql`DELETE FROM latchkey.users WHERE id = ${other.id}`
    expect((await verify(token, { password: PASSWORD })).status).toBe(200)
  })

  test('asked for twice: the older link is void', async () => {
    const person = await addLoggedIn(service, sql, { email: fresh() })
    const [one, two] = [fresh(), fresh()]
    await change(person.access, one)
    const older = tokenIn(await mails.next(one))
    await change(person.access, two)
    const newer = tokenIn(await mails.next(two))
    expectProblem(await verify(older, { password: PASSWORD }), 'invalid_token')
    expect((await verify(newer, { password: PASSWORD })).body.email).toBe(two)
  })

  test('by an admin: unverified, told to the old one, mailed its link; not by a key, not of another admin', async () => {
    const person = await addPerson(sql, { email: fresh() })
    await sql`UPDATE latchkey.users SET email_verified = true WHERE id = ${person.id}`
    const email = fresh()
    const patch = (id: string, bearer: string, json: object) =>
      call(service, `PATCH /users/${id}`, { bearer, json })
    const { body: key } = await call(service, 'POST /keys/create', {
      bearer: admin.access,
      json: { scopes: ['latchkey:users.write'] },
    })
    expectProblem(await patch(person.id, key.key, { email }), 'forbidden')
    const boss = await addPerson(sql, { role: 'admin' })
    expectProblem(await patch(boss.id, admin.access, { email }), 'forbidden')
    expectProblem(await patch(person.id, admin.access, { email: admin.email }), 'email_taken')
    const answer = await patch(person.id, admin.access, { email })
    expect(answer.body).toMatchObject({ email, email_verified: false })
    expect((await mails.next(person.email)).subject).toContain('was changed')
    expect((await verify(tokenIn(await mails.next(email)), { password: PASSWORD })).status).toBe(200)
    // The same address is no change: it stays verified.
    expect((await patch(person.id, admin.access, { email })).body.email_verified).toBe(true)
  })
})
