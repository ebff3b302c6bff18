import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import type postgres from 'postgres'
import { USERS_WRITE } from '../../src/lib/scopes.ts'
import { insertKey } from '../support/authority.ts'
import { type Answer, type Call, call } from '../support/client.ts'
import { addLoggedIn, connectTo } from '../support/people.ts'
import { startService, type TestService } from '../support/service.ts'

setDefaultTimeout(240_000)

/** Each pair of overthrows three times. */
const ROUNDS = 75

let a: TestService
let b: TestService
let sql: postgres.Sql
beforeAll(async () => {
  a = await startService({ logLevel: 'error' })
  b = await startService({ logLevel: 'error' }, a)
  sql = connectTo(a)
  // One more admin, so that neither of the two is ever the last one.
  await addLoggedIn(a, sql, { role: 'admin' })
})
afterAll(async () => {
  await sql.end()
  await b.stop()
  await a.stop()
})

/** Makes an admin with a key that administers users, another key, and a service account with a key. */
async function newAdmin() {
  const person = await addLoggedIn(a, sql, { role: 'admin' })
  const [account] = await sql`INSERT INTO latchkey.service_accounts (id, name, scopes, created_by, created_at)
    VALUES (gen_random_uuid(), 'service', '{read}', ${person.id}, now()) RETURNING id`
  await sql`INSERT INTO latchkey.account_managers (id, service_account_id, user_id, created_at)
    SELECT gen_random_uuid(), id, created_by, now() FROM latchkey.service_accounts
    WHERE created_by IS NOT NULL ON CONFLICT DO NOTHING`
  return {
    ...person,
    account: account?.id as string,
    manager: await insertKey(sql, { user: person.id }, [USERS_WRITE, 'read']),
    own: await insertKey(sql, { user: person.id }, ['read']),
    accountKey: await insertKey(sql, { account: account?.id }, ['read']),
  }
}
type Admin = Awaited<ReturnType<typeof newAdmin>>

type Act = (by: Admin, on: Admin) => [route: string, options: Call]

/** Requests that end the power of the other admin. Of two at once exactly one succeeds. */
const overthrows: Act[] = [
  (by, on) => [`PATCH /users/${on.id}`, { bearer: by.access, json: { role: 'user' } }],
  (by, on) => [`PATCH /users/${on.id}`, { bearer: by.access, json: { is_active: false } }],
  (by, on) => [
    `PATCH /users/${on.id}?service_accounts=disable`,
    { bearer: by.access, json: { is_active: false } },
  ],
  (by, on) => [`DELETE /users/${on.id}`, { bearer: by.access }],
  (by, on) => [`DELETE /users/${on.id}?service_accounts=disable`, { bearer: by.access }],
]
/** Other requests of two admins on each other, their keys and their accounts. */
const others: Act[] = [
  (by, on) => [`DELETE /keys/${on.own.id}?created=true`, { bearer: by.access }],
  (by, on) => [`DELETE /keys/${on.manager.id}`, { bearer: by.access }],
  (by, on) => [`PATCH /keys/${on.own.id}`, { bearer: by.access, json: { is_active: false } }],
  (by, on) => [`POST /keys/${on.accountKey.id}/rotate`, { bearer: by.access, json: {} }],
  (by, on) => [`PATCH /service-accounts/${on.account}`, { bearer: by.access, json: { is_active: false } }],
  (by, on) => [`DELETE /service-accounts/${on.account}`, { bearer: by.access }],
  (by, on) => [`POST /users/${on.id}/logout`, { bearer: by.access }],
  (by) => ['POST /keys', { bearer: by.access, json: { scopes: 'read' } }],
  (by) => [`POST /keys/${by.own.id}/rotate`, { bearer: by.access, json: { overlap_seconds: 0 } }],
  (by) => ['POST /users', { bearer: by.manager.key, json: { email: `by-${by.id}@example.com` } }],
  (by) => ['POST /auth/logout-all', { bearer: by.access }],
]
const pick = <T>(list: readonly T[], at: number): T => list[at % list.length] as T

test(`two admins act on each other and on each other’s keys on two servers, ${ROUNDS} rounds: no request is a server error`, async () => {
  const count = { answers: 0, changes: 0, refusals: 0 }
  for (let round = 0; round < ROUNDS; round++) {
    const [one, two] = await Promise.all([newAdmin(), newAdmin()])
    const ask = (at: TestService, act: Act, by: Admin, on: Admin): Promise<Answer> => call(at, ...act(by, on))
    const overthrowing = [
      ask(a, pick(overthrows, round), one, two),
      ask(b, pick(overthrows, Math.floor(round / overthrows.length)), two, one),
    ]
    const rest = [0, 1, 2].flatMap((i) => [
      ask(b, pick(others, round + i), one, two),
      ask(a, pick(others, round * 3 + i), two, one),
    ])
    const [first, second, ...more] = await Promise.all([...overthrowing, ...rest])
    for (const answer of [first, second, ...more]) {
      if (!answer) continue
      count.answers++
      if (answer.status < 300) count.changes++
      else count.refusals++
      if (answer.status >= 500) throw new Error(`Round ${round}: ${answer.status} ${answer.text}`)
    }
    // An admin may have been logged out before either acted. Both requests never succeed.
    const happened = [first, second].filter((answer) => answer && answer.status < 300).length
    expect([round, happened <= 1]).toEqual([round, true])
    // A revoked credential is refused.
    const left =
      await sql`SELECT 1 FROM latchkey.users WHERE id IN (${one.id}, ${two.id}) AND role = 'admin' AND is_active`
    expect([round, left.length]).toEqual([round, 2 - happened])
  }
  const [database] = await sql`SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()`
  process.stdout.write(
    `      ${count.answers} answers: ${count.changes} changes, ${count.refusals} refusals; deadlocks that were tried again: ${database?.deadlocks}\n`,
  )
  expect(count.changes).toBeGreaterThan(ROUNDS)
  expect(count.refusals).toBeGreaterThan(ROUNDS / 2)
  const [audited] = await sql`SELECT count(*)::int AS n FROM latchkey.audit_events WHERE outcome = 'success'
    AND action IN ('user.role_changed', 'user.disabled', 'user.deleted')`
  expect(audited?.n).toBeGreaterThan(ROUNDS / 2)
})
