import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type postgres from 'postgres'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { revokeSigningKey } from '../../src/core/signing/signing-keys.ts'
import { secret } from '../../src/lib/secret.ts'
import {
  CHANGING_ROUTES,
  digest,
  EVERY_KIND,
  insertKey,
  type Kind,
  newWorld,
  requestOf,
  UNSENT_MAIL,
  type World,
} from '../support/authority.ts'
import { type Answer, call } from '../support/client.ts'
import { testConfig } from '../support/config.ts'
import { type DatabaseProxy, startDatabaseProxy } from '../support/database-proxy.ts'
import { sendHalves } from '../support/held.ts'
import { addLoggedIn, connectTo, PASSWORD } from '../support/people.ts'
import { createDatabase, sharedServer, type TestDatabase } from '../support/postgres.ts'
import { warm } from '../support/revocation.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'

setDefaultTimeout(240_000)

let a: TestService
let b: TestService
let database: TestDatabase
let sql: postgres.Sql
/** An admin whose power does not end in any of these tests. */
let admin: string
/** The connections on which the servers hear of changes. They can hold evictions back, for less time than a cache needs proof of life. */
let news: DatabaseProxy[]
beforeAll(async () => {
  const { port } = await sharedServer()
  database = await createDatabase()
  news = [await startDatabaseProxy(port), await startDatabaseProxy(port)]
  const [one, two] = news.map((way) => ({
    ...UNSENT_MAIL,
    logLevel: 'error' as const,
    databaseDirectUrl: secret(way.url(database.url)),
  }))
  const config = testConfig()
  a = await startService(one, { databaseUrl: database.url, config })
  b = await startService(two, { databaseUrl: database.url, config })
  sql = connectTo(a)
  admin = (await addLoggedIn(a, sql, { role: 'admin' })).access
})
afterAll(async () => {
  await sql.end()
  await b.stop()
  await a.stop()
  for (const way of news) way.close()
  await database.drop()
})

/** Sends a part of each changing request of a caller and holds the rest back. */
async function hold(at: TestService, w: World, routes: readonly string[]) {
  const requests = routes.map((route) => {
    const [line, { json }] = requestOf(route, w)
    return { line, json, bearer: w.bearer }
  })
  const rests = await sendHalves(at, requests)
  return rests.map((finish, i) => ({ route: routes[i] ?? '', finish }))
}

const bodied = (kind: Kind) =>
  Object.entries(CHANGING_ROUTES)
    .filter(([, { by, json }]) => by.includes(kind) && json !== undefined)
    .map(([route]) => route)

type Way = {
  name: string
  of: Kind
  /** Ends the power through one of the servers, and gives the last answer. */
  act(at: TestService, w: World): Promise<Answer | undefined>
  /** True where only the admin's role ends, so that other routes still answer. */
  isDemotion?: true
}
const asAdmin = (at: TestService, route: string, json?: unknown) => call(at, route, { bearer: admin, json })
const asPerson = (at: TestService, w: World, route: string, json?: unknown) =>
  call(at, route, { bearer: w.otherSession.access, json })
const changePassword = (at: TestService, w: World) => {
  const json = { current_password: PASSWORD, new_password: 'another-long-one', revoke_keys: true }
  return asPerson(at, w, 'POST /auth/password', json)
}

const ways: Way[] = [
  {
    name: 'demoted',
    of: 'admin',
    act: (at, w) => asAdmin(at, `PATCH /users/${w.person.id}`, { role: 'user' }),
    isDemotion: true,
  },
  {
    name: 'disabled',
    of: 'admin',
    act: (at, w) => asAdmin(at, `PATCH /users/${w.person.id}`, { is_active: false }),
  },
  { name: 'deleted', of: 'admin', act: (at, w) => asAdmin(at, `DELETE /users/${w.person.id}`) },
  {
    name: 'with a session that ended',
    of: 'admin',
    act: (at, w) => asPerson(at, w, `DELETE /auth/sessions/${w.sessionId}`),
  },
  { name: 'logged out everywhere', of: 'user', act: (at, w) => asPerson(at, w, 'POST /auth/logout-all') },
  { name: 'with another password and no keys', of: 'user', act: changePassword },
  {
    name: 'with a password that was reset',
    of: 'user',
    act: async (at, w) => {
      const { token } = (await asAdmin(at, `POST /users/${w.person.id}/password-reset`)).body
      const json = { token, new_password: 'another-long-one' }
      return call(at, 'POST /auth/password-reset', { json })
    },
  },
  { name: 'revoked', of: 'key', act: (at, w) => asAdmin(at, `DELETE /keys/${w.caller.id}`) },
  {
    name: 'revoked with the key that made it',
    of: 'key',
    act: async (at, w) => {
      const maker = await insertKey(sql, { user: w.person.id }, ['read'])
      await sql`UPDATE latchkey.api_keys SET created_by = ${maker.id} WHERE id = ${w.caller.id}`
      return asPerson(at, w, `DELETE /keys/${maker.id}?created=true`)
    },
  },
  { name: 'whose owner revokes all keys', of: 'key', act: changePassword },
  {
    name: 'whose secret is ended',
    of: 'key',
    act: async (at, w) => {
      await asPerson(at, w, `POST /keys/${w.caller.id}/rotate`, {})
      return asPerson(at, w, `DELETE /keys/${w.caller.id}/secrets/${w.caller.secretId}`)
    },
  },
  {
    name: 'whose owner is disabled',
    of: 'key',
    act: (at, w) => asAdmin(at, `PATCH /users/${w.person.id}`, { is_active: false }),
  },
  {
    name: 'whose account is disabled',
    of: 'account key',
    act: (at, w) => asAdmin(at, `PATCH /service-accounts/${w.account}`, { is_active: false }),
  },
  {
    name: 'whose account is deleted',
    of: 'account key',
    act: (at, w) => asAdmin(at, `DELETE /service-accounts/${w.account}`),
  },
  {
    name: 'whose session is ended',
    of: 'portal',
    act: (at, w) => asAdmin(at, `DELETE /portal/sessions/${w.portalSession}`),
  },
  {
    name: 'whose maker is revoked',
    of: 'portal',
    act: (at, w) => asAdmin(at, `DELETE /keys/${w.caller.id}`),
  },
  {
    name: 'whose owner is disabled',
    of: 'portal',
    act: (at, w) => asAdmin(at, `PATCH /service-accounts/${w.managedAccount}`, { is_active: false }),
  },
  {
    name: 'whose maker is demoted',
    of: 'admin portal',
    act: (at, w) => asAdmin(at, `PATCH /users/${w.person.id}`, { role: 'user' }),
  },
  {
    name: 'that is revoked by itself',
    of: 'account token',
    act: (at, w) => call(at, 'POST /oauth/revoke', { form: { token: w.bearer } }),
  },
  {
    name: 'whose account is disabled',
    of: 'account token',
    act: (at, w) => asAdmin(at, `PATCH /service-accounts/${w.account}`, { is_active: false }),
  },
]

/** Waits until both servers refuse the caller. */
async function expectHeard(w: World, { isDemotion }: Way): Promise<void> {
  const [route, dead] = isDemotion ? ['GET /protected/admin', 403] : ['GET /auth/me', 401]
  for (const at of [a, b]) {
    const isDead = async () => (await call(at, route, { bearer: w.bearer })).status === dead
    await until(isDead, 'the caller is refused', 2000)
  }
}

const MAKES_KEY = ['POST /keys', 'POST /keys/create']

async function expectRefusals(way: Way, act: (w: World) => Promise<unknown>): Promise<void> {
  try {
    await refuseHeld(way, act)
  } finally {
    // A test that fails would leave the next ones without news, and so without a cache.
    for (const connection of news) connection.release()
  }
}

async function refuseHeld(way: Way, act: (w: World) => Promise<unknown>): Promise<void> {
  const w = await newWorld(a, sql, way.of)
  const routes = bodied(way.of).filter((route) => !way.isDemotion || CHANGING_ROUTES[route]?.isOfAdmins)
  const [prompt, late] = [
    [await hold(a, w, routes), await hold(b, w, routes)],
    [await hold(a, w, routes), await hold(b, w, routes)],
  ]
  // A caller that is not cached would be looked up when the body arrives, and be refused before the change begins.
  for (const at of [a, b]) await warm(at, { name: way.of, kind: 'key', text: w.bearer })
  for (const way of news) way.hold(1)
  await act(w)
  const after = await digest(sql)
  for (const held of [prompt, late]) {
    const answers = await Promise.all(
      held.flat().map(async ({ route, finish }) => [route, await finish()] as const),
    )
    expect(answers.length).toBe(2 * routes.length)
    for (const [route, status] of answers) {
      // A new key needs no existing row, so 404 is no refusal here.
      const refusals = way.isDemotion ? [403] : MAKES_KEY.includes(route) ? [401] : [401, 403, 404]
      expect([route, refusals.includes(status), status]).toEqual([route, true, status])
    }
    expect(await digest(sql)).toBe(after)
    if (held !== prompt) continue
    for (const way of news) way.release()
    await expectHeard(w, way)
  }
}

describe('a body that arrives after its sender’s power ended changes nothing', () => {
  test.each(EVERY_KIND.map((kind) => [kind]))(
    'the control: while no power ends, each request of %s succeeds',
    async (kind) => {
      for (const [at, other] of [
        [a, b],
        [b, a],
      ] as const) {
        // A request that changes the caller's own account may end what the other requests depend on.
        const isAlone = (route: string) => route.includes(' /auth/')
        const groups = [
          bodied(kind).filter((route) => !isAlone(route)),
          ...bodied(kind)
            .filter(isAlone)
            .map((route) => [route]),
        ]
        for (const [n, routes] of groups.entries()) {
          const w = await newWorld(at, sql, kind)
          for (const { route, finish } of await hold(n % 2 === 0 ? other : at, w, routes)) {
            const before = await digest(sql)
            expect([route, (await finish()) < 300]).toEqual([route, true])
            expect([route, (await digest(sql)) === before]).toEqual([route, false])
          }
        }
      }
    },
  )

  const onEach = ways.flatMap(
    (way) =>
      [
        [way.of, way.name, 'the same', way],
        [way.of, way.name, 'another', way],
      ] as const,
  )
  test.each(onEach)('%s %s, ended on %s server', async (_of, _name, where, way) => {
    const at = where === 'the same' ? a : b
    await expectRefusals(way, async (w) => {
      const answer = await way.act(at, w)
      expect(answer?.status).toBeOneOf([200, 204])
    })
  })

  test('a token whose signing key is revoked', async () => {
    for (const of of ['admin', 'account token'] as const) {
      const way = { name: 'signing key', of, act: async () => undefined }
      await expectRefusals(way, (w) => revokeSigningKey(a.context, SYSTEM, w.signingKeyId))
      await b.context.signing.refresh()
    }
  })
})
