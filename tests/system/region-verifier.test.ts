import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type postgres from 'postgres'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { revokeSigningKey } from '../../src/core/signing/signing-keys.ts'
import { createLog } from '../../src/lib/log.ts'
import { secret } from '../../src/lib/secret.ts'
import { SECOND_MS } from '../../src/lib/time.ts'
import { openContext } from '../../src/server/open.ts'
import { startServing } from '../../src/server/serve.ts'
import { addApp, addResource, allowApp, exchangeKey } from '../support/app-tokens.ts'
import { type Answer, call, newKey } from '../support/client.ts'
import { testConfig } from '../support/config.ts'
import { addLoggedIn } from '../support/people.ts'
import { hasVersion } from '../support/postgres.ts'
import { copied, dropSlot, type Pair, resync, SLOT, startPair } from '../support/region.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { newHomeKey } from '../support/verifier.ts'

setDefaultTimeout(120_000)

/** How long a revocation may take to hold in the region while the stream runs (contract: 2 s), and a busy machine's share. */
const HOLDS_WITHIN_MS = 10 * SECOND_MS

describe.skipIf(!hasVersion(15))('a verifier that follows home', () => {
  let pair: Pair
  let home: TestService
  let verifier: TestService
  let isHomeStopped = false
  let homeKey: string
  let admin: string
  let watcher: string
  let sql: postgres.Sql
  beforeAll(async () => {
    pair = await startPair(18, 15)
    sql = pair.home.sql
    home = await startService({}, { databaseUrl: pair.home.url, config: testConfig() })
    homeKey = await newHomeKey(home)
    admin = (await addLoggedIn(home, sql, { role: 'admin' })).access
    watcher = (await newKey(home, admin, { scopes: ['latchkey:verify', 'latchkey:introspect'] })).key
    verifier = await startVerifier()
  })
  afterAll(async () => {
    await verifier?.stop()
    // The test that stops it is the last one. Its database is gone too.
    if (!isHomeStopped) await home?.stop()
    await pair?.end()
  })

  const settings = () => {
    const { publicUrl, publicUrlIsSet, jwtAudience, apiKeyPrefix } = home.config
    return {
      mode: 'verify' as const,
      migrate: 'check' as const,
      secretKey: null,
      homeUrl: home.url,
      homeKey: secret(homeKey),
      regionName: 'test',
      publicUrl,
      publicUrlIsSet,
      jwtAudience,
      apiKeyPrefix,
    }
  }
  const startVerifier = (more: Parameters<typeof startService>[0] = {}) =>
    startService({ ...settings(), ...more }, { databaseUrl: pair.region.verifierUrl, config: home.config })

  const isGood = (at = verifier) => at.context.region?.freshness.isGood() === true
  const ask = (credential: string, resource?: string, at = verifier) =>
    call(at, 'POST /verify', {
      bearer: watcher,
      json: { credential, cost: 0, ...(resource && { resource }) },
    })
  /** What is said of a credential: its code, or the code of the error. */
  const codeOf = async (credential: string, resource?: string, at = verifier): Promise<string> =>
    (await ask(credential, resource, at)).body.code
  const soon = (credential: string, code: string | RegExp, resource?: string) =>
    until(
      async () =>
        RegExp(`^(?:${code instanceof RegExp ? code.source : code})$`).test(
          await codeOf(credential, resource),
        ),
      `the region answers ${code}`,
      HOLDS_WITHIN_MS,
    )

  test('reads the copy alone: its role writes nothing, and its connections neither', async () => {
    await until(isGood, 'a heartbeat has arrived')
    expect((await call(verifier, 'GET /readyz')).status).toBe(200)
    const tables = await pair.region.sql`SELECT count(*)::int AS n FROM latchkey.usage_reports`
    expect(tables[0]?.n).toBe(0)
  })

  test('a key that it called unknown is good as soon as its row has arrived', async () => {
    const person = await addLoggedIn(home, sql)
    const paused = pair.region.sql
    await paused.unsafe(`ALTER SUBSCRIPTION ${SLOT} DISABLE`)
    const { key } = await newKey(home, person.access)
    expect(await codeOf(key)).toBe('NOT_FOUND')
    await paused.unsafe(`ALTER SUBSCRIPTION ${SLOT} ENABLE`)
    await soon(key, 'VALID')
  })

  describe('what ends at home', () => {
    type Act = {
      name: string
      make(): Promise<{ dead: Subject[]; alive: Subject[]; act(): Promise<unknown> }>
    }
    type Subject = { credential: string; resource?: string }
    const of = (credential: string, resource?: string): Subject => ({
      credential,
      ...(resource && { resource }),
    })
    const asAdmin = (route: string, json?: unknown) => call(home, route, { bearer: admin, json })
    const acts: Act[] = [
      {
        name: 'a key that is revoked, with the token for which it was exchanged',
        async make() {
          const person = await addLoggedIn(home, sql)
          const [dead, alive] = [
            await newKey(home, person.access, { scopes: ['read'] }),
            await newKey(home, person.access),
          ]
          const resource = await addResource(sql, ['read'])
          const token = await exchangeKey(home, sql, dead.id, resource)
          return {
            dead: [of(dead.key), of(token, resource.identifier)],
            alive: [of(alive.key), of(person.access)],
            act: () => call(home, `DELETE /keys/${dead.id}`, { bearer: person.access }),
          }
        },
      },
      {
        name: 'a user who is disabled, with their keys and sessions',
        async make() {
          const [person, other] = [await addLoggedIn(home, sql), await addLoggedIn(home, sql)]
          const { key } = await newKey(home, person.access)
          return {
            dead: [of(key), of(person.access)],
            alive: [of(other.access)],
            act: () => asAdmin(`PATCH /users/${person.id}`, { is_active: false }),
          }
        },
      },
      {
        name: 'a session that is logged out',
        async make() {
          const person = await addLoggedIn(home, sql)
          const { key } = await newKey(home, person.access)
          return {
            dead: [of(person.access)],
            alive: [of(key)],
            act: () => call(home, 'POST /auth/logout', { bearer: person.access }),
          }
        },
      },
      {
        name: 'the session of an app, by the end of its grant',
        async make() {
          const person = await addLoggedIn(home, sql)
          const resource = await addResource(sql, ['read'])
          const [app, other] = [await addApp(sql), await addApp(sql)]
          const dead = await allowApp(home, sql, app, person.id, { resource })
          const alive = await allowApp(home, sql, other, person.id, { resource })
          return {
            dead: [of(dead.access, resource.identifier)],
            alive: [of(alive.access, resource.identifier)],
            act: () => call(home, `DELETE /auth/grants/${dead.grantId}`, { bearer: person.access }),
          }
        },
      },
      {
        name: 'a service account’s token, alone',
        async make() {
          const person = await addLoggedIn(home, sql)
          const json = { name: 'robot', scopes: ['read'] }
          const account = (await call(home, 'POST /service-accounts', { bearer: person.access, json })).body
            .id
          const { key } = await newKey(home, person.access, { service_account_id: account, scopes: ['read'] })
          const form = { grant_type: 'client_credentials', client_id: account, client_secret: key }
          const token = async () =>
            (await call(home, 'POST /oauth/token', { form })).body.access_token as string
          const [dead, alive] = [await token(), await token()]
          return {
            dead: [of(dead)],
            alive: [of(alive), of(key)],
            act: () => call(home, 'POST /oauth/revoke', { form: { token: dead } }),
          }
        },
      },
      {
        name: 'a service account that is deleted, with its keys',
        async make() {
          const person = await addLoggedIn(home, sql)
          const json = { name: 'robot', scopes: ['read'] }
          const account = (await call(home, 'POST /service-accounts', { bearer: person.access, json })).body
            .id
          const { key } = await newKey(home, person.access, { service_account_id: account })
          return {
            dead: [of(key)],
            alive: [of(person.access)],
            act: () => call(home, `DELETE /service-accounts/${account}`, { bearer: person.access }),
          }
        },
      },
    ]

    test.each(acts)('$name', async ({ make }) => {
      const { dead, alive, act } = await make()
      // Warm: a cached credential has to be evicted.
      for (const { credential, resource } of [...dead, ...alive]) {
        await soon(credential, 'VALID', resource)
        expect(await codeOf(credential, resource)).toBe('VALID')
      }
      const answer = (await act()) as Answer
      expect([200, 204]).toContain(answer.status)
      for (const { credential, resource } of dead)
        await soon(credential, /REVOKED|NOT_FOUND|DISABLED|OWNER_DISABLED/, resource)
      for (const { credential, resource } of alive) expect(await codeOf(credential, resource)).toBe('VALID')
    })

    test('a signing key that is revoked; tokens of the next one are good', async () => {
      const person = await addLoggedIn(home, sql)
      await soon(person.access, 'VALID')
      const [current] = await sql`SELECT id FROM latchkey.signing_keys WHERE revoked_at IS NULL`
      await revokeSigningKey(home.context, SYSTEM, String(current?.id))
      await soon(person.access, 'NOT_FOUND')
      const next = await addLoggedIn(home, sql)
      await soon(next.access, 'VALID')
      const { keys } = (await call(verifier, 'GET /.well-known/jwks.json')).body
      expect(keys).toHaveLength(1)
      expect(keys[0].kid).not.toBe(current?.id)
      admin = (await addLoggedIn(home, sql, { role: 'admin' })).access
    })
  })

  test('what home charges and the region reports arrives there', async () => {
    const person = await addLoggedIn(home, sql)
    const [charged, plain] = [
      await newKey(home, person.access, { credits: { remaining: 5 } }),
      await newKey(home, person.access),
    ]
    await soon(plain.key, 'VALID')
    await soon(charged.key, 'VALID')
    const verify = (key: string) =>
      call(verifier, 'POST /keys/verify', { bearer: watcher, json: { key, cost: 2 } })
    expect((await verify(charged.key)).body.credits).toEqual({ remaining: 3 })
    expect((await verify(plain.key)).body).toMatchObject({ valid: true, credits: null })
    await until(
      async () =>
        (await call(home, `GET /keys/${plain.id}/usage`, { bearer: person.access })).body.items.length > 0,
      'the region has reported',
    )
    const events = (await call(home, 'GET /audit?action=region.registered', { bearer: admin })).body.items
    expect(events).toHaveLength(1)
    expect(events[0].details).toMatchObject({ region: 'test' })
  })

  test('a stream that is cut is stale, and good again once it goes on', async () => {
    const person = await addLoggedIn(home, sql)
    await soon(person.access, 'VALID')
    const short = await startVerifier({ verifyMaxStalenessSeconds: 2 })
    const allowing = await startVerifier({ verifyMaxStalenessSeconds: 2, verifyWhenStale: 'allow' })
    try {
      await until(() => isGood(short), 'a heartbeat has arrived')
      await pair.region.sql.unsafe(`ALTER SUBSCRIPTION ${SLOT} DISABLE`)
      await until(() => !isGood(short), 'the proof is too old')
      const stale = await ask(person.access, undefined, short)
      expect([stale.status, stale.body.code]).toEqual([503, 'stale'])
      expect((await call(short, 'GET /readyz')).status).toBe(503)
      const allowed = (await ask(person.access, undefined, allowing)).body
      expect(allowed.code).toBe('VALID')
      expect(Date.now() - Date.parse(allowed.as_of)).toBeGreaterThan(SECOND_MS)
      await pair.region.sql.unsafe(`ALTER SUBSCRIPTION ${SLOT} ENABLE`)
      await until(() => isGood(short), 'heartbeats arrive again')
      await until(async () => (await codeOf(person.access, undefined, short)) === 'VALID', 'it answers again')
    } finally {
      await short.stop()
      await allowing.stop()
    }
  })

  test('a slot that was dropped and made again is stale until the copy, and never an answer', async () => {
    const person = await addLoggedIn(home, sql)
    const { key, id } = await newKey(home, person.access)
    await soon(key, 'VALID')
    await pair.region.sql.unsafe(`ALTER SUBSCRIPTION ${SLOT} DISABLE`)
    await dropSlot(pair)
    expect((await call(home, `DELETE /keys/${id}`, { bearer: person.access })).status).toBe(200)
    // At home one comes each second.
    await pair.beat()
    await sql`SELECT pg_create_logical_replication_slot(${SLOT}, 'pgoutput')`
    await pair.region.sql.unsafe(`ALTER SUBSCRIPTION ${SLOT} ENABLE`)
    // Heartbeats arrive, and the revocation never does.
    await until(async () => (await codeOf(key)) === 'stale', 'the break is heard')
    await pair.arrived()
    expect(await codeOf(key)).toBe('stale')
    expect(
      (await pair.region.sql`SELECT revoked_at FROM latchkey.api_keys WHERE id = ${id}`)[0]?.revoked_at,
    ).toBeNull()
    await resync(pair)
    await copied(pair)
    await soon(key, 'REVOKED')
    expect(await codeOf(person.access)).toBe('VALID')
  })

  test('TRUNCATE … CASCADE at home refuses everything in the region', async () => {
    const person = await addLoggedIn(home, sql)
    const { key } = await newKey(home, person.access)
    await soon(key, 'VALID')
    await sql`TRUNCATE latchkey.api_keys CASCADE`
    // The caller's own key is gone too.
    await until(async () => (await ask(key)).status === 401, 'the region has heard of it')
    expect((await call(verifier, 'GET /forward-auth', { apiKey: key })).status).toBe(401)
    expect((await call(verifier, 'GET /forward-auth', { bearer: person.access })).status).toBe(200)
    homeKey = await newHomeKey(home)
    watcher = (await newKey(home, admin, { scopes: ['latchkey:verify', 'latchkey:introspect'] })).key
    await verifier.stop()
    verifier = await startVerifier()
    await until(async () => (await ask(key)).status === 200, 'the new keys have arrived')
  })

  test('a process that serves listens, and answers from the copy', async () => {
    const copy = secret(pair.region.verifierUrl)
    const config = testConfig({ ...settings(), databaseUrl: copy, databaseDirectUrl: copy, port: 0 })
    const running = await startServing(
      config,
      createLog(config, () => {}),
      {
        isDraining: () => false,
        execute: async () => {
          throw new Error('No command')
        },
        adminHint: () => '',
        restart: () => {},
      },
    )
    try {
      const at = { url: `http://127.0.0.1:${running.port}` }
      await until(async () => (await call(at, 'GET /readyz')).status === 200, 'it is ready')
      const person = await addLoggedIn(home, sql)
      const asked = () => call(at, 'POST /verify', { bearer: watcher, json: { credential: person.access } })
      await until(async () => (await asked()).body.code === 'VALID', 'the session has arrived')
      expect((await call(at, 'POST /auth/login', { json: {} })).body.home).toBe(`${home.url}/auth/login`)
    } finally {
      await running.stop({ delays: false })
    }
  })

  describe('the start is refused', () => {
    const start = async (more: object) => {
      const config = testConfig({ ...settings(), databaseWaitSeconds: 0, ...more })
      const log = createLog(config, () => {})
      const opened = openContext(config, log, 'serve')
      return opened.then(
        async ({ close }) => {
          await close()
          return 'started'
        },
        (error: Error) => error.message,
      )
    }
    const at = (url: string) => ({ databaseUrl: secret(url), databaseDirectUrl: secret(url) })

    test('on a database that is no copy, or to whose tables the role may write', async () => {
      expect(await start(at(pair.region.verifierUrl))).toBe('started')
      expect(await start(at(pair.home.url))).toContain('no copy of a region')
      expect(await start(at(pair.region.url))).toContain('may write to')
      // Nor the tables that are the region's own: one says whether the copy is broken, the other makes a credential.
      for (const [right, table] of [
        ['DELETE', 'region_state'],
        ['INSERT (bearer_hash)', 'portal_sessions'],
      ]) {
        await pair.region.sql.unsafe(`GRANT ${right} ON latchkey.${table} TO latchkey_verifier`)
        expect(await start(at(pair.region.verifierUrl))).toContain(`may write to ${table}:`)
        await pair.region.sql.unsafe(`REVOKE ${right} ON latchkey.${table} FROM latchkey_verifier`)
      }
      expect(await start(at(pair.region.verifierUrl))).toBe('started')
    })

    test('of any command but those that serve, which are for home', async () => {
      const config = testConfig({ ...settings(), ...at(pair.region.verifierUrl) })
      const opened = openContext(
        config,
        createLog(config, () => {}),
        'command',
      )
      expect(
        await opened.then(
          () => 'opened',
          (error: Error) => error.message,
        ),
      ).toContain('run this command at home')
    })

    test('with settings that are not those of home', async () => {
      const copy = at(pair.region.verifierUrl)
      const wrong = { publicUrl: 'https://other.example.com', jwtAudience: 'other', apiKeyPrefix: 'xx_' }
      const message = await start({ ...copy, ...wrong })
      for (const name of ['PUBLIC_URL', 'JWT_AUDIENCE', 'API_KEY_PREFIX']) expect(message).toContain(name)
    })

    test('on a table that lacks a column, or that no subscription has', async () => {
      const copy = at(pair.region.verifierUrl)
      await pair.region.sql`REVOKE SELECT (rate_root) ON latchkey.api_keys FROM latchkey_verifier`
      expect(await start(copy)).toContain('api_keys.rate_root')
      await pair.region.sql`GRANT SELECT (rate_root) ON latchkey.api_keys TO latchkey_verifier`
      expect(await start(copy)).toBe('started')
    })
  })

  test('while home is away, what it counts is 503, and the rest is answered; also by a verifier that starts then', async () => {
    const person = await addLoggedIn(home, sql)
    const plain = await newKey(home, person.access)
    const rated = await newKey(home, person.access, { rate_limit: { limit: 9, window_seconds: 3600 } })
    await soon(plain.key, 'VALID')
    await soon(rated.key, 'VALID')
    isHomeStopped = true
    await home.stop()
    const [counted, answered] = [await ask(rated.key), await ask(plain.key)]
    expect([counted.status, counted.body.code]).toEqual([503, 'unavailable'])
    expect([answered.status, answered.body.code]).toEqual([200, 'VALID'])
    await pair.home.server.kill()
    // The copy is as recent as it was. A proof lasts longer here than a busy machine takes to start.
    const restarted = await startVerifier({ verifyMaxStalenessSeconds: 3600 })
    const late = await startVerifier({ verifyMaxStalenessSeconds: 2 })
    try {
      expect(await codeOf(plain.key, undefined, restarted)).toBe('VALID')
      expect((await call(restarted, 'GET /readyz')).status).toBe(200)
      await until(async () => (await codeOf(plain.key, undefined, late)) === 'stale', 'its proof is too old')
    } finally {
      await restarted.stop()
      await late.stop()
    }
  })
})
