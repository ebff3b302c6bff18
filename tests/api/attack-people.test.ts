import { afterAll, describe, expect, test } from 'bun:test'
import { DEFAULT_RATE_LIMITS } from '../../src/config/rate-limits.ts'
import { MINUTE_MS } from '../../src/lib/time.ts'
import { ask, OWN, signIn } from '../support/browser.ts'
import { call, newKey, newPerson } from '../support/client.ts'
import { dial } from '../support/http-socket.ts'
import { startMailServer, tokenIn } from '../support/mail-server.ts'
import { addLoggedIn, addPerson, PASSWORD } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { beginLogIn, codeOf, enrolTotp, newEnrolled, secondStep } from '../support/second-factors.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const mails = await startMailServer()
afterAll(() => mails.stop())

const service = useService({ ...mails.settings, emailVerification: 'optional' })
const other = useService({ ...mails.settings, emailVerification: 'optional', requireMfa: 'admins' }, service)
const limited = useService({ rateLimits: DEFAULT_RATE_LIMITS }, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))

const fresh = () => `${Bun.randomUUIDv7()}@example.com`
const changeEmail = (bearer: string, email: string) =>
  call(service, 'POST /auth/email', { bearer, json: { email, current_password: PASSWORD } })
const verify = (token: string) =>
  call(service, 'POST /auth/verify-email', { json: { token, password: PASSWORD } })
const activityOf = async (bearer: string): Promise<string[]> => {
  const { body } = await call(service, 'GET /auth/activity?limit=100', { bearer })
  return body.items.map(({ action }: { action: string }) => action)
}

describe('a pending second step', () => {
  test('is over once the address of its user changes, by the user or by an admin', async () => {
    const person = await newEnrolled(service)
    const kept = await newEnrolled(service)
    const steps = [await beginLogIn(other, person), await beginLogIn(other, kept)]
    const email = fresh()
    await changeEmail(person.access, email)
    expect((await verify(tokenIn(await mails.next(email)))).status).toBe(200)
    const finish = (at: number, secret: string) =>
      secondStep(service, steps[at] ?? '', { code: codeOf(service, secret) })
    expectProblem(await finish(0, person.secret), 'invalid_token')
    expect((await finish(1, kept.secret)).status).toBe(200)

    const step = await beginLogIn(other, { ...person, email })
    const json = { email: fresh() }
    const patched = await call(service, `PATCH /users/${person.id}`, { bearer: admin.access, json })
    expect(patched.status).toBe(200)
    const answer = await secondStep(service, step, { code: codeOf(service, person.secret) })
    expectProblem(answer, 'invalid_token')
  })

  test('that ends while its passkey is asked for is refused, and so is a session', async () => {
    const person = await newEnrolled(service)
    const step = await beginLogIn(service, person)
    const options = () => call(service, 'POST /auth/passkeys/login/options', { json: { mfa_token: step } })
    expect((await options()).status).toBe(200)
    const held = Promise.withResolvers<void>()
    const isDeleted = Promise.withResolvers<void>()
    const deleting = sql.begin(async (tx) => {
      await tx`DELETE FROM latchkey.pending_steps WHERE user_id = ${person.id}`
      isDeleted.resolve()
      await held.promise
    })
    await isDeleted.promise
    const answer = options()
    await Bun.sleep(200)
    held.resolve()
    await deleting
    expectProblem(await answer, 'invalid_token')
  })
})

describe('POST /auth/email', () => {
  test('does not tell by a link from before whether the next address is taken', async () => {
    const holder = await addPerson(sql, { email: fresh() })
    for (const wanted of [fresh(), holder.email]) {
      const person = await addLoggedIn(service, sql, { email: fresh() })
      const own = fresh()
      await changeEmail(person.access, own)
      const token = tokenIn(await mails.next(own))
      expect((await changeEmail(person.access, wanted)).status).toBe(202)
      expectProblem(await verify(token), 'invalid_token')
    }
  })

  test('does not tell by what becomes of the mail whether the address is taken', async () => {
    const holder = await addLoggedIn(service, sql, { email: fresh() })
    const person = await addLoggedIn(service, sql, { email: fresh() })
    mails.behave({ recipient: 550 })
    try {
      const free = fresh()
      for (const email of [free, holder.email]) await changeEmail(person.access, email)
      await until(async () => {
        const failed = await sql`
          SELECT recipient FROM latchkey.mails
          WHERE outcome = 'failed' AND recipient IN (${free}, ${holder.email})`
        return failed.length === 2
      }, 'both mails are given up')
      expect(await activityOf(person.access)).not.toContain('mail.failed')
      expect(await activityOf(holder.access)).toContain('mail.failed')
    } finally {
      mails.behave('take')
    }
  })
})

test('DELETE /auth/me is no place to guess a password at', async () => {
  const person = await addLoggedIn(service, sql)
  const guess = () =>
    call(limited, 'DELETE /auth/me', { bearer: person.access, json: { current_password: 'wrong' } })
  for (let tries = 0; tries < 10; tries++) expectProblem(await guess(), 'invalid_login')
  expectProblem(await guess(), 'rate_limited')
})

test('a narrowed token does not read the activity of its user', async () => {
  const person = await addLoggedIn(service, sql)
  const form = { grant_type: 'password', username: person.email, password: PASSWORD, scope: 'read' }
  const narrowed = (await call(service, 'POST /oauth/token', { form })).body.access_token
  expectProblem(await call(service, 'GET /auth/activity', { bearer: narrowed }), 'insufficient_scope')
  expect(await activityOf(person.access)).toContain('user.login')
})

describe('a browser session', () => {
  test('of an admin that ran idle does not begin again when the admin becomes a user', async () => {
    const { id, email } = await addPerson(sql, { role: 'admin' })
    const { cookie } = await signIn(service, { email, password: PASSWORD })
    const token = () => ask(service, 'POST /session/token', { headers: { cookie } })
    service.advance(59 * MINUTE_MS)
    expect((await token()).status).toBe(200)
    service.advance(61 * MINUTE_MS)
    await sql`UPDATE latchkey.users SET role = 'user' WHERE id = ${id}`
    expectProblem(await token(), 'missing_credential')
    service.advance(-120 * MINUTE_MS)
  })

  test('gives no token for a cookie that was replaced while the body came', async () => {
    const person = await newPerson(service)
    const { cookie } = await signIn(service, person)
    const hold = () => {
      const wire = dial(service)
      const head = [
        'POST /session/token HTTP/1.1',
        'Host: latchkey.test',
        `Cookie: ${cookie}`,
        `Sec-Fetch-Site: ${OWN['sec-fetch-site']}`,
        'Content-Type: application/json',
        'Content-Length: 2',
      ]
      wire.send(`${head.join('\r\n')}\r\n\r\n{`)
      return async () => {
        wire.send('}')
        const { status } = await wire.answer()
        wire.end()
        return status
      }
    }
    const finish = hold()
    await Bun.sleep(100)
    expect(await finish()).toBe(200)
    const late = hold()
    await Bun.sleep(100)
    const json = { current_password: person.password, new_password: 'another-long-password' }
    expect((await ask(service, 'POST /session/password', { headers: { cookie }, json })).status).toBe(200)
    expect(await late()).toBe(401)
  })
})

test('an admin does not drop their own factor by the route for others where REQUIRE_MFA asks for it', async () => {
  const own = await addLoggedIn(other, sql, { role: 'admin' })
  await enrolTotp(other, own.access)
  const reset = (id: string, at = other) => call(at, `DELETE /users/${id}/mfa`, { bearer: own.access })
  expectProblem(await reset(own.id), 'conflict')
  expect((await reset((await newEnrolled(service)).id)).status).toBe(204)
  expect((await reset(own.id, service)).status).toBe(204)
})

test('a reason of any length and script revokes a key, and is mailed', async () => {
  const owner = await newPerson(service)
  const key = await newKey(service, owner.access)
  // Cut at 300 units, it would end in one half of a character, which jsonb refuses.
  const reason = encodeURIComponent(`${'a'.repeat(299)}😀`)
  const revoked = await call(service, `DELETE /keys/${key.id}?reason=${reason}`, { bearer: admin.access })
  expect([revoked.status, revoked.text]).toEqual([200, revoked.text])
  // The mails of the sign-up and of the revocation may arrive in either order.
  await mails.next(owner.email, 2)
  const texts = [1, 2].map(async (n) => (await mails.next(owner.email, n)).text)
  expect((await Promise.all(texts)).join()).toContain('a'.repeat(299))
})
