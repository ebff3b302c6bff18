import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { eq, type SQL, sql } from 'drizzle-orm'
import postgres from 'postgres'
import { verifyQueriesOf } from '../../src/core/verify/queries.ts'
import type { Database } from '../../src/db/database.ts'
import { errorCode } from '../../src/db/errors.ts'
import { EVICTION_CHANNEL, REGION_CHANNEL } from '../../src/db/eviction.ts'
import { oauthClients, oauthGrants, resources } from '../../src/db/oauth.ts'
import { PUBLISHED, REPLICATION_ROLE } from '../../src/db/published.ts'
import {
  apiKeyCredits,
  apiKeySecrets,
  apiKeys,
  ownerCredits,
  revokedTokens,
  serviceAccounts,
  sessions,
  signingKeys,
  users,
} from '../../src/db/schema.ts'
import { hasVersion, type PostgresVersion } from '../support/postgres.ts'
import { dropSlot, listenTo, type Pair, resync, SLOT, startPair, withDatabase } from '../support/region.ts'
import { insertOneOfEach, rows } from '../support/rows.ts'
import { until } from '../support/until.ts'

setDefaultTimeout(120_000)

type Existing = Awaited<ReturnType<typeof insertOneOfEach>>

/** Two texts that stay at home, beside one that regions get. Each is found in the files of a server that has it. */
const PASSWORD_HASH = '$argon2id$v=19$the-hash-of-a-password'
const PRIVATE_KEY = 'the-private-part-of-a-signing-key-encrypted'
const TOTP_SECRET = 'the-secret-of-an-authenticator-app-encrypted'
const PUBLIC_NAME = 'a-name-that-regions-get'
const inBytes = (text: string) => new Uint8Array(Buffer.from(text))

const DIRECTIONS: [PostgresVersion, PostgresVersion][] = [
  [18, 15],
  [15, 18],
]

for (const [homeVersion, regionVersion] of DIRECTIONS) {
  const name = `home on PostgreSQL ${homeVersion}, a region on ${regionVersion}`
  describe.skipIf(!hasVersion(15))(name, () => {
    let pair: Pair
    let existing: Existing
    let heard: string[]
    let stopListening: () => Promise<void>

    beforeAll(async () => {
      pair = await startPair(homeVersion, regionVersion)
      const listening = await listenTo(pair.region, [EVICTION_CHANNEL, REGION_CHANNEL])
      heard = listening.heard
      stopListening = listening.end
      existing = await atHome(insertOneOfEach)
      await pair.arrived()
    })
    afterAll(async () => {
      await stopListening?.()
      await pair?.end()
    })

    const atHome = <T>(work: (db: Database) => Promise<T>): Promise<T> =>
      withDatabase(pair.home.url, ({ db }) => work(db))

    /** What verifiers hear of a change at home, heartbeats aside. */
    const during = async (work: (db: Database) => PromiseLike<unknown>): Promise<string[]> => {
      await pair.arrived()
      const from = heard.length
      await atHome(async (db) => work(db))
      const n = await pair.beat()
      await until(
        () => heard.slice(from).some((message) => message.startsWith(`heartbeat ${n} `)),
        'the heartbeat behind the change is heard',
      )
      const end = heard.findIndex((message) => message.startsWith(`heartbeat ${n} `))
      return [...new Set(heard.slice(from, end))].filter((message) => !message.startsWith('heartbeat')).sort()
    }
    const inRegion = (query: string) => pair.region.sql.unsafe(query)
    const failureOf = (work: PromiseLike<unknown>): Promise<string | null | undefined> =>
      Promise.resolve(work).then(() => undefined, errorCode)

    test('a change at home evicts in the region, before the heartbeat behind it is heard', async () => {
      const { user, serviceAccount, apiKey, secret, session, signingKey, app } = existing
      const isOf = (column: { id: typeof users.id }, id: string): SQL => eq(column.id, id)
      const changes: [string, (db: Database) => PromiseLike<unknown>][] = [
        [
          `key ${apiKey.id}`,
          (db) => db.update(apiKeys).set({ revokedAt: new Date() }).where(eq(apiKeys.id, apiKey.id)),
        ],
        [`user ${user.id}`, (db) => db.update(users).set({ isActive: false }).where(isOf(users, user.id))],
        [
          `service_account ${serviceAccount.id}`,
          (db) =>
            db.update(serviceAccounts).set({ scopes: [] }).where(eq(serviceAccounts.id, serviceAccount.id)),
        ],
        [
          `key ${secret.keyId}`,
          (db) =>
            db.update(apiKeySecrets).set({ expiresAt: new Date() }).where(eq(apiKeySecrets.id, secret.id)),
        ],
        [
          `session ${session.id}`,
          (db) => db.update(sessions).set({ endedAt: new Date() }).where(eq(sessions.id, session.id)),
        ],
        [
          `signing_key ${signingKey.id}`,
          (db) =>
            db.update(signingKeys).set({ revokedAt: new Date() }).where(eq(signingKeys.id, signingKey.id)),
        ],
        [
          `client ${app.client.id}`,
          (db) => db.update(oauthClients).set({ isActive: false }).where(eq(oauthClients.id, app.client.id)),
        ],
        [
          `resource ${app.resource.id}`,
          (db) => db.update(resources).set({ isActive: false }).where(eq(resources.id, app.resource.id)),
        ],
        [`grant ${app.grant.id}`, (db) => db.delete(oauthGrants).where(eq(oauthGrants.id, app.grant.id))],
      ]
      for (const [message, change] of changes) expect(await during(change)).toEqual([message])
      const token = rows.revokedToken(secret.id)
      expect(await during((db) => db.insert(revokedTokens).values(token))).toEqual([`token ${token.id}`])
      expect(await during((db) => db.insert(apiKeySecrets).values(rows.secret(apiKey.id)))).toEqual(['new'])
      expect(await during((db) => db.insert(signingKeys).values(rows.signingKey()))).toEqual(['flush'])
      expect(await during((db) => db.delete(users).where(eq(users.id, user.id)))).toContain(`user ${user.id}`)
      // What no verification reads travels as a row without a change.
      const [other] = await pair.home.sql`INSERT INTO latchkey.users (id, email, created_at)
        VALUES (gen_random_uuid(), 'other@example.com', now()) RETURNING id`
      expect(
        await during((db) => db.update(users).set({ passwordHash: 'h' }).where(eq(users.id, other?.id))),
      ).toEqual([])
    })

    test('that a key or an owner has credits arrives, and evicts', async () => {
      const fresh = await atHome(insertOneOfEach)
      const { apiKey, user } = fresh
      const stateOf = async () => {
        const [row] =
          await inRegion(`SELECT k.has_credits AS key, u.has_credits AS owner FROM latchkey.api_keys k
          JOIN latchkey.users u ON u.id = k.user_id WHERE k.id = '${apiKey.id}'`)
        return { ...row }
      }
      await pair.arrived()
      expect(await stateOf()).toEqual({ key: true, owner: true })
      expect(
        await during((db) => db.delete(apiKeyCredits).where(eq(apiKeyCredits.keyId, apiKey.id))),
      ).toEqual([`key ${apiKey.id}`])
      expect(await during((db) => db.delete(ownerCredits).where(eq(ownerCredits.ownerId, user.id)))).toEqual([
        `user ${user.id}`,
      ])
      expect(await stateOf()).toEqual({ key: false, owner: false })
      expect(await during((db) => db.insert(ownerCredits).values(rows.ownerCredits(user.id)))).toEqual([
        `user ${user.id}`,
      ])
      expect(await stateOf()).toEqual({ key: false, owner: true })
    })

    test('no private key, password hash or TOTP secret is in any file of the region', async () => {
      await atHome(async (db) => {
        await db.insert(users).values({ ...rows.user(), passwordHash: PASSWORD_HASH })
        await db.insert(serviceAccounts).values({ ...rows.serviceAccount(), name: PUBLIC_NAME })
        await db.insert(signingKeys).values({ ...rows.signingKey(), privateKey: inBytes(PRIVATE_KEY) })
        const person = rows.user()
        await db.insert(users).values(person)
        await db.execute(sql`INSERT INTO latchkey.totp_secrets (id, user_id, secret, created_at, confirmed_at)
          VALUES (gen_random_uuid(), ${person.id}, ${Buffer.from(TOTP_SECRET)}, now(), now())`)
      })
      await pair.arrived()
      await Promise.all([pair.home.sql`CHECKPOINT`, pair.region.sql`CHECKPOINT`])
      const texts = [PASSWORD_HASH, PRIVATE_KEY, TOTP_SECRET, PUBLIC_NAME]
      const [found, foundAtHome] = await Promise.all([
        findInFiles(pair.region.server.directory, texts),
        findInFiles(pair.home.server.directory, texts),
      ])
      expect(found).toEqual([PUBLIC_NAME])
      expect(foundAtHome).toEqual(texts)
      // Nor is anything else that stays at home, in any row.
      for (const { name, kept } of PUBLISHED) {
        const asked = kept.map((column) => `count(${column}) AS ${column}`).join(', ')
        const [counts] = asked === '' ? [{}] : await inRegion(`SELECT ${asked} FROM latchkey.${name}`)
        const present = Object.entries(counts ?? {}).flatMap(([column, count]) =>
          Number(count) > 0 ? [column] : [],
        )
        expect([name, ...present]).toEqual([
          name,
          ...present.filter((column) => DEFAULTS.has(`${name}.${column}`)),
        ])
      }
    })

    test('a role reads what is published and no more: that of the copy at home, that of verifiers in the region', async () => {
      const copying = postgres(pair.home.server.url('latchkey', REPLICATION_ROLE), {
        max: 1,
        onnotice: () => {},
      })
      const verifying = postgres(pair.region.verifierUrl, { max: 1, onnotice: () => {} })
      try {
        for (const role of [copying, verifying]) {
          for (const { name, columns, kept } of PUBLISHED) {
            const readable = columns.map((column) => `"${column}"`).join(', ')
            expect(
              await failureOf(role.unsafe(`SELECT ${readable} FROM latchkey.${name} LIMIT 1`)),
            ).toBeUndefined()
            for (const column of kept)
              expect([
                column,
                await failureOf(role.unsafe(`SELECT ${column} FROM latchkey.${name} LIMIT 1`)),
              ]).toEqual([column, '42501'])
          }
          for (const table of [
            'totp_secrets',
            'mails',
            'audit_events',
            'api_key_credits',
            'account_managers',
          ])
            expect([table, await failureOf(role.unsafe(`SELECT 1 FROM latchkey.${table}`))]).toEqual([
              table,
              '42501',
            ])
        }
        for (const change of CHANGES)
          expect([change, await failureOf(verifying.unsafe(change))]).toEqual([change, '42501'])
        // Nor may the owner of the tables change the copy by accident.
        for (const change of CHANGES)
          expect([change, await failureOf(pair.region.sql.unsafe(change))]).toEqual([change, '42501'])
        expect(await failureOf(pair.home.sql.unsafe(CHANGES[0] ?? ''))).toBeUndefined()
        await verifying.unsafe(`SELECT pg_notify('${EVICTION_CHANNEL}', 'end')`)
        await until(() => heard.includes('end'), 'a verifier hears its own message')
      } finally {
        await Promise.all([copying.end({ timeout: 1 }), verifying.end({ timeout: 1 })])
      }
    })

    test('every query of a verification works for a verifier, so it reads published columns alone', async () => {
      await withDatabase(pair.region.verifierUrl, async ({ db }) => {
        const queries = verifyQueriesOf(db)
        const id = Bun.randomUUIDv7()
        const hash = Buffer.alloc(32)
        const values = {
          hash,
          hashes: [`\\x${hash.toString('hex')}`],
          ...{ secretId: id, ownerId: id, tokenId: id, sessionId: id, userId: id },
          ...{ signingKeyId: 'a', audience: 'https://api.example.com' },
        }
        const results: Record<string, unknown> = {}
        for (const [query, prepared] of Object.entries(queries))
          results[query] = await prepared.execute(values).catch(errorCode)
        expect(results).toEqual(Object.fromEntries(Object.keys(queries).map((query) => [query, []])))
        expect(await failureOf(db.select({ hash: users.passwordHash }).from(users))).toBe('42501')
      })
    })

    test('TRUNCATE … CASCADE at home empties the copy and flushes', async () => {
      await atHome(insertOneOfEach)
      await pair.arrived()
      expect(await inRegion('SELECT 1 FROM latchkey.api_key_secrets LIMIT 1')).toHaveLength(1)
      expect(await during((db) => db.execute(sql`TRUNCATE ${users} CASCADE`))).toEqual(['flush'])
      for (const table of [
        'users',
        'api_keys',
        'api_key_secrets',
        'sessions',
        'oauth_grants',
        'revoked_tokens',
      ])
        expect([table, (await inRegion(`SELECT 1 FROM latchkey.${table}`)).length]).toEqual([table, 0])
    })

    test('a failover of home makes the copy doubtful where either side is older than PostgreSQL 17', async () => {
      await pair.arrived()
      await pair.home.sql`UPDATE latchkey.heartbeats SET n = n + 1, at = clock_timestamp(), previous = token,
        token = gen_random_uuid(), timeline = timeline + 1`
      await pair.arrived()
      const states = await inRegion('SELECT reason FROM latchkey.region_state')
      expect(states.map(({ reason }) => reason)).toEqual(['timeline'])
      await inRegion('DELETE FROM latchkey.region_state')
      await until(() => heard.includes('state whole'), 'the end of the doubt is heard')
    })

    test('a crash of home breaks nothing: the slot goes on', async () => {
      await pair.arrived()
      await pair.home.server.kill()
      await pair.home.server.start()
      const isBack = () =>
        pair.home.sql`SELECT 1`.then(
          () => true,
          () => false,
        )
      await until(isBack, 'home answers again')
      await atHome(insertOneOfEach)
      await until(
        () =>
          pair.arrived().then(
            () => true,
            () => false,
          ),
        'heartbeats are written again',
      )
      expect(await inRegion('SELECT reason FROM latchkey.region_state')).toHaveLength(0)
    })

    for (const losesHeartbeat of [true, false])
      test(`a slot that was dropped and made again breaks the chain, ${losesHeartbeat ? 'with a heartbeat' : 'between two heartbeats'}, until all tables are copied again`, async () => {
        const fresh = await atHome(insertOneOfEach)
        await pair.arrived()
        const revokedInRegion = async () =>
          (await inRegion(`SELECT revoked_at FROM latchkey.api_keys WHERE id = '${fresh.apiKey.id}'`))[0]
            ?.revoked_at
        expect(await revokedInRegion()).toBeNull()

        await inRegion(`ALTER SUBSCRIPTION ${SLOT} DISABLE`)
        await dropSlot(pair)
        await atHome((db) => db.update(apiKeys).set({ revokedAt: new Date() }))
        if (losesHeartbeat) await pair.beat()
        await pair.home.sql`SELECT pg_create_logical_replication_slot(${SLOT}, 'pgoutput')`
        await inRegion(`ALTER SUBSCRIPTION ${SLOT} ENABLE`)
        // The stream goes on: the revocation was skipped, and the next heartbeat tells of it.
        await pair.arrived()
        expect(await revokedInRegion()).toBeNull()
        const reasons = await inRegion('SELECT reason FROM latchkey.region_state')
        expect(reasons.map(({ reason }) => reason)).toEqual(['chain'])
        await until(
          () => heard.some((message) => /^heartbeat \d+ \d+ \d+ 0 chain$/.test(message)),
          'a heartbeat says so',
        )
        // Further heartbeats follow each other, and do not mend it.
        await pair.arrived()
        expect(await inRegion('SELECT 1 FROM latchkey.region_state')).toHaveLength(1)

        const from = heard.length
        await resync(pair)
        expect(await inRegion('SELECT 1 FROM latchkey.region_state')).toHaveLength(0)
        expect(await revokedInRegion()).not.toBeNull()
        const states = () => heard.slice(from).filter((message) => message.startsWith('state'))
        await until(() => states().length >= 2, 'the end of the doubt is heard')
        expect(states()).toEqual(['state resync', 'state whole'])
        expect(
          await during((db) => db.update(users).set({ isActive: false }).where(eq(users.id, fresh.user.id))),
        ).toEqual([`user ${fresh.user.id}`])
      })
  })
}

/** Columns that are not published and that no row lacks, since the region writes them. */
const DEFAULTS = new Set([
  ...['users.locked_settings', 'users.is_sign_up', 'service_accounts.locked_settings'],
  ...['api_keys.locked_settings', 'api_keys.limits_of_others', 'sessions.generation', 'sessions.remember'],
  'oauth_clients.post_logout_redirect_uris',
  // The region's own, by the trigger of what arrives.
  'heartbeats.copy_timeline',
])

const CHANGES = [
  'UPDATE latchkey.users SET is_active = true',
  'DELETE FROM latchkey.revoked_tokens',
  `INSERT INTO latchkey.shared_settings (name, value) VALUES ('a', 'b')`,
  'TRUNCATE latchkey.sessions CASCADE',
]

/** The texts that some file below a directory has, in their order. */
async function findInFiles(directory: string, texts: readonly string[]): Promise<string[]> {
  const found = new Set<string>()
  for (const path of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    const file = join(directory, path)
    const stat = statSync(file, { throwIfNoEntry: false })
    if (!stat?.isFile()) continue
    const bytes = Buffer.from(
      await Bun.file(file)
        .arrayBuffer()
        .catch(() => new ArrayBuffer(0)),
    )
    for (const text of texts) if (!found.has(text) && bytes.includes(text)) found.add(text)
  }
  return texts.filter((text) => found.has(text))
}
