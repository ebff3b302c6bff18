import { expect, setDefaultTimeout, test } from 'bun:test'
import { USERS_WRITE } from '../../src/lib/scopes.ts'
import { insertKey } from '../support/authority.ts'
import { type Answer, call } from '../support/client.ts'
import { addLoggedIn, addPerson } from '../support/people.ts'
import { until } from '../support/until.ts'
import { useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

/** The number of requests in flight at any time. */
const CALLERS = 16

const a = useService({ logLevel: 'error' })
const b = useService({ logLevel: 'error' }, a)
const sql = useSql(a)

type Subject = { id: string; access: string; key: { id: string; key: string } }

/** Requests that end the power of a user's key, by an admin or by the user. */
const ENDS: [string, (on: Subject, admin: string) => [route: string, bearer: string, json?: object]][] = [
  ['the user is disabled', (on, admin) => [`PATCH /users/${on.id}`, admin, { is_active: false }]],
  ['the user is deleted', (on, admin) => [`DELETE /users/${on.id}`, admin]],
  ['the key is revoked', (on, admin) => [`DELETE /keys/${on.key.id}`, admin]],
  ['the key is revoked with those it made', (on) => [`DELETE /keys/${on.key.id}?created=true`, on.access]],
  ['the key is deleted', (on) => [`DELETE /keys/delete/${on.key.id}`, on.access]],
  ['the key ends itself', (on) => ['DELETE /keys/self', on.key.key]],
]

test.each(ENDS)('requests of a caller without a pause do not hold its end off: %s', async (_, end) => {
  const admin = await addLoggedIn(a, sql, { role: 'admin' })
  const person = await addLoggedIn(a, sql, { role: 'admin' })
  const subject = { ...person, key: await insertKey(sql, { user: person.id }, ['read', USERS_WRITE]) }
  let changes = 0
  const callWithoutPause = async (_: unknown, i: number): Promise<Answer> => {
    const { id } = await addPerson(sql)
    for (;;) {
      const json = { scopes: changes % 2 ? ['read'] : [] }
      const answer = await call(i % 2 ? a : b, `PATCH /users/${id}`, { bearer: subject.key.key, json })
      if (answer.status >= 300) return answer
      changes++
    }
  }
  const calling = Promise.all(Array.from({ length: CALLERS }, callWithoutPause))
  await until(() => changes > 5 * CALLERS, 'all of them are under way')
  const [route, bearer, json] = end(subject, admin.access)
  const answer = await call(a, route, { bearer, json })
  expect([answer.status < 300, answer.text]).toEqual([true, answer.text])
  // Each request is refused for its key, and none for a timeout.
  expect([...new Set((await calling).map(({ status }) => status))]).toEqual([401])
})
