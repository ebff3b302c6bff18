import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import postgres from 'postgres'
import { PUBLISHED } from '../../src/db/published.ts'
import { secret } from '../../src/lib/secret.ts'
import { call, newKey } from '../support/client.ts'
import { testConfig } from '../support/config.ts'
import { addLoggedIn } from '../support/people.ts'
import { hasVersion, type PostgresServer, startServer } from '../support/postgres.ts'
import { type Pair, SLOT, startPair } from '../support/region.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { newHomeKey } from '../support/verifier.ts'

setDefaultTimeout(120_000)

/** A heartbeat proves what is before it only where the whole copy comes the same way, to the same database. */
describe.skipIf(!hasVersion(18))('a copy that no heartbeat proves', () => {
  let pair: Pair
  let home: TestService
  let person: string
  let watcher: string
  const verifiers: TestService[] = []
  const clients: postgres.Sql[] = []
  beforeAll(async () => {
    pair = await startPair(18, 18)
    home = await startService({}, { databaseUrl: pair.home.url, config: testConfig() })
    person = (await addLoggedIn(home, pair.home.sql)).access
    const admin = (await addLoggedIn(home, pair.home.sql, { role: 'admin' })).access
    watcher = (await newKey(home, admin, { scopes: ['latchkey:verify'] })).key
  })
  afterAll(async () => {
    for (const verifier of verifiers) await verifier.stop()
    for (const client of clients) await client.end({ timeout: 1 })
    await home?.stop()
    await pair?.end()
  })

  const startVerifier = async (databaseUrl = pair.region.verifierUrl): Promise<TestService> => {
    const { publicUrl, publicUrlIsSet, jwtAudience, apiKeyPrefix } = home.config
    const verifier = await startService(
      {
        mode: 'verify',
        migrate: 'check',
        secretKey: null,
        homeUrl: home.url,
        homeKey: secret(await newHomeKey(home)),
        regionName: 'test',
        verifyWhenStale: 'allow',
        publicUrl,
        publicUrlIsSet,
        jwtAudience,
        apiKeyPrefix,
      },
      { databaseUrl, config: home.config },
    )
    verifiers.push(verifier)
    return verifier
  }
  const connectTo = (server: PostgresServer) => {
    const client = postgres(server.url('latchkey'), { max: 1, onnotice: () => {} })
    clients.push(client)
    return client
  }
  const codeOf = async (at: TestService, credential: string): Promise<string> =>
    (await call(at, 'POST /verify', { bearer: watcher, json: { credential } })).body.code
  const says = (at: TestService, credential: string, code: string) =>
    until(async () => (await codeOf(at, credential)) === code, `the region says ${code}`)
  const revoke = async (id: string) =>
    expect((await call(home, `DELETE /keys/${id}`, { bearer: person })).status).toBe(200)
  const newestIn = async (sql: postgres.Sql) => Number((await sql`SELECT n FROM latchkey.heartbeats`)[0]?.n)

  describe('is refused, also with `allow`, and good again afterwards:', () => {
    let verifier: TestService
    let key: string
    beforeAll(async () => {
      verifier = await startVerifier()
      key = (await newKey(home, person)).key
      await says(verifier, key, 'VALID')
    })
    const inRegion = (text: string) => pair.region.sql.unsafe(text)

    test('another subscription has some of the tables', async () => {
      await pair.home
        .sql`CREATE PUBLICATION other FOR TABLE latchkey.resources (id, identifier, name, scopes, is_active)`
      // A row of home never has this id, so the copy of the other subscription finds an empty table.
      await inRegion(`CREATE SUBSCRIPTION other CONNECTION '${pair.region.connection}' PUBLICATION other`)
      await says(verifier, key, 'stale')
      await inRegion('DROP SUBSCRIPTION other')
      await says(verifier, key, 'VALID')
      await pair.home.sql`DROP PUBLICATION other`
    })

    test('home left a table out of the publication, and the subscription has forgotten it', async () => {
      const columns = PUBLISHED.find(({ name }) => name === 'revoked_tokens')?.columns.join()
      await pair.home.sql.unsafe(`ALTER PUBLICATION latchkey DROP TABLE latchkey.revoked_tokens`)
      await inRegion(`ALTER SUBSCRIPTION ${SLOT} REFRESH PUBLICATION`)
      await says(verifier, key, 'stale')
      await pair.home.sql.unsafe(`ALTER PUBLICATION latchkey ADD TABLE latchkey.revoked_tokens (${columns})`)
      await inRegion(`ALTER SUBSCRIPTION ${SLOT} REFRESH PUBLICATION`)
      await says(verifier, key, 'VALID')
    })

    test('home failed over, and the subscription did not ask for its slot to be kept', async () => {
      const failOver = () => pair.home.sql`UPDATE latchkey.heartbeats SET n = n + 1, at = clock_timestamp(),
        previous = token, token = gen_random_uuid(), timeline = timeline + 1`
      // Servers of home write their own timeline again with the next heartbeat, which is another change of it.
      await failOver()
      await says(verifier, key, 'stale')
      const state = await inRegion('SELECT reason FROM latchkey.region_state')
      expect(state.map(({ reason }) => reason)).toEqual(['timeline'])
      await inRegion(`ALTER SUBSCRIPTION ${SLOT} DISABLE`)
      await until(
        () =>
          inRegion(`ALTER SUBSCRIPTION ${SLOT} SET (failover = true)`).then(
            () => true,
            () => false,
          ),
        'the slot is free',
      )
      await inRegion(`ALTER SUBSCRIPTION ${SLOT} ENABLE`)
      await pair.arrived()
      await inRegion('DELETE FROM latchkey.region_state')
      await says(verifier, key, 'VALID')
      await failOver()
      await pair.arrived()
      expect(await inRegion('SELECT reason FROM latchkey.region_state')).toHaveLength(0)
      expect(await codeOf(verifier, key)).toBe('VALID')
    })
  })

  test('the database of the region failed over, and the last changes that it had confirmed are gone', async () => {
    const standby = await startServer({
      version: 18,
      follows: pair.region.server,
      settings: ['wal_level=logical', 'wal_retrieve_retry_interval=100ms'],
    })
    const next = connectTo(standby)
    try {
      const { key, id } = await newKey(home, person)
      const kept = await newKey(home, person)
      // Home leaves out a row that is locked, so no heartbeat comes from here on.
      await pair.home.sql`BEGIN`
      await pair.home.sql`SELECT FROM latchkey.heartbeats FOR UPDATE`
      const last = await newestIn(pair.home.sql)
      await until(async () => (await newestIn(next)) === last, 'the standby has what is there')
      await next`ALTER SYSTEM SET primary_conninfo = ''`
      await next`SELECT pg_reload_conf()`
      await until(async () => (await next`SELECT 1 FROM pg_stat_wal_receiver`).length === 0, 'it is cut off')
      await revoke(id)
      const isRevoked = (sql: postgres.Sql) =>
        sql`SELECT 1 FROM latchkey.api_keys WHERE id = ${id} AND revoked_at IS NOT NULL`.then(
          ({ length }) => length === 1,
        )
      const [end] = await pair.home.sql`SELECT pg_current_wal_lsn() AS lsn`
      await until(
        async () =>
          (
            await pair.home.sql`SELECT 1 FROM pg_replication_slots
              WHERE slot_name = ${SLOT} AND confirmed_flush_lsn >= ${end?.lsn}::pg_lsn`
          ).length === 1,
        'the region has confirmed it',
      )
      expect(await isRevoked(pair.region.sql)).toBe(true)
      await pair.region.server.kill()
      await next`SELECT pg_promote()`
      await pair.home.sql`COMMIT`
      await until(async () => (await newestIn(next)) > last, 'heartbeats arrive at the next server')
      expect(await isRevoked(next)).toBe(false)
      const verifier = await startVerifier(standby.url('latchkey', 'latchkey_verifier'))
      await until(async () => (await newestIn(next)) > last + 2, 'more of them arrive')
      expect([await codeOf(verifier, key), await codeOf(verifier, kept.key)]).toEqual(['stale', 'stale'])
      // The chain itself is whole: no heartbeat was lost.
      const state = await next`SELECT reason FROM latchkey.region_state`
      expect(state.map(({ reason }) => reason)).toEqual(['timeline'])
      await verifier.stop()
      verifiers.pop()
    } finally {
      await standby.remove()
      await pair.region.server.start()
    }
  })
})
