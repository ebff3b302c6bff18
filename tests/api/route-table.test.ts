import { describe, expect, test } from 'bun:test'
import { NEEDS } from '../../src/api/route-table.ts'
import { call, newKey, newPerson } from '../support/client.ts'
import { addLoggedIn, addPerson } from '../support/people.ts'
import { openPortal } from '../support/portal.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

type OfUsers = 'user' | 'admin' | 'adminOrKey'
type OfKeys = 'key' | 'anyKey'
type Entry = Partial<
  Record<
    OfUsers | OfKeys | 'anyone' | 'anyoneOrPortal' | 'portal' | 'open' | 'ownOrigin' | 'browser',
    unknown
  >
>

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
/** The bearer of a new portal session with every power. */
async function newBearer(): Promise<string> {
  const customer = await addPerson(sql)
  const json = { user_id: customer.id, may: ['create', 'rotate', 'revoke'] }
  return (await openPortal(service, { bearer: admin.access }, json)).bearer
}

const entries = Object.entries<Entry>(NEEDS)
/** Routes for browsers are guarded by origin and cookie (browser-sessions.test.ts, cross-site.test.ts). */
const isForBrowsers = (need: Entry) => need.ownOrigin !== undefined || need.browser !== undefined
const guarded = entries.filter(
  ([, need]) => Object.keys(need).length > 0 && !need.open && !isForBrowsers(need),
)
/** A path of the route with unknown ids. */
const targetOf = (route: string) => route.replace(/:\w+/g, '00000000-0000-7000-8000-000000000000')

test('every route of the document has an entry, and every entry a route', async () => {
  const { paths } = (await (await fetch(`${service.url}/openapi.json`)).json()) as {
    paths: Record<string, object>
  }
  const documented = Object.entries(paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`),
  )
  expect(documented.filter((route) => route !== 'GET /forward-auth').sort()).toEqual(
    entries.map(([route]) => route).sort(),
  )
})

describe('a route requires what its entry says', () => {
  test.each(guarded.map(([route]) => route))('%s refuses a caller without a credential', async (route) => {
    expectProblem(await call(service, targetOf(route)), 'missing_credential')
  })

  test.each(guarded)('%s takes principals of its own kind alone', async (route, need) => {
    // A new credential for each route, because some routes end the presented one.
    const person = await newPerson(service)
    const { key } = await newKey(service, person.access)
    const byKey = await call(service, targetOf(route), { apiKey: key })
    const byUser = await call(service, targetOf(route), { bearer: person.access })
    const bearer = await newBearer()
    const byPortal = await call(service, targetOf(route), { bearer })
    const takes = {
      key: !need.user && !need.admin && !need.portal,
      user: !need.key && !need.anyKey && !need.portal,
      portal: need.anyoneOrPortal || need.portal,
    }
    if (!takes.key) expectProblem(byKey, 'wrong_credential_kind')
    if (!takes.user) expectProblem(byUser, 'wrong_credential_kind')
    if (!takes.portal) expectProblem(byPortal, 'wrong_credential_kind')
    const isOfAdmins = need.admin || need.adminOrKey
    if (isOfAdmins) expectProblem(byUser, 'forbidden')
    const allowed = [
      takes.key ? byKey : [],
      takes.user && !isOfAdmins ? byUser : [],
      takes.portal ? byPortal : [],
    ]
    for (const { body } of allowed.flat())
      expect(['missing_credential', 'invalid_token', 'wrong_credential_kind']).not.toContain(body?.code)
  })

  test.each(entries.filter(([, need]) => Object.keys(need).length === 0 || need.open))(
    '%s asks for none',
    async (route) => {
      const { body } = await call(service, targetOf(route))
      expect(body?.code).not.toBe('missing_credential')
    },
  )
})
