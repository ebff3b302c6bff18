import { describe, expect, test } from 'bun:test'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { OPERATOR } from '../../src/core/principal.ts'
import { changeUser, createAdmin, ensureFirstAdmin, removeUser } from '../../src/core/users/accounts.ts'
import { Problem } from '../../src/lib/errors.ts'
import { secret } from '../../src/lib/secret.ts'
import { type Answer, call } from '../support/client.ts'
import { type AddedPerson, addLoggedIn, addPerson, connectTo, type Tokens } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'
import { useService, useSql } from '../support/use-service.ts'

type Admin = AddedPerson & Tokens

const a = useService({ logLevel: 'error' })
const b = useService({ logLevel: 'error' }, a)
const sql = useSql(a)

const activeAdmins = async (): Promise<string[]> =>
  (await sql`SELECT id FROM latchkey.users WHERE role = 'admin' AND is_active ORDER BY id`).map(
    ({ id }) => id,
  )
const rowOf = async (id: string) => ({ ...(await sql`SELECT * FROM latchkey.users WHERE id = ${id}`)[0] })

/** Deletes every user and makes so many admins. */
async function newAdmins(count: number): Promise<Admin[]> {
  await sql`DELETE FROM latchkey.users`
  const admins: Admin[] = []
  for (let i = 0; i < count; i++) admins.push(await addLoggedIn(a, sql, { role: 'admin' }))
  return admins
}

type Act = (at: TestService, by: { access: string }, target: { id: string }) => Promise<Answer>
const patch =
  (json: Record<string, unknown>): Act =>
  (at, by, target) =>
    call(at, `PATCH /users/${target.id}`, { bearer: by.access, json })
const demote = patch({ role: 'user' })
const disable = patch({ is_active: false })
const remove: Act = (at, by, target) => call(at, `DELETE /users/${target.id}`, { bearer: by.access })
const acts: [string, Act][] = [
  ['demoted', demote],
  ['disabled', disable],
  ['demoted and disabled', patch({ role: 'user', is_active: false })],
  ['deleted', remove],
]

describe('the last active admin', () => {
  test.each(acts)('cannot be %s, and the request changes nothing else', async (_, act) => {
    const [admin] = await newAdmins(1)
    if (!admin) throw new Error('No admin')
    // A disabled admin and an ordinary user do not count.
    await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${(await addPerson(sql, { role: 'admin' })).id}`
    await addPerson(sql)
    const before = await rowOf(admin.id)
    expectProblem(await act(b, admin, admin), 'last_admin')
    expect(await rowOf(admin.id)).toEqual(before)
    expect((await call(a, 'GET /protected/admin', { bearer: admin.access })).status).toBe(200)
    const audited = await sql`SELECT action FROM latchkey.audit_events WHERE target_id = ${admin.id}`
    expect(audited.map(({ action }) => action)).toEqual(['user.login'])
  })

  test('can be changed in every other way', async () => {
    const [admin] = await newAdmins(1)
    if (!admin) throw new Error('No admin')
    const json = { role: 'admin', is_active: true, email_verified: true, scopes: ['x'] }
    expect((await patch(json)(a, admin, admin)).body).toMatchObject(json)
    expectProblem(await patch({ email_verified: false, role: 'user' })(a, admin, admin), 'last_admin')
    expect(await rowOf(admin.id)).toMatchObject({ email_verified: true, role: 'admin' })
  })

  test('cannot be removed at the command line either', async () => {
    const [admin] = await newAdmins(1)
    if (!admin) throw new Error('No admin')
    const refused = { name: 'Problem', problem: 'last_admin' }
    for (const work of [
      () => changeUser(a.context, SYSTEM, OPERATOR, admin.id, { role: 'user' }),
      () => changeUser(a.context, SYSTEM, OPERATOR, admin.id, { is_active: false }),
      () => removeUser(a.context, SYSTEM, OPERATOR, admin.id),
    ]) {
      expect(await work().catch((error) => error)).toMatchObject(refused)
    }
  })

  test.each(acts)('with a second one may be %s', async (_, act) => {
    const [admin, other] = await newAdmins(2)
    if (!admin || !other) throw new Error('No admins')
    expect((await act(a, admin, admin)).status).toBeOneOf([200, 204])
    expect(await activeAdmins()).toEqual([other.id])
  })
})

describe('admins who remove each other at the same moment', () => {
  const everything = [demote, disable, remove]

  test('leave one admin: eighteen rounds of two admins on two servers', async () => {
    for (let round = 0; round < 18; round++) {
      const [one, two] = await newAdmins(2)
      if (!one || !two) throw new Error('No admins')
      const [first, second] = [everything[round % 3], everything[Math.floor(round / 3) % 3]]
      if (!first || !second) throw new Error('No act')
      // Both servers have the credentials cached, so that neither request waits for a look-up.
      await Promise.all([
        call(a, 'GET /protected/admin', { bearer: one.access }),
        call(b, 'GET /protected/admin', { bearer: two.access }),
      ])
      const answers = await Promise.all([first(a, one, two), second(b, two, one)])
      const left = await activeAdmins()
      expect(left).toHaveLength(1)
      expect(answers.filter(({ status }) => status < 300)).toHaveLength(1)
      const refused = answers.find(({ status }) => status >= 300)
      // The second request waits for the first and is then refused as no admin, before the check for the last admin.
      expect(refused?.body.code).toBeOneOf(['insufficient_scope', 'invalid_token'])
    }
  })

  test('leave one admin: nine rounds of four admins who each act on all', async () => {
    for (let round = 0; round < 9; round++) {
      const admins = await newAdmins(4)
      const attempts = admins.flatMap((by, i) =>
        admins.map((target, j) => everything[(i + j + round) % 3]?.(i % 2 ? a : b, by, target)),
      )
      for (const answer of await Promise.all(attempts)) expect(answer?.status).toBeLessThan(500)
      expect((await activeAdmins()).length).toBeGreaterThanOrEqual(1)
    }
  })

  test('leave one admin: eighteen rounds in which each admin steps down', async () => {
    for (let round = 0; round < 18; round++) {
      const admins = await newAdmins(3)
      const act = everything[round % 3]
      const answers = await Promise.all(admins.map((admin, i) => act?.(i % 2 ? a : b, admin, admin)))
      expect(answers.map((answer) => answer?.status).sort()).toEqual([200, 200, 409])
      expect(await activeAdmins()).toHaveLength(1)
    }
  })
})

describe('the first admin', () => {
  const PASSWORD = 'a passphrase of several words'
  const boot = (adminEmail: string | null, on?: TestService) =>
    startService(
      { logLevel: 'error', adminEmail, adminPassword: adminEmail === null ? null : secret(PASSWORD) },
      on,
    )
  const settle = (work: Promise<unknown>[]) => Promise.allSettled(work)

  test('from ADMIN_EMAIL and ADMIN_PASSWORD is made once by several servers at once, and logs in', async () => {
    const first = await boot('Root@Example.com')
    const servers = [
      first,
      ...(await Promise.all(Array.from({ length: 5 }, () => boot('Root@Example.com', first)))),
    ]
    const own = connectTo(first)
    const made = await Promise.all(
      servers.flatMap(({ context }) => [ensureFirstAdmin(context), ensureFirstAdmin(context)]),
    )
    expect(made.filter((user) => user !== null)).toHaveLength(1)
    const rows = await own`SELECT email, role FROM latchkey.users`
    expect(rows.map((row) => ({ ...row }))).toEqual([{ email: 'root@example.com', role: 'admin' }])
    const audited =
      await own`SELECT action, actor_type, request_id FROM latchkey.audit_events WHERE target_type = 'user'`
    expect(audited.map((row) => ({ ...row }))).toEqual([
      { action: 'user.created', actor_type: 'system', request_id: null },
    ])
    const json = { email: 'root@example.com', password: PASSWORD }
    const login = await call(servers[3] ?? first, 'POST /auth/login', { json })
    const caller = { bearer: login.body.access_token }
    expect((await call(first, 'GET /protected/admin', caller)).status).toBe(200)
    await own.end()
    for (const server of servers.reverse()) await server.stop()
  })

  test('is made once where the servers have different addresses', async () => {
    for (let round = 0; round < 2; round++) {
      const first = await boot('one@example.com')
      const rest = await Promise.all(
        ['two@example.com', 'three@example.com', 'four@example.com'].map((e) => boot(e, first)),
      )
      const made = await Promise.all([first, ...rest].map(({ context }) => ensureFirstAdmin(context)))
      expect(made.filter((user) => user !== null)).toHaveLength(1)
      const own = connectTo(first)
      const [row] = await own`SELECT count(*)::int AS n FROM latchkey.users`
      expect(row?.n).toBe(1)
      await own.end()
      for (const server of rest) await server.stop()
      await first.stop()
    }
  })

  test('is not made where an admin exists, nor from an existing user, nor without the settings', async () => {
    const server = await boot('root@example.com')
    const own = connectTo(server)
    const without = await boot(null, server)
    expect(await ensureFirstAdmin(without.context)).toBeNull()
    const holder = await addPerson(own, { email: 'root@example.com' })
    const error = await ensureFirstAdmin(server.context).catch((thrown) => thrown)
    expect(error).toBeInstanceOf(Problem)
    expect(error).toMatchObject({ problem: 'email_taken' })
    expect((await own`SELECT role FROM latchkey.users`)[0]?.role).toBe('user')
    await own`DELETE FROM latchkey.users WHERE id = ${holder.id}`
    await addPerson(own, { role: 'admin' })
    expect(await ensureFirstAdmin(server.context)).toBeNull()
    expect(await own`SELECT 1 FROM latchkey.users WHERE email = 'root@example.com'`).toHaveLength(0)
    await own.end()
    await without.stop()
    await server.stop()
  })

  test('by "admin create" on several servers at once is made once', async () => {
    const first = await boot(null)
    const rest = await Promise.all(Array.from({ length: 3 }, () => boot(null, first)))
    const create = { email: 'root@example.com', password: PASSWORD }
    const results = await settle(
      [first, ...rest].flatMap(({ context }) => [1, 2].map(() => createAdmin(context, SYSTEM, create))),
    )
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    expect(results.length - failures.length).toBe(1)
    for (const failure of failures) expect(failure).toMatchObject({ problem: 'email_taken' })
    const own = connectTo(first)
    const rows = await own`SELECT role, is_active FROM latchkey.users`
    expect(rows.map((row) => ({ ...row }))).toEqual([{ role: 'admin', is_active: true }])
    expect(await own`SELECT 1 FROM latchkey.audit_events WHERE action = 'user.created'`).toHaveLength(1)
    await own.end()
    for (const server of rest) await server.stop()
    await first.stop()
  })
})
