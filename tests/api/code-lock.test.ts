import { describe, expect, test } from 'bun:test'
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/lib/time.ts'
import { call, newPerson } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import {
  beginLogIn,
  codeOf,
  type Enrolled,
  firstStep,
  newEnrolled,
  secondStep,
  wrongCodeOf,
} from '../support/second-factors.ts'
import { useService, useSql } from '../support/use-service.ts'

const service = useService({ databasePoolSize: 30 })
const other = useService({ databasePoolSize: 30 }, service)
const sql = useSql(service)

const wrong = async (person: Enrolled, at = service) =>
  secondStep(at, await beginLogIn(at, person), { code: wrongCodeOf(at, person.secret) })
const right = async (person: Enrolled, at = service) =>
  secondStep(at, await beginLogIn(at, person), { code: codeOf(at, person.secret) })
async function lock(person: Enrolled): Promise<void> {
  for (let i = 0; i < 5; i++) expectProblem(await wrong(person), 'invalid_code')
}
const auditOf = async (id: string, action: string) =>
  (
    await sql`SELECT details FROM latchkey.audit_events WHERE target_id = ${id} AND action = ${action} ORDER BY id`
  ).map(({ details }) => details)

describe('wrong codes', () => {
  test('four in a row lock nothing, and a right one begins the count anew', async () => {
    const person = await newEnrolled(service)
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 4; i++) expectProblem(await wrong(person), 'invalid_code')
      const by =
        round === 0 ? { code: codeOf(service, person.secret) } : { recovery_code: person.recoveryCodes[0] }
      expect((await secondStep(service, await beginLogIn(service, person), by)).status).toBe(200)
    }
    expect(await auditOf(person.id, 'user.mfa_locked')).toEqual([])
    expect(await auditOf(person.id, 'user.mfa_failed')).toHaveLength(8)
  })

  test('the fifth locks codes for five minutes, right ones and recovery codes too, on every server', async () => {
    const person = await newEnrolled(service)
    await lock(person)
    for (const at of [service, other]) {
      const refused = await right(person, at)
      expectProblem(refused, 'too_many_attempts')
      expect(Number(refused.headers.get('retry-after'))).toBeWithin(295, 301)
      const token = await beginLogIn(at, person)
      expectProblem(
        await secondStep(at, token, { recovery_code: person.recoveryCodes[0] }),
        'too_many_attempts',
      )
    }
    // The first step answers as ever, and the session of before goes on.
    expect((await firstStep(service, person)).body.code).toBe('mfa_required')
    expect((await call(service, 'GET /auth/me', { bearer: person.access })).status).toBe(200)
    expect(await auditOf(person.id, 'user.mfa_locked')).toEqual([
      { wrong_codes: 5, until: expect.stringMatching(/^\d{4}-.*Z$/) },
    ])
    await sql`UPDATE latchkey.code_failures SET locked_until = locked_until - interval '5 minutes'
      WHERE user_id = ${person.id}`
    expect((await right(person)).status).toBe(200)
  })

  test('each further fifth locks for twice as long as the one before, up to a day', async () => {
    const person = await newEnrolled(service)
    const minutes: number[] = []
    for (let round = 0; round < 11; round++) {
      await lock(person)
      const [row] = await sql`SELECT locked_until FROM latchkey.code_failures WHERE user_id = ${person.id}`
      minutes.push(Math.round((row?.locked_until.getTime() - service.context.clock()) / MINUTE_MS))
      await sql`UPDATE latchkey.code_failures SET locked_until = now() - interval '1 hour'
        WHERE user_id = ${person.id}`
    }
    expect(minutes).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440])
    // However many there were.
    await sql`UPDATE latchkey.code_failures SET failures = 2000000000 - 1 WHERE user_id = ${person.id}`
    expectProblem(await wrong(person), 'invalid_code')
    const [row] = await sql`SELECT locked_until FROM latchkey.code_failures WHERE user_id = ${person.id}`
    expect(Math.round((row?.locked_until.getTime() - service.context.clock()) / HOUR_MS)).toBe(24)
  })

  test('of fifty at once on two servers five are checked, and a right one among those that are not is refused', async () => {
    const person = await newEnrolled(service)
    const token = await beginLogIn(service, person)
    const code = wrongCodeOf(service, person.secret)
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => secondStep(i % 2 === 0 ? service : other, token, { code })),
    )
    const counts = Object.groupBy(answers, ({ status }) => String(status))
    expect([counts['403']?.length, counts['429']?.length]).toEqual([5, 45])
    expectProblem(
      await secondStep(service, token, { code: codeOf(service, person.secret) }),
      'too_many_attempts',
    )
    const [row] = await sql`SELECT failures FROM latchkey.code_failures WHERE user_id = ${person.id}`
    expect(row?.failures).toBe(5)
    expect(await auditOf(person.id, 'user.mfa_failed')).toHaveLength(5)
  })

  test('count whichever token, session and way they come by: log-in, recovery and re-authentication together', async () => {
    const person = await newEnrolled(service)
    const bearer = person.access
    const reauthenticate = (code: string) =>
      call(service, 'POST /auth/reauthenticate', { bearer, json: { code } })
    expectProblem(await wrong(person), 'invalid_code')
    expectProblem(await reauthenticate(wrongCodeOf(service, person.secret)), 'invalid_code')
    const token = await beginLogIn(service, person)
    expectProblem(await secondStep(service, token, { recovery_code: '0000-0000-0000-0000' }), 'invalid_code')
    expectProblem(await reauthenticate(wrongCodeOf(service, person.secret)), 'invalid_code')
    expectProblem(await wrong(person), 'invalid_code')
    expectProblem(await reauthenticate(codeOf(service, person.secret)), 'too_many_attempts')
    expectProblem(await right(person), 'too_many_attempts')
  })

  test('are nobody else’s: another person’s codes go on', async () => {
    const [person, stranger] = [await newEnrolled(service), await newEnrolled(service)]
    await lock(person)
    expect((await right(stranger)).status).toBe(200)
  })

  test('a code that could not be checked is given back', async () => {
    const person = await newEnrolled(service)
    for (let i = 0; i < 4; i++) expectProblem(await wrong(person), 'invalid_code')
    const token = await beginLogIn(service, person)
    await sql`ALTER TABLE latchkey.totp_secrets RENAME TO totp_secrets_away`
    const failed = await secondStep(service, token, { code: codeOf(service, person.secret) })
    await sql`ALTER TABLE latchkey.totp_secrets_away RENAME TO totp_secrets`
    expect(failed.status).toBe(500)
    expect((await secondStep(service, token, { code: codeOf(service, person.secret) })).status).toBe(200)
  })
})

describe('a lock is ended', () => {
  test('by an admin who has just proved who they are, of passwords and codes alike', async () => {
    const admin = await addLoggedIn(service, sql, { role: 'admin' })
    const person = await newEnrolled(service)
    await lock(person)
    for (let i = 0; i < 10; i++)
      await firstStep(service, { email: person.email, password: 'a-wrong-password' })
    expectProblem(await firstStep(service, person), 'too_many_attempts')
    const route = `POST /users/${person.id}/unlock`
    expect((await call(service, route, { bearer: admin.access })).status).toBe(204)
    expect((await right(person)).status).toBe(200)
    expect(await auditOf(person.id, 'user.unlocked')).toEqual([{}])
    expectProblem(await call(service, route, { bearer: person.access }), 'forbidden')
    expectProblem(
      await call(service, `POST /users/${Bun.randomUUIDv7()}/unlock`, { bearer: admin.access }),
      'not_found',
    )
    service.advance(10 * MINUTE_MS + SECOND_MS)
    expectProblem(await call(service, route, { bearer: admin.access }), 'reauthentication_required')
  })

  test('not of another admin, unless ADMIN_RESETS_ADMIN; from the command line of anybody', async () => {
    const [admin, peer] = [
      await addLoggedIn(service, sql, { role: 'admin' }),
      await addLoggedIn(service, sql, { role: 'admin' }),
    ]
    const routes = [`POST /users/${peer.id}/unlock`, `DELETE /users/${peer.id}/mfa`]
    for (const route of routes)
      expectProblem(await call(service, route, { bearer: admin.access }), 'forbidden')
    for (const route of routes.map((each) => each.replace(peer.id, admin.id)))
      expect((await call(service, route, { bearer: peer.access })).status).toBe(403)
    const env = {
      DATABASE_URL: service.databaseUrl,
      SECRET_KEY: service.config.secretKey?.reveal() ?? '',
      PUBLIC_URL: service.config.publicUrl,
    }
    const unlocked = await runInProcess(['users', 'unlock', peer.email], { env })
    expect([unlocked.code, unlocked.err]).toEqual([0, ''])
    expect(await auditOf(peer.id, 'user.unlocked')).toEqual([{}])
  })
})

describe('an admin takes all factors from somebody who lost them', () => {
  test('with recovery codes, sessions and pending steps; the password alone logs in then', async () => {
    const admin = await addLoggedIn(service, sql, { role: 'admin' })
    const person = await newEnrolled(service)
    const token = await beginLogIn(service, person)
    const route = `DELETE /users/${person.id}/mfa`
    const { access: other } = await newPerson(service)
    expectProblem(await call(service, route, { bearer: other }), 'forbidden')
    expect((await call(service, route, { bearer: admin.access })).status).toBe(204)
    expect((await call(service, 'GET /auth/me', { bearer: person.access })).status).toBe(401)
    expectProblem(await secondStep(service, token, { code: codeOf(service, person.secret) }), 'invalid_token')
    const { status, body } = await firstStep(service, person)
    expect(status).toBe(200)
    expect((await call(service, 'GET /auth/mfa', { bearer: body.access_token })).body).toMatchObject({
      totp: null,
      passkeys: [],
      recovery_codes_left: 0,
    })
    expect(await auditOf(person.id, 'user.mfa_removed')).toEqual([{ factor: 'all', sessions_ended: 1 }])
  })

  test('and an operator, of an admin too', async () => {
    const person = await newEnrolled(service)
    await sql`UPDATE latchkey.users SET role = 'admin' WHERE id = ${person.id}`
    const env = {
      DATABASE_URL: service.databaseUrl,
      SECRET_KEY: service.config.secretKey?.reveal() ?? '',
      PUBLIC_URL: service.config.publicUrl,
    }
    const reset = await runInProcess(['users', 'reset-mfa', person.email], { env })
    expect([reset.code, reset.err]).toEqual([0, ''])
    expect((await firstStep(service, person)).status).toBe(200)
    expect((await runInProcess(['users', 'reset-mfa', 'nobody@example.com'], { env })).code).toBe(1)
  })
})
