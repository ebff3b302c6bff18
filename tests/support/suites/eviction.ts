import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { eq, getTableColumns, getTableName, sql } from 'drizzle-orm'
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core'
import { oauthClients, resources } from '../../../src/db/oauth.ts'
import { portalSessions } from '../../../src/db/portal.ts'
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
} from '../../../src/db/schema.ts'
import type { Opened, Target } from '../databases.ts'
import { insertOneOfEach, rows } from '../rows.ts'
import { selectRows } from '../select.ts'

const later = new Date('2031-01-01T00:00:00Z')
const bytes = (length: number) => new Uint8Array(length).fill(7)

type Existing = Awaited<ReturnType<typeof insertOneOfEach>>
type Case = {
  table: PgTable & { id: PgColumn }
  idOf(e: Existing): string
  message(e: Existing): string
  /** New values for the columns whose change must be sent. */
  loud(e: Existing): Record<string, unknown>
  /**
   * New values for the other columns. Their change must not be sent, because each NOTIFY takes a lock on the
   * whole cluster.
   */
  silent(e: Existing): Record<string, unknown>
}

/** Every column of these tables is in one of the two lists. A new column needs its place here. */
const cases: Case[] = [
  {
    table: users,
    idOf: (e) => e.user.id,
    message: (e) => `user ${e.user.id}`,
    loud: () => ({
      email: `${Bun.randomUUIDv7()}@x.org`,
      emailVerified: true,
      role: 'admin',
      isActive: false,
      scopes: ['x'],
      hasSecondFactor: true,
      hasCredits: false,
    }),
    silent: () => ({
      passwordHash: 'h',
      createdAt: later,
      passwordChangedAt: later,
      lockedSettings: { is_active: true },
      isSignUp: true,
      firstLoginAt: later,
    }),
  },
  {
    table: serviceAccounts,
    idOf: (e) => e.serviceAccount.id,
    message: (e) => `service_account ${e.serviceAccount.id}`,
    loud: () => ({ name: 'other', scopes: ['x'], isActive: false, externalId: 'cust-1', hasCredits: true }),
    silent: (e) => ({
      description: 'd',
      createdBy: e.user.id,
      countsFor: e.user.id,
      createdAt: later,
      lockedSettings: { is_active: true },
    }),
  },
  {
    table: apiKeys,
    idOf: (e) => e.apiKey.id,
    message: (e) => `key ${e.apiKey.id}`,
    loud: (e) => ({
      name: 'n',
      scopes: ['x'],
      isActive: false,
      createdAt: later,
      createdBy: e.user.id,
      expiresAt: later,
      revokedAt: later,
      revokedReason: 'r',
      description: 'd',
      externalId: 'x',
      metadata: { a: 1 },
      allowedIps: ['10.0.0.0/8'],
      lockedSettings: { is_active: true },
      limitsOfOthers: ['rate_limit'],
      rateRoot: e.user.id,
      hasCredits: false,
      // Written together with secrets, whose change is sent anyway.
      lastUsedAt: later,
    }),
    silent: () => ({}),
  },
  {
    table: apiKeySecrets,
    idOf: (e) => e.secret.id,
    message: (e) => `key ${e.secret.keyId}`,
    // In this order: what ended has an end.
    loud: () => ({ hash: bytes(32), expiresAt: later, endedAt: later }),
    silent: () => ({ start: 's', createdAt: later, lastUsedAt: later }),
  },
  {
    table: sessions,
    idOf: (e) => e.session.id,
    message: (e) => `session ${e.session.id}`,
    loud: () => ({ salt: bytes(16), expiresAt: later, endedAt: later, authTime: later, amr: ['mfa', 'pwd'] }),
    silent: () => ({
      generation: 5,
      createdAt: later,
      rotatedAt: later,
      idleExpiresAt: later,
      endedReason: 'r',
      ip: '::1',
      userAgent: 'u',
      lastIp: '::1',
      lastUserAgent: 'u',
      // The rights of an access token are in the token itself.
      scopes: ['read'],
      identityScopes: ['openid'],
      kind: 'browser',
      remember: true,
    }),
  },
  {
    table: resources,
    idOf: (e) => e.app.resource.id,
    message: (e) => `resource ${e.app.resource.id}`,
    loud: () => ({ identifier: 'https://other.example.com', slug: 'other', scopes: [], isActive: false }),
    silent: (e) => ({ name: 'n', tokenLifetimeSeconds: 60, createdAt: later, createdBy: e.user.id }),
  },
  {
    table: oauthClients,
    idOf: (e) => e.app.client.id,
    message: (e) => `client ${e.app.client.id}`,
    loud: () => ({ clientId: 'other', source: 'dynamic', scopes: ['x'], firstParty: true, isActive: false }),
    silent: (e) => ({
      name: 'n',
      kind: 'confidential',
      redirectUris: [],
      postLogoutRedirectUris: ['https://app.example.com'],
      grants: [],
      jwks: { keys: [] },
      jwksUri: null,
      createdAt: later,
      createdBy: e.user.id,
      lastUsedAt: later,
    }),
  },
  {
    table: signingKeys,
    idOf: (e) => e.signingKey.id,
    message: (e) => `signing_key ${e.signingKey.id}`,
    loud: () => ({
      algorithm: 'RS256',
      publicJwk: { kty: 'RSA' },
      privateKey: bytes(9),
      createdAt: later,
      signsFrom: later,
      revokedAt: later,
    }),
    silent: () => ({}),
  },
]

/** Columns whose change is tested separately below, because it needs another row or another column. */
const BY_HAND = new Set([
  'grantId',
  ...['id', 'userId', 'serviceAccountId', 'keyId'],
  ...['rateLimit', 'rateWindowSeconds', 'rootRateLimit', 'rootRateWindowSeconds'],
])

/**
 * The messages that the database sends to every server when a row changes that decides a credential's rights.
 */
export function describeEviction(target: Target): void {
  describe.skipIf(!target.isHere)(`eviction on ${target.name}`, () => {
    let opened: Opened
    let waiting: PromiseWithResolvers<string[]> | null = null
    let heard: string[] = []
    beforeAll(async () => {
      opened = await target.open()
      await opened.database.listen(['latchkey_evict'], {
        gap: () => heard.push('gap'),
        message: (payload) => {
          if (payload === 'end') waiting?.resolve(heard)
          else heard.push(payload)
        },
      })
    })
    afterAll(() => opened?.end())
    const db = () => opened.database.db

    /**
     * The messages that `work` causes. NOTIFY keeps the order of commits, so a message that is sent after
     * `work` arrives after them.
     */
    const during = async (work: () => PromiseLike<unknown>): Promise<string[]> => {
      waiting = Promise.withResolvers()
      heard = []
      await work()
      await opened.database.notify('latchkey_evict', 'end')
      return (await waiting.promise).sort()
    }
    /**
     * A new signing key is sent, because every server has to publish it. The first credits of a key and of an owner, the end of a
     * token, and that there is a new secret are sent too.
     */
    const insertAll = async () => {
      let existing: Existing | undefined
      const told = await during(async () => {
        existing = await insertOneOfEach(db())
      })
      if (!existing) throw new Error('nothing was inserted')
      expect(told).toEqual([
        'flush',
        `key ${existing.apiKey.id}`,
        'new',
        `token ${existing.revokedToken.id}`,
        `user ${existing.user.id}`,
      ])
      return existing
    }

    for (const it of cases) {
      test(`of ${getTableName(it.table)}: a change of what a credential may do is told, of anything else not`, async () => {
        const existing = await insertAll()
        const set = (values: Record<string, unknown>) =>
          during(() =>
            db()
              .update(it.table)
              .set(values)
              .where(eq(it.table.id, it.idOf(existing))),
          )
        const [loud, silent] = [it.loud(existing), it.silent(existing)]
        const classified = [...Object.keys(loud), ...Object.keys(silent)]
        const all = Object.keys(getTableColumns(it.table)).filter((column) => !BY_HAND.has(column))
        expect(classified.sort()).toEqual(all.sort())
        for (const [column, value] of Object.entries(loud)) {
          expect([column, await set({ [column]: value })]).toEqual([column, [it.message(existing)]])
          // There are few signing keys, so every change of one is sent.
          const again = it.table === signingKeys ? [it.message(existing)] : []
          expect([column, await set({ [column]: value })]).toEqual([column, again])
        }
        for (const [column, value] of Object.entries(silent)) {
          expect([column, await set({ [column]: value })]).toEqual([column, []])
        }
      })
    }

    test('a change of owner is told', async () => {
      const [a, b] = [await insertAll(), await insertAll()]
      const own = { userId: b.user.id }
      expect(await during(() => db().update(sessions).set(own).where(eq(sessions.id, a.session.id)))).toEqual(
        [`session ${a.session.id}`],
      )
      expect(await during(() => db().update(apiKeys).set(own).where(eq(apiKeys.id, a.apiKey.id)))).toEqual([
        `key ${a.apiKey.id}`,
      ])
      const keyId = b.apiKey.id
      expect(
        await during(() =>
          db().update(apiKeySecrets).set({ keyId }).where(eq(apiKeySecrets.id, a.secret.id)),
        ),
      ).toEqual([`key ${a.apiKey.id}`])
    })

    test('a change of a limit is told, and that a key has credits; not how many are left', async () => {
      const e = await insertAll()
      const ofKey = eq(apiKeys.id, e.apiKey.id)
      const ofCredits = eq(apiKeyCredits.keyId, e.apiKey.id)
      const limit = { rateLimit: 10, rateWindowSeconds: 60 }
      const told = [`key ${e.apiKey.id}`]
      expect(await during(() => db().update(apiKeys).set(limit).where(ofKey))).toEqual(told)
      const child = { ...rows.apiKey(e.user.id), rateRoot: e.apiKey.id }
      await db().insert(apiKeys).values(child)
      const lower = { rateLimit: 9 }
      const both = [`key ${child.id}`, ...told].sort()
      expect(await during(() => db().update(apiKeys).set(lower).where(ofKey))).toEqual(both)
      const [copied] = await db().select().from(apiKeys).where(eq(apiKeys.id, child.id))
      expect(copied).toMatchObject({ rootRateLimit: 9, rootRateWindowSeconds: 60 })
      const { user, serviceAccount } = e
      const change = (set: object) => [
        () => db().update(users).set(set).where(eq(users.id, user.id)),
        () => db().update(serviceAccounts).set(set).where(eq(serviceAccounts.id, serviceAccount.id)),
      ]
      const owners = [`user ${user.id}`, `service_account ${serviceAccount.id}`]
      for (const set of [limit, { rateLimit: 11 }, { rateWindowSeconds: 61 }])
        for (const [at, work] of change(set).entries()) expect(await during(work)).toEqual([owners[at] ?? ''])
      expect(await during(() => db().update(apiKeyCredits).set({ remaining: 3 }).where(ofCredits))).toEqual(
        [],
      )
      expect(await during(() => db().delete(apiKeyCredits).where(ofCredits))).toEqual(told)
      expect(await during(() => db().insert(apiKeyCredits).values(e.credits))).toEqual(told)
      expect(await during(() => db().execute(sql`TRUNCATE ${apiKeyCredits}`))).toContain('flush')
    })

    test('that an owner has credits is told, of users and service accounts; not how many are left', async () => {
      const e = await insertAll()
      const { id } = e.serviceAccount
      const ofAccount = { ...e.ownerCredits, ownerId: id, userId: null, serviceAccountId: id }
      const isOf = (owner: string) => eq(ownerCredits.ownerId, owner)
      expect(await during(() => db().insert(ownerCredits).values(ofAccount))).toEqual([
        `service_account ${id}`,
      ])
      for (const owner of [id, e.user.id])
        expect(
          await during(() => db().update(ownerCredits).set({ remaining: 3 }).where(isOf(owner))),
        ).toEqual([])
      expect(await during(() => db().delete(ownerCredits).where(isOf(id)))).toEqual([`service_account ${id}`])
      expect(await during(() => db().delete(ownerCredits).where(isOf(e.user.id)))).toEqual([
        `user ${e.user.id}`,
      ])
      expect(await during(() => db().execute(sql`TRUNCATE ${ownerCredits}`))).toContain('flush')
    })

    test('new secrets are told once a statement, without naming them', async () => {
      const e = await insertAll()
      const secrets = Array.from({ length: 20 }, () => ({
        ...e.secret,
        id: Bun.randomUUIDv7(),
        hash: crypto.getRandomValues(new Uint8Array(32)),
      }))
      expect(await during(() => db().insert(apiKeySecrets).values(secrets))).toEqual(['new'])
    })

    test('the end of one token is told', async () => {
      const e = await insertAll()
      const token = { ...rows.revokedToken(e.secret.id), id: Bun.randomUUIDv7() }
      expect(await during(() => db().insert(revokedTokens).values(token))).toEqual([`token ${token.id}`])
    })

    test('a change of a portal session is told; not that a link was made, exchanged or deleted unused', async () => {
      const e = await insertAll()
      const unused = { ...rows.portalSession(e.serviceAccount.id, e.apiKey.id), bearerHash: null }
      const change = (set: object, id: string) => () =>
        db().update(portalSessions).set(set).where(eq(portalSessions.id, id))
      expect(await during(() => db().insert(portalSessions).values(unused))).toEqual([])
      const bearerHash = new Uint8Array(32).fill(7)
      expect(await during(change({ bearerHash }, unused.id))).toEqual([])
      const told = [`portal_session ${e.portalSession.id}`]
      for (const set of [{ endedAt: new Date() }, { expiresAt: new Date(0) }, { scopes: [] }]) {
        expect(await during(change(set, e.portalSession.id))).toEqual(told)
      }
      const remove = (id: string) => () => db().delete(portalSessions).where(eq(portalSessions.id, id))
      expect(await during(remove(e.portalSession.id))).toEqual(told)
      const deleted = { ...rows.portalSession(e.serviceAccount.id, e.apiKey.id), bearerHash: null }
      expect(await during(() => db().insert(portalSessions).values(deleted))).toEqual([])
      expect(await during(remove(deleted.id))).toEqual([])
      expect(await during(() => db().execute(sql`TRUNCATE ${portalSessions}`))).toEqual(['flush'])
    })

    test('a delete is told, with all that goes with the row', async () => {
      const e = await insertAll()
      expect(await during(() => db().delete(users).where(eq(users.id, e.user.id)))).toEqual([
        `grant ${e.app.grant.id}`,
        `key ${e.apiKey.id}`,
        `portal_session ${e.portalSession.id}`,
        `session ${e.session.id}`,
        `user ${e.user.id}`,
      ])
      expect(
        await during(() => db().delete(serviceAccounts).where(eq(serviceAccounts.id, e.serviceAccount.id))),
      ).toEqual([`service_account ${e.serviceAccount.id}`])
      expect(await during(() => db().delete(signingKeys).where(eq(signingKeys.id, e.signingKey.id)))).toEqual(
        [`signing_key ${e.signingKey.id}`],
      )
      const { client, resource } = e.app
      expect(await during(() => db().delete(oauthClients).where(eq(oauthClients.id, client.id)))).toEqual([
        `client ${client.id}`,
      ])
      expect(await during(() => db().delete(resources).where(eq(resources.id, resource.id)))).toEqual([
        `resource ${resource.id}`,
      ])
    })

    test('what is rolled back is not told', async () => {
      const e = await insertAll()
      const undone = () =>
        db()
          .transaction(async (tx) => {
            await tx.delete(users).where(eq(users.id, e.user.id))
            throw new Error('undo')
          })
          .catch(() => {})
      expect(await during(undone)).toEqual([])
    })

    test('a thousand rows are named; beyond that everything is flushed, once', async () => {
      const many = Array.from({ length: 1001 }, () => ({ ...rows.user(), passwordHash: 'many' }))
      await during(() => db().insert(users).values(many))
      const disable = (limit: number) => () =>
        db().execute(sql`UPDATE latchkey.users SET is_active = NOT is_active WHERE id IN
          (SELECT id FROM latchkey.users WHERE password_hash = 'many' LIMIT ${limit})`)
      const exact = await during(disable(1000))
      expect(exact).toHaveLength(1000)
      expect(exact).not.toContain('flush')
      const beyond = await during(disable(1001))
      expect(beyond.filter((message) => message === 'flush')).toHaveLength(1)
      expect(beyond.length).toBeLessThanOrEqual(1001)
      // Rows are counted within one transaction. The next transaction starts at zero.
      expect(await during(disable(1))).toHaveLength(1)
    })

    test('TRUNCATE flushes', async () => {
      for (const { table } of cases) {
        const truncate = () => db().execute(sql`TRUNCATE ${table} CASCADE`)
        expect([getTableName(table), await during(truncate)]).toEqual([getTableName(table), ['flush']])
      }
    })

    test('replication and restores are heard too: every trigger fires always, but those of a region alone', async () => {
      const e = await insertAll()
      const asReplica = () =>
        db().transaction(async (tx) => {
          await tx.execute(sql`SET LOCAL session_replication_role = replica`)
          await tx.update(users).set({ isActive: false }).where(eq(users.id, e.user.id))
        })
      expect(await during(asReplica)).toEqual([`user ${e.user.id}`])
      const triggers = await selectRows(
        db(),
        sql`SELECT tgname, tgenabled FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
            WHERE c.relnamespace = 'latchkey'::regnamespace AND NOT tgisinternal`,
      )
      expect(triggers.length).toBeGreaterThan(15)
      const others = triggers.filter(({ tgenabled }) => tgenabled !== 'A')
      expect(others.map(({ tgname, tgenabled }) => `${tgname} ${tgenabled}`).sort()).toEqual([
        'api_key_secrets_evict_arrived R',
        'heartbeats_arrived R',
        'signing_keys_evict_arrived R',
      ])
    })
  })
}
