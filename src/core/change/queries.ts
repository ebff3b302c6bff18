import { and, asc, count, eq, isNull, type SQL, sql } from 'drizzle-orm'
import type { Transaction } from '../../db/database.ts'
import { isOneOf } from '../../db/one-of.ts'
import {
  apiKeyCredits,
  apiKeySecrets,
  apiKeys,
  revokedTokens,
  serviceAccounts,
  sessions,
  signingKeys,
  users,
} from '../../db/schema.ts'

/** The tables that changes lock rows of. */
const TABLES = { users, serviceAccounts, sessions, keys: apiKeys, secrets: apiKeySecrets, signingKeys }

/** Rows that a change has locked, as they are now, by table and id; a row that is gone is missing. */
export type HeldRows = { [T in keyof typeof TABLES]: Map<string, (typeof TABLES)[T]['$inferSelect']> }

type Lockable = {
  table: keyof HeldRows
  /** The rows that an id names. */
  where(ids: string[]): SQL | undefined
  /** false: there may be a hundred thousand of them; they are locked and not read. */
  reads: boolean
}

/**
 * What can be locked, in the order in which every change locks it (docs/decisions/0026). Two changes that lock in one
 * order wait for each other at most once; in two orders each could wait for what the other holds. Of the sessions and
 * keys of a user those that are still good are locked: the others change no more.
 */
export const LOCKABLE = {
  users: { table: 'users', where: (ids) => isOneOf(users.id, ids), reads: true },
  serviceAccounts: {
    table: 'serviceAccounts',
    where: (ids) => isOneOf(serviceAccounts.id, ids),
    reads: true,
  },
  accountsOfUser: {
    table: 'serviceAccounts',
    where: (ids) => isOneOf(serviceAccounts.createdBy, ids),
    reads: true,
  },
  sessions: { table: 'sessions', where: (ids) => isOneOf(sessions.id, ids), reads: true },
  sessionsOfUser: {
    table: 'sessions',
    where: (ids) => and(isOneOf(sessions.userId, ids), isNull(sessions.endedAt)),
    reads: false,
  },
  keys: { table: 'keys', where: (ids) => isOneOf(apiKeys.id, ids), reads: true },
  keysOfUser: {
    table: 'keys',
    where: (ids) => and(isOneOf(apiKeys.userId, ids), isNull(apiKeys.revokedAt)),
    reads: false,
  },
  keysOfAccountsOfUser: {
    table: 'keys',
    where: (ids) => and(isOfAccountOf(ids), isNull(apiKeys.revokedAt)),
    reads: false,
  },
  keysOfAccount: {
    table: 'keys',
    where: (ids) => and(isOneOf(apiKeys.serviceAccountId, ids), isNull(apiKeys.revokedAt)),
    reads: false,
  },
  secrets: { table: 'secrets', where: (ids) => isOneOf(apiKeySecrets.id, ids), reads: true },
  secretsOfKey: { table: 'secrets', where: (ids) => isOneOf(apiKeySecrets.keyId, ids), reads: true },
  signingKeys: { table: 'signingKeys', where: (ids) => isOneOf(signingKeys.id, ids), reads: true },
} as const satisfies Record<string, Lockable>

const isOfAccountOf = (userIds: string[]) => {
  const managed = sql`SELECT id FROM ${serviceAccounts} WHERE ${isOneOf(serviceAccounts.createdBy, userIds)}`
  return sql`${apiKeys.serviceAccountId} IN (${managed})`
}

/**
 * FOR SHARE for a row that is only read, FOR NO KEY UPDATE for one that will be updated, FOR UPDATE for one that will be
 * deleted. (FOR KEY SHARE does not conflict with an update, so it would hold no revocation off.)
 */
export type LockMode = 'share' | 'no key update' | 'update'

/** Rows that are locked by one statement. */
export type LockStep = { what: keyof typeof LOCKABLE; ids: string[]; mode: LockMode }

/**
 * Locks rows, lowest id first.
 * @returns the rows as they are once the locks are held; none where there may be too many to read
 */
export async function lockRows(tx: Transaction, { what, ids, mode }: LockStep): Promise<{ id: string }[]> {
  const { table, where, reads }: Lockable = LOCKABLE[what]
  // The row types differ; all that is used of them here is `id`, which every one of these tables has.
  const rows = TABLES[table] as typeof users
  if (reads) return tx.select().from(rows).where(where(ids)).orderBy(asc(rows.id)).for(mode)
  const locked = tx
    .$with('locked')
    .as(tx.select({ id: rows.id }).from(rows).where(where(ids)).orderBy(asc(rows.id)).for(mode))
  await tx.with(locked).select({ rows: count() }).from(locked)
  return []
}

/**
 * Takes a lock that belongs to no row, until the transaction ends. Locks of this kind come before those of rows. The query
 * is built: one that is written out (`execute`) would be sent after those that were started later.
 */
export async function takeAdvisoryLock(tx: Transaction, name: string): Promise<void> {
  const lock = sql`pg_advisory_xact_lock(hashtextextended(${`latchkey.${name}`}, 0))`
  await tx.select({ lock }).from(sql`(SELECT 1) AS one`)
}

/**
 * Waits in the queue of each owner, shared by what locks the row FOR SHARE. PostgreSQL lets such a lock past a statement
 * that waits for the row, so requests of a caller without a pause would hold their own revocation off for ever; it lets
 * nothing past in the queue of an advisory lock (docs/decisions/0026).
 */
export async function queueForOwners(
  tx: Transaction,
  owners: readonly (readonly [id: string, mode: LockMode])[],
): Promise<void> {
  const ids = sql.param(owners.map(([id]) => id))
  const modes = sql.param(owners.map(([, mode]) => mode))
  const name = sql`hashtextextended('latchkey.' || id, 0)`
  const lock = sql`CASE mode WHEN 'share' THEN pg_advisory_xact_lock_shared(${name})::text ELSE pg_advisory_xact_lock(${name})::text END`
  await tx
    .select({ locked: sql`count(${lock})` })
    .from(sql`unnest(${ids}::text[], ${modes}::text[]) AS queue (id, mode)`)
}

/** Whether a key has credits. Credits come and go under a lock on the key. */
export async function hasCredits(tx: Transaction, keyId: string): Promise<boolean> {
  const [row] = await tx
    .select({ keyId: apiKeyCredits.keyId })
    .from(apiKeyCredits)
    .where(eq(apiKeyCredits.keyId, keyId))
  return row !== undefined
}

/** Whether a service account's token was revoked by itself, which happens under a lock on its secret. */
export async function isTokenRevoked(tx: Transaction, tokenId: string): Promise<boolean> {
  const [row] = await tx
    .select({ id: revokedTokens.id })
    .from(revokedTokens)
    .where(eq(revokedTokens.id, tokenId))
  return row !== undefined
}
