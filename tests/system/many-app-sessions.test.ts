import { expect, setDefaultTimeout, test } from 'bun:test'
import { type Call, call } from '../support/client.ts'
import { addLoggedIn, addPerson } from '../support/people.ts'
import {
  addAppSession,
  addManySessions,
  longestList,
  registerApp,
  registerResource,
  scopesNow,
} from '../support/registered-apps.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

/** More than one step has, of people and of the sessions of each step. */
const PEOPLE = 2500
const EACH = 8
/** The rows of a table that one transaction changes at most. */
const STEP = 2000

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const world = prepare(async () => {
  const resource = await registerResource(service, admin.access)
  const app = await registerApp(service, admin.access)
  const person = await addPerson(sql)
  const { access } = await addAppSession(service, sql, person.id, app, resource)
  await addManySessions(sql, app.id, { grants: PEOPLE, each: EACH, resource: resource.id })
  return { resource, app, access }
})

const countLive = async () =>
  (await sql`SELECT count(*)::int AS n FROM latchkey.sessions WHERE kind = 'client' AND ended_at IS NULL`)[0]
    ?.n

/**
 * Sends a request, whose work is in transactions that are all small. One of them may be late on a busy machine: then the same
 * request goes on.
 */
async function ask(route: string, options: Call): Promise<number> {
  let status = 503
  const statements = await service.locks.record(async () => {
    for (let tries = 0; status === 503 && tries < 10; tries++)
      status = (await call(service, route, { bearer: admin.access, ...options })).status
  })
  expect(longestList(statements)).toBe(STEP)
  const transactions = new Set(statements.map(({ transaction }) => transaction))
  expect(transactions.size).toBeGreaterThan((PEOPLE * EACH) / STEP)
  return status
}

test('20,000 live sessions of apps end in steps where their resource is disabled, and where their app is deleted', async () => {
  const { resource, app, access } = world
  expect([await countLive(), await scopesNow(service, access)]).toEqual([PEOPLE * EACH + 1, ['read']])
  expect(await ask(`PATCH /resources/${resource.id}`, { json: { is_active: false } })).toBe(200)
  expect([await countLive(), await scopesNow(service, access)]).toEqual([0, null])

  await sql`UPDATE latchkey.sessions SET ended_at = NULL WHERE kind = 'client'`
  expect(await ask(`DELETE /oauth/clients/${app.id}`, {})).toBe(204)
  expect(await countLive()).toBe(0)
  const { items } = (await call(service, `GET /audit?target=${app.id}`, { bearer: admin.access })).body
  expect(items[0].action).toBe('client.deleted')
  const [ended] = await sql`SELECT count(*)::int AS n FROM latchkey.audit_events WHERE action = 'grant.ended'`
  expect(ended?.n).toBe(PEOPLE + 1)
})
