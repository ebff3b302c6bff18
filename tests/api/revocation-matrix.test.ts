import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type postgres from 'postgres'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { endEverySession } from '../../src/core/sessions/sessions.ts'
import { revokeSigningKey } from '../../src/core/signing/signing-keys.ts'
import { SECOND_MS } from '../../src/lib/time.ts'
import { ask } from '../support/browser.ts'
import { type Answer, call, newKey } from '../support/client.ts'
import { sendHalves } from '../support/held.ts'
import { addLoggedIn, addPerson, beginSession, connectTo, PASSWORD } from '../support/people.ts'
import { claimsOf, refresh } from '../support/refresh.ts'
import {
  type Credential,
  type Household,
  isRemembered,
  newHousehold,
  type Surface,
  surfacesOf,
  warm,
} from '../support/revocation.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'

/** Enough connections for all requests at once, so that a full pool refuses none. */
const quiet = { logLevel: 'error', databasePoolSize: 30 } as const

let a: TestService
let b: TestService
let sql: postgres.Sql
/** An admin, and an introspecting key of that admin. No action affects them. */
let admin: string
let watcher: string
let surfaces: Awaited<ReturnType<typeof surfacesOf>>
beforeAll(async () => {
  a = await startService(quiet)
  b = await startService(quiet, a)
  sql = connectTo(a)
  const person = await addLoggedIn(a, sql, { role: 'admin' })
  admin = person.access
  watcher = (await newKey(a, admin, { scopes: ['latchkey:introspect', 'latchkey:verify'] })).key
  surfaces = await surfacesOf(a, watcher)
})
afterAll(async () => {
  await sql.end()
  await b.stop()
  await a.stop()
})

type Name = keyof Household['credentials']
type Act = (at: TestService, household: Household) => Promise<Answer | undefined>
type Action = { name: string; kills: Name[]; act: Act }

const SESSION_0: Name[] = ['access0', 'refresh0']
const BROWSER: Name[] = ['cookie', 'browserToken']
const APP_0: Name[] = ['app0', 'appRefresh0']
const APPS: Name[] = [...APP_0, 'signedIn0', 'ownApp0', 'ours0']
const SESSIONS: Name[] = [...SESSION_0, 'access1', 'refresh1', ...BROWSER, ...APPS]
/** What would become a session ends with all of them. */
const EVERY_SESSION: Name[] = [...SESSIONS, 'step']
/** What was exchanged for a secret ends with it. */
const SECRET_0: Name[] = ['key0', 'exchanged0']
/** A portal session ends with the key that made it. */
const KEY_0: Name[] = [...SECRET_0, 'portal0']
const KEYS: Name[] = [...KEY_0, 'key1']
const ACCOUNT_0: Name[] = ['accountKey0', 'accountToken0']
const ACCOUNT: Name[] = [...ACCOUNT_0, 'accountKey1', 'accountToken1']

const asAdmin = (at: TestService, route: string, json?: unknown) => call(at, route, { bearer: admin, json })
const asUser = (at: TestService, h: Household, route: string, json?: unknown) =>
  call(at, route, { bearer: h.credentials.access1.text, json })
const revokeToken = (at: TestService, { text }: Credential) =>
  call(at, 'POST /oauth/revoke', { form: { token: text } })
const change = (revoke_keys: boolean): Act => {
  const json = { current_password: PASSWORD, new_password: 'another-long-one', revoke_keys }
  return (at, h) => asUser(at, h, 'POST /auth/password', json)
}

async function ofEveryApp(h: Household, end: (id: string) => Promise<Answer>): Promise<undefined> {
  for (const { id } of Object.values(h.apps)) expect((await end(id)).status).toBeOneOf([200, 204])
}

/** Each action that ends credentials at once, with the credentials that it ends. All others stay valid. */
const actions: Action[] = [
  {
    name: 'logout by the refresh token',
    kills: SESSION_0,
    act: (at, { credentials: c }) =>
      call(at, 'POST /auth/logout', { json: { refresh_token: c.refresh0.text } }),
  },
  {
    name: 'logout by the access token',
    kills: SESSION_0,
    act: (at, { credentials: c }) => call(at, 'POST /auth/logout', { bearer: c.access0.text }),
  },
  { name: 'logout everywhere', kills: EVERY_SESSION, act: (at, h) => asUser(at, h, 'POST /auth/logout-all') },
  {
    name: 'the end of one session',
    kills: SESSION_0,
    act: (at, h) =>
      asUser(at, h, `DELETE /auth/sessions/${claimsOf(at, h.credentials.refresh0.text).sessionId}`),
  },
  { name: 'a change of the password', kills: EVERY_SESSION, act: change(false) },
  {
    name: 'a change of the password with the keys',
    kills: [...EVERY_SESSION, ...KEYS, ...ACCOUNT],
    act: change(true),
  },
  {
    name: 'a reset of the password',
    kills: EVERY_SESSION,
    act: async (at, { person }) => {
      const { token } = (await asAdmin(at, `POST /users/${person.id}/password-reset`)).body
      return call(at, 'POST /auth/password-reset', { json: { token, new_password: 'another-long-one' } })
    },
  },
  {
    name: 'an admin’s logout of the user',
    kills: EVERY_SESSION,
    act: (at, { person }) => asAdmin(at, `POST /users/${person.id}/logout`),
  },
  {
    name: 'the user’s being disabled',
    kills: [...EVERY_SESSION, ...KEYS, 'portal1'],
    act: (at, { person }) => asAdmin(at, `PATCH /users/${person.id}`, { is_active: false }),
  },
  {
    name: 'the user’s being deleted',
    kills: [...EVERY_SESSION, ...KEYS, 'portal1'],
    act: (at, { person }) => asAdmin(at, `DELETE /users/${person.id}`),
  },
  {
    name: 'a refresh token’s reuse',
    kills: SESSION_0,
    act: async (at, { sessions, credentials: { refresh0 } }) => {
      for (let trades = 0; trades < 3; trades++)
        refresh0.text = (await refresh(at, refresh0.text)).body.refresh_token
      expect((await refresh(at, sessions[0].refresh)).status).toBe(401)
      return undefined
    },
  },
  {
    name: 'an admin’s removal of the second factors',
    kills: EVERY_SESSION,
    act: (at, { person }) => asAdmin(at, `DELETE /users/${person.id}/mfa`),
  },
  {
    name: 'the removal of a second factor, by another session',
    kills: [...SESSION_0, ...BROWSER, ...APPS, 'step'],
    act: (at, h) => asUser(at, h, 'DELETE /auth/mfa/totp'),
  },
  {
    name: 'new recovery codes, by another session',
    kills: [...SESSION_0, ...BROWSER, ...APPS, 'step'],
    act: (at, h) => asUser(at, h, 'POST /auth/mfa/recovery-codes'),
  },
  {
    name: 'sign-out of the browser',
    kills: BROWSER,
    act: (at, { credentials: c }) => ask(at, 'DELETE /session', { headers: { cookie: c.cookie.text } }),
  },
  {
    name: 'revocation of the access token',
    kills: SESSION_0,
    act: (at, { credentials: c }) => revokeToken(at, c.access0),
  },
  {
    name: 'revocation of the refresh token',
    kills: SESSION_0,
    act: (at, { credentials: c }) => revokeToken(at, c.refresh0),
  },
  {
    name: 'revocation of the access token of an app',
    kills: APP_0,
    act: (at, { credentials: c }) => revokeToken(at, c.app0),
  },
  {
    name: 'revocation of the refresh token of an app',
    kills: APP_0,
    act: (at, { credentials: c }) => revokeToken(at, c.appRefresh0),
  },
  {
    name: 'revocation of the token of an app for Latchkey itself',
    kills: ['ownApp0'],
    act: (at, { credentials: c }) => revokeToken(at, c.ownApp0),
  },
  {
    name: 'the person’s end of what they allowed an app',
    kills: APP_0,
    act: (at, h) => asUser(at, h, `DELETE /auth/grants/${h.allowed.reader.grantId}`),
  },
  {
    name: 'an admin’s end of what a person allowed an app',
    kills: ['ours0'],
    act: (at, h) => asAdmin(at, `DELETE /users/${h.person.id}/grants/${h.allowed.ours.grantId}`),
  },
  {
    name: 'the end of what a person allowed an app at Latchkey itself',
    kills: ['ownApp0'],
    act: (at, h) => asUser(at, h, `DELETE /auth/grants/${h.allowed.keeper.grantId}?created=true`),
  },
  {
    name: 'the apps’ being disabled',
    kills: APPS,
    act: (at, h) => ofEveryApp(h, (id) => asAdmin(at, `PATCH /oauth/clients/${id}`, { is_active: false })),
  },
  {
    name: 'the apps’ being deleted',
    kills: APPS,
    act: (at, h) => ofEveryApp(h, (id) => asAdmin(at, `DELETE /oauth/clients/${id}`)),
  },
  {
    name: 'an app’s being no longer one of ours',
    kills: ['ours0'],
    act: (at, h) => asAdmin(at, `PATCH /oauth/clients/${h.apps.ours.id}`, { first_party: false }),
  },
  {
    name: 'the resource’s being disabled',
    kills: [...APP_0, 'exchanged0'],
    act: (at, h) => asAdmin(at, `PATCH /resources/${h.resource.id}`, { is_active: false }),
  },
  {
    name: 'the resource’s being deleted',
    kills: [...APP_0, 'exchanged0'],
    act: (at, h) => asAdmin(at, `DELETE /resources/${h.resource.id}`),
  },
  {
    name: 'revocation of a user’s key as a token',
    kills: KEY_0,
    act: (at, { credentials: c }) => revokeToken(at, c.key0),
  },
  {
    name: 'revocation of a service account’s key as a token',
    kills: ACCOUNT_0,
    act: (at, { credentials: c }) => revokeToken(at, c.accountKey0),
  },
  {
    name: 'revocation of a key',
    kills: KEY_0,
    act: (at, h) => asUser(at, h, `DELETE /keys/revoke/${h.keys[0].id}`),
  },
  {
    name: 'an admin’s revocation of a key',
    kills: KEY_0,
    act: (at, h) => asAdmin(at, `DELETE /keys/${h.keys[0].id}`),
  },
  {
    name: 'deletion of a key',
    kills: KEY_0,
    act: (at, h) => asUser(at, h, `DELETE /keys/delete/${h.keys[0].id}`),
  },
  {
    name: 'a key’s being disabled',
    kills: KEY_0,
    act: (at, h) => asUser(at, h, `PATCH /keys/${h.keys[0].id}`, { is_active: false }),
  },
  {
    name: 'a rotation without overlap',
    kills: SECRET_0,
    act: (at, h) => asUser(at, h, `POST /keys/${h.keys[0].id}/rotate`, { overlap_seconds: 0 }),
  },
  {
    name: 'a rotation without overlap of a service account’s key',
    kills: ACCOUNT_0,
    act: (at, h) => asUser(at, h, `POST /keys/${h.accountKeys[0].id}/rotate`, { overlap_seconds: 0 }),
  },
  {
    name: 'the end of a secret before its overlap is over',
    kills: ACCOUNT_0,
    act: async (at, h) => {
      const { id } = h.accountKeys[0]
      const before = (await asUser(at, h, `GET /keys/${id}`)).body.secrets[0].start
      expect((await asUser(at, h, `POST /keys/${id}/rotate`, {})).status).toBe(201)
      expect((await call(at, 'GET /auth/me', { bearer: h.credentials.accountToken0.text })).status).toBe(200)
      return asUser(at, h, `DELETE /keys/${id}/secrets/${before}`)
    },
  },
  {
    name: 'a key that revokes itself',
    kills: ACCOUNT_0,
    act: (at, { credentials: c }) => call(at, 'DELETE /keys/self', { apiKey: c.accountKey0.text }),
  },
  {
    name: 'revocation of a service account’s key',
    kills: ACCOUNT_0,
    act: (at, h) => asUser(at, h, `DELETE /keys/${h.accountKeys[0].id}`),
  },
  {
    name: 'deletion of a service account’s key',
    kills: ACCOUNT_0,
    act: (at, h) => asUser(at, h, `DELETE /keys/delete/${h.accountKeys[0].id}`),
  },
  {
    name: 'the service account’s being disabled',
    kills: [...ACCOUNT, 'portal0'],
    act: (at, h) => asUser(at, h, `PATCH /service-accounts/${h.account}`, { is_active: false }),
  },
  {
    name: 'the service account’s being deleted',
    kills: [...ACCOUNT, 'portal0'],
    act: (at, h) => asUser(at, h, `DELETE /service-accounts/${h.account}`),
  },
  {
    name: 'the end of a portal session by the key that made it',
    kills: ['portal0'],
    act: (at, h) => call(at, `DELETE /portal/sessions/${h.portals[0].id}`, { apiKey: h.keys[0].key }),
  },
  {
    name: 'the end of a portal session by an admin',
    kills: ['portal0'],
    act: (at, h) => asAdmin(at, `DELETE /portal/sessions/${h.portals[0].id}`),
  },
  {
    name: 'a portal session that ends itself',
    kills: ['portal1'],
    act: (at, { credentials: c }) => call(at, 'DELETE /portal/session', { bearer: c.portal1.text }),
  },
  {
    name: 'the loss of latchkey:portal by the key that made a portal session',
    kills: ['portal0'],
    act: (at, h) => asUser(at, h, `PATCH /keys/${h.keys[0].id}`, { scopes: ['read', 'latchkey:keys.write'] }),
  },
  {
    name: 'the demotion of the admin who made a portal session',
    kills: ['portal1'],
    act: (at, h) => asAdmin(at, `PATCH /users/${h.portalAdmin.id}`, { role: 'user' }),
  },
  {
    name: 'the deletion of the admin who made a portal session',
    kills: ['portal1'],
    act: (at, h) => asAdmin(at, `DELETE /users/${h.portalAdmin.id}`),
  },
  {
    name: 'the promotion of the user of a portal session',
    kills: ['portal1'],
    act: (at, h) => asAdmin(at, `PATCH /users/${h.person.id}`, { role: 'admin' }),
  },
]

type Cell = { credential: Credential; surface: Surface }
const cellsOf = (credentials: Credential[]): Cell[] =>
  credentials.flatMap((credential) => surfaces[credential.kind].map((surface) => ({ credential, surface })))
const count = { cells: 0, actions: 0 }
const lagsMs: number[] = []
/** Changes of live credentials for which the machine was too busy. */
let late = 0
const describeCell = ({ credential, surface }: Cell, answer: Answer) =>
  `${credential.name} at ${surface.name}: ${answer.status} ${answer.text.slice(0, 200)}`

/** Expects that the surface accepts the credential. Skips a surface where that would end the credential. */
async function expectOpen(at: TestService, { credential, surface }: Cell): Promise<void> {
  if (!surface.isHarmless) return
  const answer = await surface.present(at, credential)
  if (!surface.isAccepted(answer))
    throw new Error(`Not open to ${describeCell({ credential, surface }, answer)}`)
}

async function expectShut(at: TestService, cell: Cell): Promise<void> {
  count.cells++
  const answer = await cell.surface.present(at, cell.credential)
  if (!cell.surface.isRefused(answer)) throw new Error(`Not shut to ${describeCell(cell, answer)}`)
}

/**
 * Expects a refusal within a second of the action's answer, to which the slowest answer is added: on a busy machine messages are
 * as late as answers. A refresh token is never cached, so it is refused at once.
 */
async function expectDeadSoon(at: TestService, credential: Credential, since: number): Promise<void> {
  const [surface] = surfaces[credential.kind].filter((each) => each.isHarmless)
  if (!surface) throw new Error('No surface')
  const cell = { credential, surface }
  let slowestMs = 0
  for (;;) {
    const askedAtMs = performance.now() - since
    const answer = await surface.present(at, credential)
    slowestMs = Math.max(slowestMs, performance.now() - since - askedAtMs)
    if (surface.isRefused(answer)) {
      lagsMs.push(performance.now() - since)
      return
    }
    if (askedAtMs > 1000 + slowestMs || !isRemembered(credential.kind)) {
      throw new Error(`After ${askedAtMs} ms not shut to ${describeCell(cell, answer)}`)
    }
    await Bun.sleep(2)
  }
}

/** The ended and the valid credentials of every action, to check on servers that start later. */
const dead: Credential[] = []
const alive: Credential[] = []

async function run(kills: Credential[], spares: Credential[], at: TestService, act: () => Promise<unknown>) {
  const other = at === a ? b : a
  count.actions++
  expect([at.context.cache.isLive(), other.context.cache.isLive()]).toEqual([true, true])
  // Each surface is asked on one of both servers, and on the other one at the next action. Every third has accepted the credential
  // before, and others at the next action. A test of its own tries that all of them do.
  const cells = cellsOf(kills)
  const here = new Set(cells.filter((_, i) => (i + count.actions) % 2 === 0))
  const opened = new Set(cells.filter((_, i) => (i + count.actions) % 3 === 0))
  for (const server of [at, other]) {
    await expectAlive(
      server,
      kills.filter(({ kind }) => !isRemembered(kind)),
    )
    await Promise.all(kills.map((credential) => warm(server, credential)))
  }
  await Promise.all(
    kills.map(async (credential) => {
      // In sequence, so that a refresh token is traded by one request at a time.
      for (const cell of cells) {
        if (cell.credential === credential && opened.has(cell))
          await expectOpen(here.has(cell) ? at : other, cell)
      }
    }),
  )
  const underWay = await beginChanges([at, other], kills)
  // Three of the spares change something meanwhile, and the next three at the next action.
  const three = [0, 1, 2].map((next) => spares[(3 * count.actions + next) % spares.length])
  const others = await beginChanges(
    [other],
    three.flatMap((each) => each ?? []),
  )
  await act()
  const since = performance.now()
  count.cells += underWay.length
  await Promise.all([
    ...underWay.map(async ([name, finish]) => {
      const status = await finish()
      // 404: the service account that would own the new key was deleted. 503: the machine was too busy to begin the change.
      expect([name, [401, 404, 503].includes(status), status]).toEqual([name, true, status])
    }),
    inBatches([...here], (cell) => expectShut(at, cell)),
    ...kills.map(async (credential) => {
      await expectDeadSoon(other, credential, since)
      for (const cell of cells) {
        if (cell.credential === credential && !here.has(cell)) await expectShut(other, cell)
      }
    }),
  ])
  await inBatches(others, async ([name, finish]) => {
    const status = await finish()
    // 503: as above. That the credential lives is tried below.
    expect([name, [201, 503].includes(status), status]).toEqual([name, true, status])
    late += status === 503 ? 1 : 0
  })
  for (const server of [at, other]) await expectAlive(server, spares)
  dead.push(...kills)
  alive.push(...spares)
}

/** Begins a change at each server by each credential, and gives functions that finish the changes. */
async function beginChanges(servers: TestService[], credentials: Credential[]) {
  // A token that is for another resource, or for signing in alone, changes nothing here.
  const isElsewhere = ({ kind }: Credential) => ['app', 'signed-in app', 'exchanged'].includes(kind)
  const callers = credentials.filter((each) => isRemembered(each.kind) && !isElsewhere(each))
  const begun = await Promise.all(
    servers.map((server) =>
      sendHalves(
        server,
        callers.map(({ kind, text: bearer }) => ({
          line: kind === 'portal' ? 'POST /keys' : 'POST /keys/create',
          bearer,
          json: { scopes: 'read' },
        })),
      ),
    ),
  )
  return begun.flatMap((rests) => rests.map((finish, i) => [callers[i]?.name, finish] as const))
}

/** Expects that credentials are valid, each by a route that only a valid credential passes. */
async function expectAlive(at: TestService, credentials: Credential[]): Promise<void> {
  await Promise.all(
    credentials.map(async (credential) => {
      const byName = (surface: Surface) =>
        [
          'GET /auth/me',
          'GET /oauth/userinfo',
          'POST /oauth/introspect: as the token',
          'POST /auth/passkeys/login/options',
          'POST /session/token',
        ].includes(surface.name)
      const surface = surfaces[credential.kind].find(byName)
      if (!surface) throw new Error(`No surface for ${credential.name}`)
      await expectOpen(at, { credential, surface })
    }),
  )
}

/**
 * Expects of a server that starts afterwards the same refusals and the same valid credentials. It has nothing to forget: each ended
 * credential is tried at three surfaces, at the next three than the one before.
 */
async function restart(aheadMs = 0): Promise<void> {
  await b.stop()
  b = await startService(quiet, a)
  b.advance(aheadMs)
  await expectAlive(b, alive)
  const cells = dead.flatMap((credential, i) => {
    const all = cellsOf([credential])
    return [0, 1, 2].flatMap((next) => all[(3 * i + next) % all.length] ?? [])
  })
  await inBatches(cells, (cell) => expectShut(b, cell))
  dead.length = 0
}

/** Few at once: a request that waits too long for a connection answers 503. */
async function inBatches<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let i = 0; i < items.length; i += 10) await Promise.all(items.slice(i, i + 10).map(work))
}

const pick = (h: Household, names: Name[]) => names.map((name) => h.credentials[name])
const others = (h: Household, names: Name[]) =>
  Object.entries(h.credentials)
    .filter(([name]) => !names.includes(name as Name))
    .map(([, credential]) => credential)

describe('an ended credential is refused at every surface:', () => {
  test('the surfaces are complete, for every kind of credential', () => {
    const names = surfaces.access.map((surface) => surface.name)
    for (const name of [
      'GET /auth/me',
      'GET /protected/user-only',
      'GET /protected/service-only',
      'GET /protected/any',
      'GET /protected/admin',
      'GET /keys/list',
      'POST /keys/create',
      'DELETE /keys/revoke/{id}',
      'GET /auth/sessions',
      'POST /auth/password',
      'POST /auth/logout-all',
      'GET /users',
      'GET /audit',
      'GET /service-accounts',
      'GET /forward-auth',
    ]) {
      expect(names).toContain(name)
    }
    expect(names.length).toBeGreaterThanOrEqual(30)
    expect(surfaces.refresh.length).toBe(3)
    expect(surfaces['account key'].length).toBe(names.length + 8)
  })

  test('the control: each surface accepts a live credential of each kind, on both servers', async () => {
    const { credentials } = await newHousehold(a, sql)
    const ofKinds = new Map(Object.values(credentials).map((each) => [each.kind, each]))
    expect([...ofKinds.keys()].sort()).toEqual(Object.keys(surfaces).sort() as Credential['kind'][])
    // In sequence, so that a refresh token is traded by one request at a time.
    for (const at of [a, b]) {
      await Promise.all(
        [...ofKinds.values()].map(async (credential) => {
          for (const cell of cellsOf([credential])) await expectOpen(at, cell)
        }),
      )
    }
  })

  test('the control: a surface that ends its credential accepts it', async () => {
    const person = await addPerson(sql)
    const { access } = await beginSession(a, person)
    expect((await call(a, 'POST /auth/logout-all', { bearer: access })).status).toBe(204)
  })

  let turn = 0
  test.each(actions.map((action) => [action.name, action] as const))('%s', async (_, { kills, act }) => {
    const at = turn++ % 2 === 0 ? a : b
    const household = await newHousehold(at, sql)
    await run(pick(household, kills), others(household, kills), at, async () => {
      const answer = await act(at, household)
      if (answer) expect(answer.status).toBeOneOf([200, 201, 204])
    })
  })

  test('after a restart as before', () => restart())
})

/** A route, its status with the power, and its status and error code without the power. */
type Demotion = [route: string, before: number, after: number, code: string, options?: { json: unknown }]

describe('a lowered credential is refused wherever it lacks the power:', () => {
  const unknownId = Bun.randomUUIDv7()
  const nonsense = { json: { nonsense: 1 } }
  const ofAdmins: Demotion[] = [
    ['GET /protected/admin', 200, 403, 'forbidden'],
    [`POST /users/${unknownId}/password-reset`, 404, 403, 'forbidden'],
  ]
  const ofAdminsAndTheirKeys: Demotion[] = [
    ['GET /users', 200, 403, 'insufficient_scope'],
    ['POST /users', 422, 403, 'insufficient_scope', nonsense],
    [`GET /users/${unknownId}`, 404, 403, 'insufficient_scope'],
    [`PATCH /users/${unknownId}`, 422, 403, 'insufficient_scope', nonsense],
    [`DELETE /users/${unknownId}`, 404, 403, 'insufficient_scope'],
    [`POST /users/${unknownId}/logout`, 404, 403, 'insufficient_scope'],
    ['GET /audit', 200, 403, 'insufficient_scope'],
  ]
  const ofAccounts = (id: string): Demotion[] => [
    [`GET /service-accounts/${id}`, 200, 404, 'not_found'],
    [`PATCH /service-accounts/${id}`, 200, 404, 'not_found', { json: {} }],
  ]
  const ofReaders: Demotion[] = [['GET /protected/service-only', 200, 403, 'insufficient_scope']]

  async function runDemotion(
    bearer: string,
    demotions: Demotion[],
    at: TestService,
    act: () => Promise<unknown>,
  ) {
    const other = at === a ? b : a
    const ask = (server: TestService, [route, , , , options]: Demotion) =>
      call(server, route, { bearer, ...options })
    for (const server of [at, other]) {
      for (const demotion of demotions)
        expect([demotion[0], (await ask(server, demotion)).status]).toEqual([demotion[0], demotion[1]])
      await warm(server, { name: bearer.slice(0, 8), kind: 'key', text: bearer })
    }
    count.actions++
    await act()
    const since = performance.now()
    const isLowered = (answer: Answer, demotion: Demotion) =>
      answer.status === demotion[2] && answer.body?.code === demotion[3]
    await Promise.all(
      demotions.flatMap((demotion) => [
        (async () => {
          const answer = await ask(at, demotion)
          if (!isLowered(answer, demotion)) throw new Error(`${demotion[0]}: ${answer.status} ${answer.text}`)
        })(),
        (async () => {
          await until(
            async () => isLowered(await ask(other, demotion), demotion),
            `${demotion[0]} is lowered`,
            1000,
          )
          lagsMs.push(performance.now() - since)
        })(),
      ]),
    )
    count.cells += 2 * demotions.length
    lowered.push(async (server) => {
      count.cells += demotions.length
      for (const demotion of demotions) {
        const answer = await ask(server, demotion)
        if (!isLowered(answer, demotion)) throw new Error(`${demotion[0]}: ${answer.status} ${answer.text}`)
      }
    })
  }
  const lowered: ((server: TestService) => Promise<void>)[] = []

  test.each([['a'], ['b']])('an admin’s demotion on server %s', async (which) => {
    const at = which === 'a' ? a : b
    const person = await addLoggedIn(a, sql, { role: 'admin' })
    const household = await newHousehold(a, sql)
    const demotions = [...ofAdmins, ...ofAdminsAndTheirKeys, ...ofAccounts(household.account)]
    await runDemotion(person.access, demotions, at, () =>
      asAdmin(at, `PATCH /users/${person.id}`, { role: 'user' }),
    )
  })

  test('an admin’s demotion lowers their keys', async () => {
    const person = await addLoggedIn(a, sql, { role: 'admin' })
    const scopes = ['latchkey:users.read', 'latchkey:users.write', 'latchkey:audit.read', 'deploy']
    const { key } = await newKey(a, person.access, { scopes })
    await runDemotion(key, ofAdminsAndTheirKeys, a, () =>
      asAdmin(a, `PATCH /users/${person.id}`, { role: 'user' }),
    )
    expect((await call(a, 'GET /auth/me', { apiKey: key })).body.scopes).toEqual([])
  })

  test('an admin’s demotion ends their introspecting, by token and by key', async () => {
    const person = await addLoggedIn(a, sql, { role: 'admin' })
    const { key } = await newKey(a, person.access, { scopes: ['latchkey:introspect'] })
    const ask = async (at: TestService, bearer: string) =>
      (await call(at, 'POST /oauth/introspect', { form: { token: watcher }, bearer })).status
    for (const at of [a, b]) {
      for (const bearer of [person.access, key]) expect(await ask(at, bearer)).toBe(200)
    }
    await asAdmin(a, `PATCH /users/${person.id}`, { role: 'user' })
    for (const bearer of [person.access, key]) {
      expect(await ask(a, bearer)).toBe(403)
      await until(async () => (await ask(b, bearer)) === 403, 'it is refused on the other server', 1000)
    }
    count.actions++
    count.cells += 4
  })

  test('a lower ceiling of the user lowers their keys', async () => {
    const { person, keys } = await newHousehold(a, sql)
    await runDemotion(keys[0].key, ofReaders, b, () =>
      asAdmin(b, `PATCH /users/${person.id}`, { scopes: ['write'] }),
    )
  })

  test('a lower ceiling of the service account lowers its keys and their tokens', async () => {
    for (const name of ['accountKey0', 'accountToken0'] as const) {
      const household = await newHousehold(a, sql)
      const { text } = household.credentials[name]
      await runDemotion(text, ofReaders, b, () =>
        asUser(b, household, `PATCH /service-accounts/${household.account}`, { scopes: [] }),
      )
    }
  })

  test('after a restart as before', async () => {
    const fresh = await startService(quiet, a)
    for (const check of lowered) await check(fresh)
    await fresh.stop()
  })
})

describe('an action on all credentials:', () => {
  beforeAll(() => {
    dead.length = 0
    alive.length = 0
  })

  test('a key’s expiry, with the tokens that were made by it', async () => {
    const lastsMs = 60 * SECOND_MS
    const expires_at = new Date(a.context.clock() + lastsMs).toISOString()
    const { credentials: c } = await newHousehold(a, sql, { expires_at })
    const { accountKey0, accountToken0, accountKey1, accountToken1 } = c
    const kills = [
      c.key0,
      c.exchanged0,
      c.portal0,
      c.key1,
      accountKey0,
      accountToken0,
      accountKey1,
      accountToken1,
    ]
    const spares = [c.access0, c.refresh0, c.access1, c.refresh1, c.cookie, c.browserToken, c.portal1]
    await run(kills, spares, a, async () => {
      for (const server of [a, b]) server.advance(lastsMs)
    })
    await restart(lastsMs)
  })

  test('the end of every session', async () => {
    const household = await newHousehold(a, sql)
    alive.length = 0
    await run(pick(household, EVERY_SESSION), pick(household, [...KEYS, ...ACCOUNT, 'portal1']), a, () =>
      endEverySession(a.context),
    )
    await restart(60 * SECOND_MS)
  })

  test('the revocation of the signing key', async () => {
    const household = await newHousehold(b, sql)
    const kills: Name[] = [
      'access0',
      'access1',
      'browserToken',
      'accountToken0',
      'accountToken1',
      'app0',
      'signedIn0',
      'ownApp0',
      'ours0',
      'exchanged0',
    ]
    alive.length = 0
    await run(pick(household, kills), others(household, kills), b, async () => {
      const [current] = (await call(b, 'GET /.well-known/jwks.json')).body.keys
      await revokeSigningKey(b.context, SYSTEM, current.kid)
    })
    await restart(60 * SECOND_MS)
    // Tokens of the next signing key are accepted.
    const { access } = await beginSession(b, await addPerson(sql))
    for (const at of [a, b]) expect((await call(at, 'GET /auth/me', { bearer: access })).status).toBe(200)
  })

  test('the number of tried combinations and the delay on another server', () => {
    lagsMs.sort((x, y) => x - y)
    const [p50 = 0, max = 0] = [lagsMs[lagsMs.length >> 1], lagsMs.at(-1)]
    process.stdout.write(
      `      ${count.cells} cells of ${count.actions} actions; on another server shut after p50 ${p50.toFixed(0)} ms, max ${max.toFixed(0)} ms\n`,
    )
    expect(count.actions).toBeGreaterThanOrEqual(actions.length + 9)
    expect(count.cells).toBeGreaterThan(15_000)
    // The control: the changes of live credentials are made.
    expect(late).toBeLessThan(count.actions)
    // Every single delay is limited to a second where it is measured.
    expect(p50).toBeLessThan(1000)
  })
})
