import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { deleteOutdated } from '../../src/core/housekeeping/delete-outdated.ts'
import { verifyQueriesOf } from '../../src/core/verify/queries.ts'
import { recallCredential } from '../../src/core/verify/verify-credential.ts'
import { errorCode } from '../../src/db/errors.ts'
import { migrate } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/db/open.ts'
import type { ListenEvents } from '../../src/db/postgres/listen.ts'
import { startListening } from '../../src/db/postgres/listen.ts'
import { reachDirectly } from '../../src/db/postgres/postgres.ts'
import { createLog, silentLog } from '../../src/lib/log.ts'
import { secret } from '../../src/lib/secret.ts'
import { call, newKey, newPerson } from '../support/client.ts'
import { testConfig } from '../support/config.ts'
import { HOSTILE_SETTINGS, setForDatabase, useMainFlows } from '../support/hostile-settings.ts'
import { PGBOUNCER, startPgbouncer, type TestPooler } from '../support/pgbouncer.ts'
import {
  createDatabase,
  databaseConfig,
  sharedServer,
  startServer,
  type TestDatabase,
} from '../support/postgres.ts'
import { startService, type TestService } from '../support/service.ts'
import { makeSubjects } from '../support/subjects.ts'
import { until } from '../support/until.ts'

const why = PGBOUNCER ? '' : ' (skipped: apt-get install pgbouncer)'

/** Fewer connections to PostgreSQL than clients, so that each connection is lent to several clients. */
const FEW = 3
/** The database entry of the shipped file, without `connect_query`. */
const UNTOLD = 'host=127.0.0.1 port=5432'
const SEEN_WITHIN_MS = 1000
const BYPASSED = 'The cache is bypassed: no echo on the LISTEN line'

const meAs = (at: TestService, apiKey: string) => call(at, 'GET /auth/me', { apiKey })
const statusOf = async (at: TestService, apiKey: string) => (await meAs(at, apiKey)).status

describe.skipIf(!PGBOUNCER)(`behind PgBouncer in transaction mode${why}`, () => {
  let transactions: TestPooler
  let sessions: TestPooler
  const databases: TestDatabase[] = []
  const running: TestService[] = []
  beforeAll(async () => {
    const server = await sharedServer()
    transactions = await startPgbouncer(server, { default_pool_size: FEW })
    // One setting has PgBouncer's default: unknown startup parameters are refused.
    sessions = await startPgbouncer(server, { pool_mode: 'session', ignore_startup_parameters: '' })
  })
  afterAll(async () => {
    for (const service of running) await service.stop()
    for (const database of databases) await database.drop()
    await sessions?.stop()
    await transactions?.stop()
  })

  /** Makes an empty database, and gives its name behind a pooler. */
  async function newDatabase(options: { migrated?: boolean } = {}) {
    const database = await createDatabase(options)
    databases.push(database)
    return { url: database.url, name: database.url.split('/').at(-1) ?? '' }
  }

  /** Starts two servers at once on an empty database. Their pools connect through the pooler. */
  async function startPair(directly: (database: { url: string; name: string }) => string) {
    const database = await newDatabase({ migrated: false })
    const on = { databaseUrl: transactions.url(database.name), config: testConfig() }
    const settings = { databasePrepare: false, databaseDirectUrl: secret(directly(database)) }
    const pair = await Promise.all([startService(settings, on), startService(settings, on)])
    running.push(...pair)
    const [a, b] = pair
    const sql = postgres(database.url, { max: 1 })
    return { a, b, sql, [Symbol.asyncDispose]: () => sql.end() }
  }

  /** Uses the main flows of the API through both servers. */
  async function useAll({ a, b }: { a: TestService; b: TestService }) {
    const person = await newPerson(a)
    const json = { refresh_token: person.refresh }
    const renewed = await call(b, 'POST /auth/refresh', { json })
    expect(renewed.status).toBe(200)
    const bearer: string = renewed.body.access_token
    expect((await call(a, 'GET /auth/me', { bearer })).body.email).toBe(person.email)
    const keys = await Promise.all(Array.from({ length: 20 }, () => newKey(a, bearer, { scopes: 'read' })))
    expect((await call(b, 'GET /keys/list', { bearer })).body).toHaveLength(20)
    const rotated = await call(b, `POST /keys/${keys[0]?.id}/rotate`, { bearer, json: {} })
    expect(rotated.status).toBe(201)
    // The user's own key may not verify keys. The refusal still needs the look-up.
    for (const { key } of keys) expect([await statusOf(a, key), await statusOf(b, key)]).toEqual([200, 200])
    return { person, bearer, keys }
  }

  describe.each<[string, (database: { url: string; name: string }) => string]>([
    ['the server itself', ({ url }) => url],
    ['a pooler in session mode', ({ name }) => sessions.url(name)],
  ])('with DATABASE_DIRECT_URL to %s', (_, directly) => {
    test('everything works with the caches on, and a revocation applies on the other server within a second', async () => {
      await using pair = await startPair(directly)
      const { a, b, sql } = pair
      const { bearer, keys } = await useAll(pair)
      for (const [turn, { id, key }] of keys.entries()) {
        for (const at of [a, b]) {
          const isRemembered = async () =>
            (await statusOf(at, key)) === 200 && recallCredential(at.context, key) !== null
          await until(isRemembered, 'the key is in the cache')
        }
        const at = turn % 2 === 0 ? a : b
        const other = at === a ? b : a
        if (turn < 15) {
          expect((await call(at, `DELETE /keys/revoke/${id}`, { bearer })).status).toBe(200)
          expect(await statusOf(at, key)).toBe(401)
        } else await sql`UPDATE latchkey.api_keys SET revoked_at = now() WHERE id = ${id}`
        await until(async () => (await statusOf(other, key)) === 401, 'seen elsewhere', SEEN_WITHIN_MS)
        await until(async () => (await statusOf(at, key)) === 401, 'seen', SEEN_WITHIN_MS)
      }
      for (const { loggedText } of [a, b]) expect(loggedText()).not.toContain('bypassed')
    })
  })

  test('PgBouncer is restarted: the servers recover, and a key that was revoked meanwhile is refused', async () => {
    await using pair = await startPair(({ url }) => url)
    const { a, b, sql } = pair
    const { bearer, keys } = await useAll(pair)
    const [dead, alive, late] = keys
    if (!dead || !alive || !late) throw new Error('no keys')
    const restarting = transactions.restart()
    await sql`UPDATE latchkey.api_keys SET revoked_at = now() WHERE id = ${dead.id}`
    await restarting
    const isBack = async (at: TestService) =>
      (await statusOf(at, alive.key)) === 200 && at.context.cache.isLive()
    for (const at of [a, b]) await until(() => isBack(at), 'it works again')
    for (const at of [a, b]) expect(await statusOf(at, dead.key)).toBe(401)
    await call(a, `DELETE /keys/revoke/${late.id}`, { bearer })
    await until(async () => (await statusOf(b, late.key)) === 401, 'seen elsewhere', SEEN_WITHIN_MS)
  })

  test('the server behind the pooler becomes a standby without a sign: its answers are refused', async () => {
    const server = await startServer()
    const pooler = await startPgbouncer(server)
    const service = await startService(
      { databasePrepare: false, databaseDirectUrl: secret(server.url('postgres')) },
      { databaseUrl: pooler.url('postgres'), config: testConfig() },
    )
    const sql = postgres(server.url('postgres'), { max: 1 })
    const subjects = await makeSubjects(service, sql, 2)
    await sql.end()
    const askAll = () => Promise.all(subjects.map(({ key }) => statusOf(service, key)))
    expect(await askAll()).toEqual([200, 200])
    const asStandby = join(server.directory, 'standby.signal')
    await server.stop()
    writeFileSync(asStandby, '')
    await server.start()
    await until(async () => (await askAll()).every((status) => status === 503), 'every request gets 503')
    expect((await call(service, 'GET /readyz')).status).toBe(503)
    for (let times = 0; times < 20; times++) {
      expect(await askAll()).toEqual([503, 503])
      await Bun.sleep(50)
    }
    await server.stop()
    rmSync(asStandby)
    await server.start()
    await until(async () => (await askAll()).every((status) => status === 200), 'all is well again')
    await service.stop()
    await pooler.stop()
    await server.remove()
  })

  test('a DATABASE_DIRECT_URL of another database is refused', async () => {
    const [database, another] = [await newDatabase({ migrated: false }), await newDatabase()]
    const config = {
      ...databaseConfig(transactions.url(database.name)),
      databaseDirectUrl: secret(another.url),
    }
    const opened = await openDatabase(config, silentLog)
    await expect(migrate(config, opened)).rejects.toThrow(
      'DATABASE_DIRECT_URL leads to another database than DATABASE_URL',
    )
    await opened.close()
  })

  test('without DATABASE_DIRECT_URL the caches are off with one warning, and a revocation applies everywhere on the next request', async () => {
    await using pair = await startPair(({ name }) => transactions.url(name))
    const { a, b } = pair
    const { bearer, keys } = await useAll(pair)
    for (const at of [a, b]) await until(() => at.loggedText().includes(BYPASSED), 'it is said')
    for (const [turn, { id, key }] of keys.entries()) {
      const [at, other] = turn % 2 === 0 ? [a, b] : [b, a]
      const warm = Array.from({ length: 5 }, () => statusOf(other, key))
      const revoked = call(at, `DELETE /keys/revoke/${id}`, { bearer })
      // These requests are in flight during the revocation. Later requests must not share their answer.
      warm.push(...Array.from({ length: 5 }, () => statusOf(other, key)))
      expect((await revoked).status).toBe(200)
      expect([await statusOf(other, key), await statusOf(at, key)]).toEqual([401, 401])
      for (const status of await Promise.all(warm)) expect([200, 401]).toContain(status)
    }
    for (const at of [a, b]) {
      expect(at.context.cache.isLive()).toBe(false)
      expect(at.loggedText().split(BYPASSED)).toHaveLength(2)
      expect(at.loggedText()).toContain('set DATABASE_DIRECT_URL')
    }
  })

  test('messages that arrive with an answer on a lent connection are no proof of life', async () => {
    const { url, name } = await newDatabase()
    /** Messages that arrived without a query, and messages that arrived during a query on the connection. */
    const listen = async (through: string, wanted: 'unasked' | 'asked') => {
      const heard = { unasked: 0, asked: 0 }
      const config = { ...databaseConfig(through), databasePrepare: false }
      const database = await openDatabase(config, silentLog)
      const times = { probeEveryMs: 1, probeAnswerMs: 3000, retryFirstMs: 20, retryMostMs: 100 }
      const message = (_: string, isUnasked: boolean) => heard[isUnasked ? 'unasked' : 'asked']++
      const direct = await reachDirectly(config)
      const line = (events: ListenEvents) =>
        direct.connect('latchkey listener', { prepare: false, ...events })
      const listener = { message, gap: () => {} }
      const stop = await startListening(line, ['chance'], listener, silentLog, times)
      await until(async () => {
        await Promise.all([database.notify('chance', 'a'), database.notify('chance', 'b')])
        return heard[wanted] >= 20
      }, 'enough are heard')
      await stop()
      await database.close()
      return heard
    }
    expect((await listen(transactions.url(name), 'asked')).unasked).toBe(0)
    // The control: a direct connection gets messages without a query.
    expect((await listen(url, 'unasked')).unasked).toBeGreaterThanOrEqual(20)
  })

  test('several processes can migrate an empty database at once through the pooler', async () => {
    const { name } = await newDatabase({ migrated: false })
    const config = { ...databaseConfig(transactions.url(name)), databasePrepare: false }
    const states = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const database = await openDatabase(config, silentLog)
        const state = await migrate(config, database)
        await database.close()
        return state
      }),
    )
    for (const { known, pending } of states) expect([known > 0, pending]).toEqual([true, 0])
  })

  test('no lock stays on a lent connection', async () => {
    await using pair = await startPair(({ url }) => url)
    await useAll(pair)
    await Promise.all([pair.a, pair.b].map(({ context }) => deleteOutdated(context, { vacuums: false })))
    expect([...(await pair.sql`SELECT * FROM pg_locks WHERE locktype = 'advisory'`)]).toEqual([])
  })

  test('DATABASE_PREPARE=true works too: a statement that a connection has not prepared is prepared again', async () => {
    const { name } = await newDatabase()
    const database = await openDatabase(databaseConfig(transactions.url(name)), silentLog)
    const { findSecret } = verifyQueriesOf(database.db)
    const ask = () => findSecret.execute({ hash: new Uint8Array(32) })
    for (let round = 0; round < 25; round++)
      for (const rows of await Promise.all(Array.from({ length: 20 }, ask))) expect(rows).toEqual([])
    await database.close()
  })

  describe('settings of the role and the database do not change the behaviour', () => {
    /** Settings that apply to idle connections of a pooler without `connect_query`: PostgreSQL ends these connections. */
    const others = HOSTILE_SETTINGS.filter(([name]) => name !== 'idle_session_timeout')
      // Long enough for the query before the first transaction, and for the transaction to begin, on a busy machine too.
      .map(
        ([name, value]) =>
          [
            name,
            /^(statement|transaction|idle_in_transaction_session)_timeout$/.test(name) ? "'200ms'" : value,
          ] as const,
      )

    test.each<[string, Record<string, string | number>]>([
      ['as shipped', {}],
      ['that drops unknown startup parameters', { '*': UNTOLD }],
      ['that refuses unknown startup parameters', { '*': UNTOLD, ignore_startup_parameters: '' }],
      [
        'in session mode',
        { '*': UNTOLD, ignore_startup_parameters: '', pool_mode: 'session', default_pool_size: 20 },
      ],
    ])('behind a PgBouncer %s', async (_, settings) => {
      const pooler = await startPgbouncer(await sharedServer(), { default_pool_size: FEW, ...settings })
      const { url, name } = await newDatabase({ migrated: false })
      await setForDatabase(url, others)
      await useMainFlows({ databaseUrl: pooler.url(name), directUrl: url })
      await pooler.stop()
    })
  })

  test.each<[string, Record<string, string>, boolean]>([
    ['as shipped keeps the settings', {}, true],
    ['without connect_query does not, with a warning', { '*': UNTOLD }, false],
  ])('a PgBouncer %s; a statement ends at its timeout either way', async (_, settings, isKept) => {
    const pooler = await startPgbouncer(await sharedServer(), settings)
    const { name } = await newDatabase()
    let logged = ''
    const log = createLog({ logLevel: 'info', logFormat: 'json' }, (text) => {
      logged += text
    })
    const config = { ...databaseConfig(pooler.url(name)), databasePrepare: false }
    const database = await openDatabase(config, log)
    log.flush()
    expect(logged.includes('does not keep these settings')).toBe(!isKept)
    const began = performance.now()
    const failure: unknown = await database.db.execute(sql`SELECT pg_sleep(10)`).catch((error) => error)
    expect(errorCode(failure)).toBe('57014')
    expect(performance.now() - began).toBeWithin(1900, 8000)
    await database.close()
    await pooler.stop()
  })
})
