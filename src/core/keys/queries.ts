import {
  and,
  asc,
  count,
  desc,
  eq,
  gt,
  isNotNull,
  isNull,
  lt,
  lte,
  ne,
  not,
  or,
  type SQL,
  sql,
} from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { hasExternalId } from '../../db/external-ids.ts'
import { accountsOfUsersAlone, countsForUser, isOfAccountManagedBy } from '../../db/managers.ts'
import { isOneOf } from '../../db/one-of.ts'
import { mails } from '../../db/people.ts'
import {
  accountManagers,
  apiKeyCredits,
  apiKeySecrets,
  apiKeys,
  keyActivity,
  keyCreations,
  revokedTokens,
  serviceAccounts,
  users,
} from '../../db/schema.ts'
import { beginsWith, findCandidates, hasWords, searchText } from '../../db/search.ts'
import type { Role } from '../../lib/model.ts'
import type { PageRows } from '../../lib/page.ts'
import type { Search } from '../../lib/search.ts'
import { DAY_MS } from '../../lib/time.ts'
import { readColumns } from '../credits/columns.ts'
import { listOwnerCredits } from '../credits/owner-credits.ts'
import type { Credits } from '../credits/refills.ts'
import { type Owner, type OwnerColumns, ownerColumn, ownerOfRow } from '../owners.ts'
import type { KeySort, ListedStatus } from './model.ts'

export type KeyRow = typeof apiKeys.$inferSelect
export type SecretRow = typeof apiKeySecrets.$inferSelect
/** What is shown of an owner beside a key: whether it is active, its address or name, and its credits. */
export type OwnerState = { isActive: boolean; label: string | null; credits: Credits | null }
/**
 * A key with its secrets that are not over, oldest first, its credits, its last use (null: never) and the state of its owner.
 * Of two secrets that are live, the newest is the one without an end.
 */
export type WholeKey = KeyRow & {
  secrets: SecretRow[]
  credits: Credits | null
  usedAt: Date | null
  owner: OwnerState
}

/** When a key was last used; null: never. */
const lastUse = sql`(SELECT used.last_used_at FROM ${keyActivity} AS used WHERE used.key_id = ${apiKeys.id})`
/** A key that was never used counts from its creation. */
const lastSeen = sql`COALESCE(${lastUse}, ${apiKeys.createdAt})`

/** Owners of whom a search finds the keys. */
const MAX_OWNERS = 100

/** The times in a cursor for a key that was never used, or that has no expiry. No key has these times itself. */
export const NEVER_USED_MS = 0
export const NO_END_MS = 0xffff_ffff_ffff

/** A key whose end is this near is expiring; one that was not used for so long is unused. */
export const EXPIRING_WITHIN_MS = 14 * DAY_MS
export const UNUSED_AFTER_MS = 90 * DAY_MS

const belongsTo = (owner: Owner) => eq(apiKeys[ownerColumn(owner)], owner.id)

export async function insertKey(tx: Transaction, key: typeof apiKeys.$inferInsert): Promise<KeyRow> {
  const [row] = await tx.insert(apiKeys).values(key).returning()
  if (!row) throw new Error('An insert returned no row')
  return row
}

export async function insertSecret(
  tx: Transaction,
  secret: typeof apiKeySecrets.$inferInsert,
): Promise<SecretRow> {
  const [row] = await tx.insert(apiKeySecrets).values(secret).returning()
  if (!row) throw new Error('An insert returned no row')
  return row
}

/** The conditions by which a list of keys is narrowed. `owner: null` lists the keys of all owners. */
export type KeyFilter = {
  /** The keys that a search found; null: all. */
  ids: readonly string[] | null
  owner: Owner | null
  externalId: string | null
  status: ListedStatus | null
  /** Keys that end before a time. */
  expiresBefore: Date | null
  /** Keys that were made before the day of a time (UTC), and not used since it began. */
  unusedSince: Date | null
  /** A managing key sees what lies within its own scopes and expiry. */
  within: { scopes: readonly string[]; expiresAt: Date | null } | null
}

/** Keys, newest first by their time of creation. Ids are not in that order, because an imported key keeps its id. */
export async function listKeys(
  db: Database,
  filter: KeyFilter,
  sort: KeySort,
  now: Date,
  { limit, after, afterAt }: PageRows,
): Promise<WholeKey[]> {
  const { values, direction, since } = ORDERS[sort]
  const isAfter = direction === 'ASC' ? sql.raw('>') : sql.raw('<')
  const keys = await db
    .select()
    .from(apiKeys)
    .where(
      and(
        ...conditionsOf(filter, now),
        after === null || afterAt === null
          ? undefined
          : sql`(${sql.join(values, sql`, `)}) ${isAfter} (${sql.join(since(after, afterAt), sql`, `)})`,
      ),
    )
    .orderBy(...values.map((value) => sql`${value} ${sql.raw(direction)}`))
    .limit(limit)
  return whole(db, keys)
}

function conditionsOf(filter: KeyFilter, now: Date): (SQL | undefined)[] {
  const { ids, owner, externalId, status, within, expiresBefore, unusedSince } = filter
  return [
    ids === null ? undefined : isOneOf(apiKeys.id, ids),
    owner === null ? undefined : belongsTo(owner),
    externalId === null ? undefined : hasExternalId(externalId),
    status === null ? undefined : hasStatus(status, now),
    within === null ? undefined : liesWithin(within),
    expiresBefore === null ? undefined : sql`${end} < ${timestamp(expiresBefore)}`,
    unusedSince === null ? undefined : isUnusedSince(unusedSince),
  ]
}

/** Whether a key was made before the day (UTC) of a time, and not used since that day began. */
function isUnusedSince(at: Date): SQL {
  const day = at.toISOString().slice(0, 10)
  return sql`(${apiKeys.createdAt} < ${`${day}T00:00:00Z`}::timestamptz AND NOT EXISTS (
    SELECT FROM ${keyActivity} AS used WHERE used.key_id = ${apiKeys.id} AND used.last_used_day >= ${day}::date))`
}

const timestamp = (at: Date) => sql`${at.toISOString()}::timestamptz`

/** An order of keys. Each list of values ends with the id, which tells keys apart that are equal otherwise. */
type Order = {
  values: SQL[]
  direction: 'ASC' | 'DESC'
  /** The values of the row that ended the page before, whose time was `at`. */
  since(id: string, at: Date): SQL[]
}

/** When a key ends; without an end after all others. As the index has it. */
const end = sql`COALESCE(${apiKeys.expiresAt}, 'infinity'::timestamptz)`
const keyId = sql`${apiKeys.id}`
const ofRow = (value: string, id: string) =>
  sql`(SELECT ${sql.raw(value)} FROM ${apiKeys} AS last WHERE last.id = ${id})`

/**
 * The orders of a list. A row's own time is finer than the milliseconds of a cursor, so that it is read again as long as the
 * row is there. The last use moves meanwhile, and is compared in milliseconds.
 */
const ORDERS: Record<KeySort, Order> = {
  // Ids do not tell: an imported key keeps its own.
  created_at: {
    values: [sql`${apiKeys.createdAt}`, keyId],
    direction: 'DESC',
    since: (id, at) => [sql`COALESCE(${ofRow('last.created_at', id)}, ${timestamp(at)})`, sql`${id}::uuid`],
  },
  last_used_at: {
    values: [sql`COALESCE(date_trunc('milliseconds', ${lastUse}), '-infinity')`, keyId],
    direction: 'DESC',
    since: (id, at) => [
      at.getTime() === NEVER_USED_MS ? sql`'-infinity'::timestamptz` : timestamp(at),
      sql`${id}::uuid`,
    ],
  },
  expires_at: {
    values: [end, keyId],
    direction: 'ASC',
    since: (id, at) => [
      sql`COALESCE(${ofRow("COALESCE(last.expires_at, 'infinity')", id)},
        ${at.getTime() === NO_END_MS ? sql`'infinity'::timestamptz` : timestamp(at)})`,
      sql`${id}::uuid`,
    ],
  },
  name: {
    values: [sql`(${apiKeys.name} IS NULL)`, sql`lower(COALESCE(${apiKeys.name}, ''))`, keyId],
    direction: 'ASC',
    since: (id) => [
      ofRow('last.name IS NULL', id),
      ofRow("lower(COALESCE(last.name, ''))", id),
      sql`${id}::uuid`,
    ],
  },
}

/** The words of a key, as the index has them. */
const wordsOfKey = sql`COALESCE(${apiKeys.name}, '') || ' ' || COALESCE(${apiKeys.externalId}, '')`

/** The external id of an account, which is that of its keys that have none. As the index has it. */
const wordsOfAccount = sql`COALESCE(${serviceAccounts.externalId}, '')`

/** The keys of one owner that a search finds. */
export function searchKeysOf(db: Database, owner: Owner, search: Search) {
  // A value and not EXISTS, for which the planner may read the secrets of everybody that begin so.
  const hasSecret = sql`(SELECT true FROM ${apiKeySecrets} AS secret
    WHERE secret.key_id = ${apiKeys.id} AND secret.ended_at IS NULL
      AND ${beginsWith(sql`secret.start`, search.typed)} LIMIT 1)`
  const named =
    owner.type === 'user'
      ? sql`SELECT FROM ${users} WHERE ${users.id} = ${owner.id} AND ${beginsWith(users.email, search.text)}`
      : sql`SELECT FROM ${serviceAccounts} WHERE ${serviceAccounts.id} = ${owner.id}
          AND (${beginsWith(searchText(serviceAccounts.name), search.text)}
            OR ${apiKeys.externalId} IS NULL AND ${hasWords(wordsOfAccount, search)})`
  const isFound = sql`(${hasWords(wordsOfKey, search)} OR ${hasSecret} OR EXISTS (${named}))`
  return findCandidates(db, [sql`SELECT id FROM ${apiKeys} WHERE ${belongsTo(owner)} AND ${isFound}`])
}

/** The keys of everybody that a search finds: by their words, by a `start`, by their owner. */
export async function searchAllKeys(db: Database, search: Search) {
  const owners = await findCandidates(
    db,
    [
      sql`SELECT id FROM ${users} WHERE ${beginsWith(users.email, search.text)}`,
      sql`SELECT id FROM ${serviceAccounts} WHERE ${beginsWith(searchText(serviceAccounts.name), search.text)}`,
    ],
    MAX_OWNERS,
  )
  const customers = await findCandidates(
    db,
    [sql`SELECT id FROM ${serviceAccounts} WHERE ${hasWords(wordsOfAccount, search)}`],
    MAX_OWNERS,
  )
  const found = await findCandidates(db, [
    sql`SELECT id FROM ${apiKeys} WHERE ${hasWords(wordsOfKey, search)}`,
    sql`SELECT key_id AS id FROM ${apiKeySecrets} 
      WHERE ${beginsWith(apiKeySecrets.start, search.typed)} AND ended_at IS NULL`,
    sql`SELECT id FROM ${apiKeys} WHERE ${isOneOf(apiKeys.userId, owners.ids)}`,
    sql`SELECT id FROM ${apiKeys} WHERE ${isOneOf(apiKeys.serviceAccountId, owners.ids)}`,
    sql`SELECT id FROM ${apiKeys}
      WHERE ${isOneOf(apiKeys.serviceAccountId, customers.ids)} AND ${apiKeys.externalId} IS NULL`,
  ])
  const isTruncated = [found, owners, customers].some((each) => each.isTruncated)
  return { ids: found.ids, isTruncated }
}

export async function hasKey(db: Database, id: string): Promise<boolean> {
  return (await db.select({ id: apiKeys.id }).from(apiKeys).where(eq(apiKeys.id, id))).length > 0
}

/**
 * The condition of each status, as `statusOf` decides it, without those of the statuses before it. `active` is any key
 * that may be used.
 */
function hasStatus(status: ListedStatus, now: Date): SQL | undefined {
  if (status === 'revoked') return isNotNull(apiKeys.revokedAt)
  // As the index has it.
  const isExpired = sql`${end} <= ${timestamp(now)}`
  if (status === 'expired') return and(isNull(apiKeys.revokedAt), isExpired)
  const isLive = and(isNull(apiKeys.revokedAt), sql`${end} > ${timestamp(now)}`)
  // Written out, as the index has it: of a parameter the planner does not know that it is false.
  if (status === 'disabled') return and(isLive, sql`NOT ${apiKeys.isActive}`)
  const isEnabled = and(isLive, sql`${apiKeys.isActive}`)
  if (status === 'owner_disabled') return and(isEnabled, isOfDisabledOwner)
  const isUsable = and(isEnabled, not(hasDisabledOwner))
  const isExpiring = sql`${end} <= ${timestamp(new Date(now.getTime() + EXPIRING_WITHIN_MS))}`
  if (status === 'expiring') return and(isUsable, isExpiring)
  if (status === 'active') return isUsable
  const isUnused = sql`${lastSeen} <= ${timestamp(new Date(now.getTime() - UNUSED_AFTER_MS))}`
  return and(isUsable, not(isExpiring), isUnused)
}

/** How many keys there are that are not revoked. */
export async function countUnrevoked(db: Database): Promise<number> {
  const [row] = await db.select({ keys: count() }).from(apiKeys).where(isNull(apiKeys.revokedAt))
  return row?.keys ?? 0
}

export async function countWithStatus(db: Database, status: ListedStatus, now: Date): Promise<number> {
  const [row] = await db.select({ keys: count() }).from(apiKeys).where(hasStatus(status, now))
  return row?.keys ?? 0
}

/** Asked for the disabled, of whom there are few, with an index of them: all others would be read as a whole. */
const hasDisabledOwner = sql`(
  EXISTS (SELECT FROM ${users} AS owner WHERE owner.id = ${apiKeys.userId} AND NOT owner.is_active) OR
  EXISTS (SELECT FROM ${serviceAccounts} AS owner WHERE owner.id = ${apiKeys.serviceAccountId} AND NOT owner.is_active))`
/** The same, for those keys alone: found by the ids of their owners, where all keys would be tried one by one. */
const isOfDisabledOwner = sql`(
  ${apiKeys.userId} = ANY (ARRAY (SELECT owner.id FROM ${users} AS owner WHERE NOT owner.is_active)) OR
  ${apiKeys.serviceAccountId} = ANY (ARRAY (SELECT owner.id FROM ${serviceAccounts} AS owner WHERE NOT owner.is_active)))`

function liesWithin({ scopes, expiresAt }: NonNullable<KeyFilter['within']>): SQL | undefined {
  const held = sql`${apiKeys.scopes} <@ ${sql.param([...scopes])}::text[]`
  return and(held, expiresAt === null ? undefined : lte(apiKeys.expiresAt, expiresAt))
}

/** What a secret is looked up by: the SHA-256 of the whole key, or its first characters. */
export type SecretSearch = { hash: Uint8Array } | { start: string }

/**
 * Secrets with their keys, newest first, also those that ended; of everybody, or of an owner and the accounts that the owner manages.
 * @param of `within`: the scopes of the key that asks; null: a person does
 */
export async function listKeysBySecret(
  db: Database,
  by: SecretSearch,
  of: { owner: Owner; within: readonly string[] | null } | null,
  limit: number,
): Promise<{ key: WholeKey; secret: SecretRow }[]> {
  const rows = await db
    .select({ key: apiKeys, secret: apiKeySecrets })
    .from(apiKeySecrets)
    .innerJoin(apiKeys, eq(apiKeys.id, apiKeySecrets.keyId))
    .where(
      and(
        'hash' in by ? eq(apiKeySecrets.hash, by.hash) : eq(apiKeySecrets.start, by.start),
        of === null ? undefined : or(belongsTo(of.owner), isOfAccountManagedBy(of.owner, of.within)),
      ),
    )
    .orderBy(desc(apiKeySecrets.createdAt), desc(apiKeySecrets.id))
    .limit(limit)
  const keys = await whole(
    db,
    rows.map(({ key }) => key),
  )
  return rows.flatMap(({ secret }, at) => {
    const key = keys[at]
    return key ? [{ key, secret }] : []
  })
}

export async function findKey(db: Database | Transaction, id: string): Promise<WholeKey | null> {
  const [found] = await whole(db, await db.select().from(apiKeys).where(eq(apiKeys.id, id)))
  return found ?? null
}

/** A locked key with its secrets and its credits. */
export async function findWholeKey(tx: Transaction, key: KeyRow): Promise<WholeKey> {
  const [found] = await whole(tx, [key])
  if (!found) throw new Error('A key without a row')
  return found
}

/**
 * The number of live keys of an owner; for a user including those of the accounts that count for the user, who still
 * manages them. The caller
 * has locked the owner, so the number does not change until the transaction ends.
 */
export async function countLiveKeys(tx: Transaction, owner: Owner, now: Date): Promise<number> {
  const isUnexpired = or(isNull(apiKeys.expiresAt), gt(apiKeys.expiresAt, now))
  const counted = tx.select({ id: serviceAccounts.id }).from(serviceAccounts).where(countsForUser(owner.id))
  const isCounted =
    owner.type === 'user'
      ? or(belongsTo(owner), sql`${apiKeys.serviceAccountId} IN ${counted}`)
      : belongsTo(owner)
  const [row] = await tx
    .select({ keys: count() })
    .from(apiKeys)
    .where(and(isCounted, isNull(apiKeys.revokedAt), isUnexpired))
  return row?.keys ?? 0
}

export type KeyChange = Partial<
  Pick<
    KeyRow,
    | 'name'
    | 'description'
    | 'externalId'
    | 'metadata'
    | 'scopes'
    | 'expiresAt'
    | 'isActive'
    | 'rateLimit'
    | 'rateWindowSeconds'
    | 'allowedIps'
    | 'lockedSettings'
    | 'limitsOfOthers'
  >
>

export async function updateKey(tx: Transaction, id: string, change: KeyChange): Promise<void> {
  await tx.update(apiKeys).set(change).where(eq(apiKeys.id, id))
}

/** Sets the expiry of secrets; null: never. The caller has locked them. */
export async function updateSecretExpiry(
  tx: Transaction,
  ids: readonly string[],
  expiresAt: Date | null,
): Promise<void> {
  await tx.update(apiKeySecrets).set({ expiresAt }).where(isOneOf(apiKeySecrets.id, ids))
}

/**
 * Ends locked secrets for good. Their rows stay, so that a secret that is found later still tells its key. An instance of an
 * earlier release knows nothing of `ended_at`, and refuses them by `expires_at`.
 */
export async function endSecrets(tx: Transaction, ids: readonly string[], now: Date): Promise<void> {
  await tx
    .update(apiKeySecrets)
    .set({
      endedAt: now,
      expiresAt: sql`LEAST(${apiKeySecrets.expiresAt}, ${now.toISOString()}::timestamptz)`,
    })
    .where(isOneOf(apiKeySecrets.id, ids))
}

const revocation = (now: Date, reason: string | null) => ({ revokedAt: now, revokedReason: reason })

/**
 * Revokes those of the keys that are not revoked yet.
 * @returns the keys that were revoked
 */
export async function updateRevoked(
  tx: Transaction,
  ids: readonly string[],
  now: Date,
  reason: string | null,
): Promise<{ id: string }[]> {
  return tx
    .update(apiKeys)
    .set(revocation(now, reason))
    .where(and(isOneOf(apiKeys.id, ids), isNull(apiKeys.revokedAt)))
    .returning({ id: apiKeys.id })
}

/** Selects keys to revoke together: by what they have in common, within the reach of the caller. */
export type RevocableKeys = {
  ids: readonly string[] | null
  owner: Owner | null
  externalId: string | null
  createdBefore: Date | null
  reach:
    | { kind: 'all' }
    /** Everybody's but admins'; `keyId` is the key that asks. */
    | { kind: 'support'; keyId: string | null }
    /** The user's own, and those of the accounts that the user manages. */
    | { kind: 'user'; userId: string }
    | ({ kind: 'key'; owner: Owner; keyId: string | null } & NonNullable<KeyFilter['within']>)
}

/** Keys that remain to be revoked are counted up to this number. */
const MAX_COUNTED = 100_000

const isRevocable = (db: Database, keys: RevocableKeys) => and(isNull(apiKeys.revokedAt), isChosen(db, keys))

function isChosen(db: Database, { ids, owner, externalId, createdBefore, reach }: RevocableKeys) {
  return and(
    ids === null ? undefined : isOneOf(apiKeys.id, ids),
    owner === null ? undefined : belongsTo(owner),
    externalId === null ? undefined : hasExternalId(externalId),
    createdBefore === null ? undefined : lt(apiKeys.createdAt, createdBefore),
    isReached(db, reach),
  )
}

function isReached(db: Database, reach: RevocableKeys['reach']): SQL | undefined {
  switch (reach.kind) {
    case 'all':
      return undefined
    case 'support': {
      const admins = db.select({ id: users.id }).from(users).where(eq(users.role, 'admin'))
      const isOther = reach.keyId === null ? undefined : ne(apiKeys.id, reach.keyId)
      return and(or(isNull(apiKeys.userId), sql`${apiKeys.userId} NOT IN ${admins}`), isOther)
    }
    case 'user':
      return or(
        eq(apiKeys.userId, reach.userId),
        isOfAccountManagedBy({ type: 'user', id: reach.userId }, null),
      )
    case 'key':
      return and(
        or(belongsTo(reach.owner), isOfAccountManagedBy(reach.owner, reach.scopes)),
        reach.keyId === null ? undefined : ne(apiKeys.id, reach.keyId),
        liesWithin(reach),
      )
  }
}

/** The oldest of them. */
export function listRevocable(db: Database, keys: RevocableKeys, limit: number): Promise<KeyRow[]> {
  return db
    .select()
    .from(apiKeys)
    .where(isRevocable(db, keys))
    .orderBy(asc(apiKeys.createdAt), asc(apiKeys.id))
    .limit(limit)
}

/** How many there are, at most MAX_COUNTED. */
export async function countRevocable(db: Database, keys: RevocableKeys): Promise<number> {
  const some = db
    .select({ id: apiKeys.id })
    .from(apiKeys)
    .where(isRevocable(db, keys))
    .limit(MAX_COUNTED)
    .as('some')
  const [row] = await db.select({ keys: count() }).from(some)
  return row?.keys ?? 0
}

/** Whether there are any, revoked or not. */
export async function hasKeysOf(db: Database, keys: RevocableKeys): Promise<boolean> {
  return (await db.select({ id: apiKeys.id }).from(apiKeys).where(isChosen(db, keys)).limit(1)).length > 0
}

/** The role of a user who may own keys; null: the user does not exist. */
export async function findOwnerRole(db: Database, userId: string): Promise<Role | null> {
  const [user] = await db.select({ role: users.role }).from(users).where(eq(users.id, userId))
  return user?.role ?? null
}

/** Revokes the live keys of a user and of the accounts that the user alone manages, and says which. */
export async function updateRevokedOfUser(
  tx: Transaction,
  userId: string,
  now: Date,
  reason: string,
): Promise<{ id: string }[]> {
  return tx
    .update(apiKeys)
    .set(revocation(now, reason))
    .where(isLiveOfUser(userId))
    .returning({ id: apiKeys.id })
}

/** At most `limit` ids of the keys that `updateRevokedOfUser` would revoke. */
export async function listLiveKeyIdsOfUser(db: Database, userId: string, limit: number): Promise<string[]> {
  const rows = await db.select({ id: apiKeys.id }).from(apiKeys).where(isLiveOfUser(userId)).limit(limit)
  return rows.map(({ id }) => id)
}

const isLiveOfUser = (userId: string) =>
  and(
    or(eq(apiKeys.userId, userId), sql`${apiKeys.serviceAccountId} IN ${accountsOfUsersAlone([userId])}`),
    isNull(apiKeys.revokedAt),
  )

/**
 * At most `limit` live keys, with their owners, that a key created, directly or through keys that it created. In no order,
 * so that it stops where it has found enough.
 */
export function listCreatedKeys(
  db: Database | Transaction,
  id: string,
  limit: number,
): Promise<({ id: string } & OwnerColumns)[]> {
  const columns = sql`child.id, child.user_id, child.service_account_id, child.revoked_at`
  const made = sql`(
    WITH RECURSIVE made AS (
      SELECT ${columns} FROM ${apiKeys} child WHERE child.created_by = ${id}
      UNION SELECT ${columns} FROM ${apiKeys} child JOIN made ON child.created_by = made.id
    ) SELECT * FROM made) AS made`
  return db
    .select({
      id: sql<string>`made.id`,
      userId: sql<string | null>`made.user_id`,
      serviceAccountId: sql<string | null>`made.service_account_id`,
    })
    .from(made)
    .where(sql`made.revoked_at IS NULL`)
    .limit(limit)
}

/**
 * Revokes one access token of a service account. The key with which it was obtained stays valid.
 * @returns false where the token was revoked already
 */
export async function insertRevokedToken(
  tx: Transaction,
  token: typeof revokedTokens.$inferInsert,
): Promise<boolean> {
  const inserted = await tx
    .insert(revokedTokens)
    .values(token)
    .onConflictDoNothing()
    .returning({ id: revokedTokens.id })
  return inserted.length > 0
}

/** At most `limit` ids of an owner's keys. */
export async function listKeyIdsOf(
  db: Database,
  owner: Owner,
  except: string | null,
  limit: number,
): Promise<string[]> {
  const isOther = except === null ? undefined : ne(apiKeys.id, except)
  const rows = await db
    .select({ id: apiKeys.id })
    .from(apiKeys)
    .where(and(belongsTo(owner), isOther))
    .limit(limit)
  return rows.map(({ id }) => id)
}

/** Deletes keys with their secrets and credits. The caller has locked them. */
export async function deleteKeys(tx: Transaction, ids: readonly string[]): Promise<void> {
  await tx.delete(apiKeys).where(isOneOf(apiKeys.id, ids))
}

/** @returns false where the key does not exist */
export async function deleteKey(tx: Transaction, id: string): Promise<boolean> {
  return (await tx.delete(apiKeys).where(eq(apiKeys.id, id)).returning({ id: apiKeys.id })).length > 0
}

/**
 * Reserves an idempotency key for a creation. One that was reserved before `outdated` may be used again.
 * @returns the id of the key that was created with it; null where it was free
 */
export async function takeCreation(
  tx: Transaction,
  creation: typeof keyCreations.$inferInsert,
  outdated: Date,
): Promise<string | null> {
  const taken = await tx
    .insert(keyCreations)
    .values(creation)
    .onConflictDoUpdate({
      target: keyCreations.hash,
      set: { keyId: creation.keyId, createdAt: creation.createdAt },
      setWhere: lt(keyCreations.createdAt, outdated),
    })
    .returning({ keyId: keyCreations.keyId })
  if (taken.length > 0) return null
  const [row] = await tx.select().from(keyCreations).where(eq(keyCreations.hash, creation.hash))
  return row?.keyId ?? null
}

async function whole(db: Database | Transaction, keys: KeyRow[]): Promise<WholeKey[]> {
  if (keys.length === 0) return []
  const ids = keys.map((key) => key.id)
  const secrets = await db
    .select()
    .from(apiKeySecrets)
    .where(and(isOneOf(apiKeySecrets.keyId, ids), isNull(apiKeySecrets.endedAt)))
    // By expiry first, NULL last. The times of creation are not enough: the clocks of two servers may differ by more
    // than the time between two rotations.
    .orderBy(asc(apiKeySecrets.expiresAt), asc(apiKeySecrets.createdAt), asc(apiKeySecrets.id))
  const credits = await db.select().from(apiKeyCredits).where(isOneOf(apiKeyCredits.keyId, ids))
  const uses = await db.select().from(keyActivity).where(isOneOf(keyActivity.keyId, ids))
  const owners = await db
    .select({ id: users.id, isActive: users.isActive, label: sql<string>`${users.email}`.as('label') })
    .from(users)
    .where(isOneOf(users.id, idsOf(keys, 'userId')))
    .unionAll(
      db
        .select({
          id: serviceAccounts.id,
          isActive: serviceAccounts.isActive,
          label: sql<string>`${serviceAccounts.name}`.as('label'),
        })
        .from(serviceAccounts)
        .where(isOneOf(serviceAccounts.id, idsOf(keys, 'serviceAccountId'))),
    )
  const ownersById = new Map(owners.map((owner) => [owner.id, owner]))
  const secretsOf = Map.groupBy(secrets, (secret) => secret.keyId)
  const creditsOf = new Map(credits.map((row) => [row.keyId, readColumns(row)]))
  const lastUses = new Map(uses.map((row) => [row.keyId, row.lastUsedAt]))
  const creditsOfOwners = await listOwnerCredits(
    db,
    keys.map((key) => ownerOfRow(key).id),
  )
  const ownerStateOf = ({ id }: Owner): OwnerState => {
    // Without a row: the key was deleted with its owner meanwhile.
    const { isActive = false, label = null } = ownersById.get(id) ?? {}
    return { isActive, label, credits: creditsOfOwners.get(id) ?? null }
  }
  return keys.map((key) => ({
    ...key,
    usedAt: lastUses.get(key.id) ?? null,
    secrets: secretsOf.get(key.id) ?? [],
    credits: creditsOf.get(key.id) ?? null,
    owner: ownerStateOf(ownerOfRow(key)),
  }))
}

/** A user, and those of their keys that expire soon. */
export type ExpiringKeys = {
  userId: string
  email: string
  keys: { id: string; name: string | null; expires_at: string }[]
}

/**
 * The active users with a key that passed a mark before its expiry since their last mail about expiring keys. A key
 * that was created after a mark is left out at that mark, because its creator knows its expiry.
 */
export async function findExpiringKeys(
  tx: Transaction,
  now: Date,
  given: { marksMs: readonly number[]; apartMs: number; looksBackMs: number; limit: number },
): Promise<ExpiringKeys[]> {
  const at = (ms: number) => sql`${new Date(now.getTime() + ms).toISOString()}::timestamptz`
  const interval = (ms: number) => sql`make_interval(secs => ${ms / 1000})`
  const passed = given.marksMs.map(
    (mark) => sql`(k.expires_at - ${interval(mark)} > COALESCE(last.at, ${at(-given.looksBackMs)})
      AND k.expires_at - ${interval(mark)} <= ${at(0)} AND k.created_at <= k.expires_at - ${interval(mark)})`,
  )
  const rows = await tx
    .select({
      userId: sql<string>`u.id`,
      email: sql<string>`u.email`,
      keys: sql<ExpiringKeys['keys']>`
        jsonb_agg(jsonb_build_object('id', k.id, 'name', k.name, 'expires_at', k.expires_at) ORDER BY k.expires_at, k.id)`,
    })
    .from(sql`${apiKeys} AS k
      LEFT JOIN ${serviceAccounts} AS a ON a.id = k.service_account_id AND a.is_active
      LEFT JOIN ${accountManagers} AS m ON m.service_account_id = a.id
      JOIN ${users} AS u ON u.id = COALESCE(k.user_id, m.user_id) AND u.is_active
      LEFT JOIN LATERAL (
        SELECT max(mail.created_at) AS at FROM ${mails} AS mail
        WHERE mail.user_id = u.id AND mail.kind = 'keys_expiring' AND mail.created_at > ${at(-given.looksBackMs)}
      ) AS last ON true`)
    .where(
      and(
        sql`k.revoked_at IS NULL AND k.is_active AND k.expires_at > ${at(0)}`,
        sql`k.expires_at <= ${at(Math.max(...given.marksMs))}`,
        sql`(last.at IS NULL OR last.at <= ${at(-given.apartMs)})`,
        or(...passed),
      ),
    )
    .groupBy(sql`u.id`)
    .orderBy(sql`u.id`)
    .limit(given.limit)
  return rows
}

const idsOf = (keys: readonly KeyRow[], column: keyof OwnerColumns) => [
  ...new Set(keys.flatMap((key) => key[column] ?? [])),
]
