import { describe, expect, test } from 'bun:test'
import { type Answer, call } from '../support/client.ts'
import { type AddedPerson, addLoggedIn, addPerson, PASSWORD, type Tokens } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

type Someone = AddedPerson & Tokens

const CHOSEN = 'another passphrase of several words'

const service = useService()
const lenient = useService({ adminResetsAdmin: true }, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))

const as = (who: { access: string }, route: string, json?: unknown, at = service): Promise<Answer> =>
  call(at, route, { bearer: who.access, json })
const issue = async (by: Someone, person: { id: string }, at = service): Promise<string> => {
  const { status, body, text } = await as(by, `POST /users/${person.id}/password-reset`, undefined, at)
  if (status !== 200) throw new Error(`It answered ${status}: ${text}`)
  return body.token
}
const use = (token: string, at = service) =>
  call(at, 'POST /auth/password-reset', { json: { token, new_password: CHOSEN } })
const list = async (person: { id: string }, query = '') =>
  (await as(admin, `GET /users/${person.id}/password-resets${query}`)).body
const logsIn = async ({ email }: { email: string }, password: string) =>
  (await call(service, 'POST /auth/login', { json: { email, password } })).status === 200
const administer = async (route: string, json?: unknown) =>
  expect((await as(admin, route, json)).status).toBeLessThan(300)

describe('a reset that an admin made', () => {
  test.each([
    ['is demoted', (id: string) => administer(`PATCH /users/${id}`, { role: 'user' })],
    ['is disabled', (id: string) => administer(`PATCH /users/${id}`, { is_active: false })],
    ['is deleted', (id: string) => administer(`DELETE /users/${id}`)],
  ])('is of no use once that admin %s', async (_, end) => {
    const boss = await addLoggedIn(service, sql, { role: 'admin' })
    const [person, other] = [await addPerson(sql), await addPerson(sql)]
    const [token, otherToken] = [await issue(boss, person), await issue(admin, other)]
    await end(boss.id)
    expectProblem(await use(token), 'invalid_token')
    expect(await logsIn(person, PASSWORD)).toBe(true)
    expect((await use(otherToken)).status).toBe(204)
    expect(await logsIn(other, CHOSEN)).toBe(true)
  })

  test('is of use again where that admin is one again', async () => {
    const boss = await addLoggedIn(service, sql, { role: 'admin' })
    const token = await issue(boss, await addPerson(sql))
    await administer(`PATCH /users/${boss.id}`, { role: 'user' })
    expectProblem(await use(token), 'invalid_token')
    await administer(`PATCH /users/${boss.id}`, { role: 'admin' })
    expect((await use(token)).status).toBe(204)
  })

  test('is never of another admin, unless ADMIN_RESETS_ADMIN', async () => {
    const boss = await addLoggedIn(service, sql, { role: 'admin' })
    expectProblem(await as(admin, `POST /users/${boss.id}/password-reset`), 'forbidden')
    expect((await list(boss)).items).toEqual([])
    expect((await use(await issue(boss, boss))).status).toBe(204)
    // The setting decides when the token is used, too.
    const allowed = await issue(admin, boss, lenient)
    expectProblem(await use(allowed), 'invalid_token')
    expect((await use(allowed, lenient)).status).toBe(204)
  })

  test('does not become one of another admin, where the user is made an admin', async () => {
    const person = await addPerson(sql)
    const token = await issue(admin, person)
    await administer(`PATCH /users/${person.id}`, { role: 'admin' })
    expectProblem(await use(token), 'invalid_token')
    expect(await logsIn(person, PASSWORD)).toBe(true)
    await administer(`PATCH /users/${person.id}`, { role: 'user' })
    expect((await use(token)).status).toBe(204)
  })

  test('is not for a user who is disabled', async () => {
    const person = await addPerson(sql)
    const token = await issue(admin, person)
    await administer(`PATCH /users/${person.id}`, { is_active: false })
    expectProblem(await use(token), 'invalid_token')
  })

  test('is used once, of two at the same moment too', async () => {
    const person = await addPerson(sql)
    const token = await issue(admin, person)
    const answers = await Promise.all([use(token), use(token, lenient), use(token)])
    expect(answers.map(({ status }) => status).sort()).toEqual([204, 401, 401])
    expect(await logsIn(person, CHOSEN)).toBe(true)
  })

  test('is the only one of its user, of two made at the same moment too', async () => {
    const person = await addPerson(sql)
    const tokens = await Promise.all([issue(admin, person), issue(admin, person, lenient)])
    expect((await list(person)).items).toHaveLength(1)
    const statuses: number[] = []
    for (const token of tokens) statuses.push((await use(token)).status)
    expect(statuses.sort()).toEqual([204, 401])
  })
})

describe('pending resets', () => {
  test('are listed without the token, and cancelled', async () => {
    const person = await addPerson(sql)
    expect(await list(person)).toEqual({ items: [], next_cursor: null })
    const token = await issue(admin, person)
    const { items } = await list(person)
    expect(items).toEqual([
      {
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        created_by: admin.id,
        created_at: expect.stringMatching(/Z$/),
        expires_at: expect.stringMatching(/Z$/),
      },
    ])
    const lasts = Date.parse(items[0].expires_at) - Date.parse(items[0].created_at)
    expect(lasts).toBe(30 * 60_000)
    const path = `DELETE /users/${person.id}/password-resets/${items[0].id}`
    const others = `DELETE /users/${admin.id}/password-resets/${items[0].id}`
    expect((await as(admin, others)).status).toBe(204)
    expect((await list(person)).items).toHaveLength(1)
    for (const _ of ['once', 'again']) expect((await as(admin, path)).status).toBe(204)
    expect((await list(person)).items).toEqual([])
    expectProblem(await use(token), 'invalid_token')
    const events =
      await sql`SELECT action FROM latchkey.audit_events WHERE target_id = ${person.id} ORDER BY id`
    expect(events.map(({ action }) => action)).toEqual(['user.reset_issued', 'user.reset_cancelled'])
  })

  test('are not listed once they are over or used', async () => {
    const [used, over] = [await addPerson(sql), await addPerson(sql)]
    await use(await issue(admin, used))
    await issue(admin, over)
    await sql`UPDATE latchkey.one_time_tokens SET expires_at = now() - interval '1 s' WHERE user_id = ${over.id}`
    for (const person of [used, over]) expect((await list(person)).items).toEqual([])
  })

  test('are an active admin’s business alone', async () => {
    const person = await addLoggedIn(service, sql, {
      scopes: ['latchkey:users.read', 'latchkey:users.write'],
    })
    await issue(admin, person)
    const [{ id } = { id: '' }] = (await list(person)).items
    for (const route of [
      `GET /users/${person.id}/password-resets`,
      `DELETE /users/${person.id}/password-resets/${id}`,
      `POST /users/${person.id}/password-reset`,
    ])
      expectProblem(await as(person, route), 'forbidden')
    expect((await list(person)).items).toHaveLength(1)
    for (const id of [Bun.randomUUIDv7(), 'nobody'])
      expectProblem(await as(admin, `GET /users/${id}/password-resets`), 'not_found')
    expectProblem(await as(admin, `DELETE /users/${person.id}/password-resets/none`), 'not_found')
  })
})
