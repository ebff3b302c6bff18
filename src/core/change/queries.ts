import { and, asc, count, eq, isNull, type SQL, sql } from 'drizzle-orm'
import type { Transaction } from '../../db/database.ts'
import { accountsOfUsers, accountsOfUsersAlone } from '../../db/managers.ts'
import { oauthClients, oauthGrants, resources } from '../../db/oauth.ts'
import { isOneOf } from '../../db/one-of.ts'
import { portalSessions } from '../../db/portal.ts'
import {
  accountManagers,
  apiKeySecrets,
  apiKeys,
  revokedTokens,
  serviceAccounts,
  sessions,
  signingKeys,
  users,
} from '../../db/schema.ts'

/** The tables whose rows a change can lock. */
const TABLES = {
  users,
  serviceAccounts,
  clients: oauthClients,
  resources,
  oauthGrants,
  sessions,
  keys: apiKeys,
  secrets: apiKeySecrets,
  signingKeys,
  portalSessions,
  managers: accountManagers,
}

/** The rows that a change has locked, as they are now, by table and id. A row that does not exist is missing. */
export type HeldRows = { [T in keyof typeof TABLES]: Map<string, (typeof TABLES)[T]['$inferSelect']> }

type Lockable = {
  table: keyof HeldRows
  /** The rows that the ids select. */
  where(ids: string[]): SQL | undefined
  /** false: the rows are locked and not read, because there may be a hundred thousand of them. */
  reads: boolean
}

/**
 * Everything that can be locked, in the order in which every change locks it (docs/decisions/0026). In one common
 * order, two changes can wait for each other only one way; in different orders, each could wait for the other: a
 * deadlock. Of a user's sessions and keys only the live ones are locked, because the others never change again.
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
    where: (ids) => sql`${serviceAccounts.id} IN ${accountsOfUsers(ids)}`,
    reads: true,
  },
  clients: { table: 'clients', where: (ids) => isOneOf(oauthClients.id, ids), reads: true },
  resources: { table: 'resources', where: (ids) => isOneOf(resources.id, ids), reads: true },
  oauthGrants: { table: 'oauthGrants', where: (ids) => isOneOf(oauthGrants.id, ids), reads: true },
  grantsOfUser: { table: 'oauthGrants', where: (ids) => isOneOf(oauthGrants.userId, ids), reads: true },
  sessions: { table: 'sessions', where: (ids) => isOneOf(sessions.id, ids), reads: true },
  sessionsOfUser: {
    table: 'sessions',
    where: (ids) => and(isOneOf(sessions.userId, ids), isNull(sessions.endedAt)),
    reads: false,
  },
  sessionsOfGrant: {
    table: 'sessions',
    where: (ids) => and(isOneOf(sessions.grantId, ids), isNull(sessions.endedAt)),
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
    where: (ids) =>
      and(sql`${apiKeys.serviceAccountId} IN ${accountsOfUsersAlone(ids)}`, isNull(apiKeys.revokedAt)),
    reads: false,
  },
  keysOfAccount: {
    table: 'keys',
    where: (ids) => and(isOneOf(apiKeys.serviceAccountId, ids), isNull(apiKeys.revokedAt)),
    reads: false,
  },
  // A change of a key's rate is copied to the keys that share it.
  keysOfRoot: { table: 'keys', where: (ids) => isOneOf(apiKeys.rateRoot, ids), reads: false },
  secrets: { table: 'secrets', where: (ids) => isOneOf(apiKeySecrets.id, ids), reads: true },
  // Secrets that ended never work again: nothing changes them.
  secretsOfKey: {
    table: 'secrets',
    where: (ids) => and(isOneOf(apiKeySecrets.keyId, ids), isNull(apiKeySecrets.endedAt)),
    reads: true,
  },
  signingKeys: { table: 'signingKeys', where: (ids) => isOneOf(signingKeys.id, ids), reads: true },
  managersOfAccount: {
    table: 'managers',
    where: (ids) => isOneOf(accountManagers.serviceAccountId, ids),
    reads: true,
  },
  portalSessions: { table: 'portalSessions', where: (ids) => isOneOf(portalSessions.id, ids), reads: true },
  portalSessionsOfAccount: {
    table: 'portalSessions',
    where: (ids) => and(isOneOf(portalSessions.serviceAccountId, ids), isNull(portalSessions.endedAt)),
    reads: false,
  },
} as const satisfies Record<string, Lockable>

/**
 * FOR SHARE for a row that is only read, FOR NO KEY UPDATE for one that will be updated, FOR UPDATE for one that will
 * be deleted. FOR KEY SHARE is not used: it does not conflict with an update, so a revocation would not wait for it.
 */
export type LockMode = 'share' | 'no key update' | 'update'

/** Rows that one statement locks. */
export type LockStep = { what: keyof typeof LOCKABLE; ids: string[]; mode: LockMode }

/**
 * Locks rows, in the order of their ids.
 * @returns the rows as they are under the lock; an empty list where there may be too many to read
 */
export async function lockRows(tx: Transaction, { what, ids, mode }: LockStep): Promise<{ id: string }[]> {
  const { table, where, reads }: Lockable = LOCKABLE[what]
  // The row types differ. Only `id` is used here, which each of these tables has.
  const rows = TABLES[table] as typeof users
  if (reads) return tx.select().from(rows).where(where(ids)).orderBy(asc(rows.id)).for(mode)
  const locked = tx
    .$with('locked')
    .as(tx.select({ id: rows.id }).from(rows).where(where(ids)).orderBy(asc(rows.id)).for(mode))
  await tx.with(locked).select({ rows: count() }).from(locked)
  return []
}

/**
 * Takes a lock that belongs to no row, until the transaction ends. These locks come before those of rows. The query is
 * made by the query builder: one made by `execute` would be sent after queries that were started later.
 */
export async function takeAdvisoryLock(tx: Transaction, name: string): Promise<void> {
  const lock = sql`pg_advisory_xact_lock(hashtextextended(${`latchkey.${name}`}, 0))`
  await tx.select({ lock }).from(sql`(SELECT 1) AS one`)
}

/**
 * Waits in the queue of each owner, an advisory lock that changes with FOR SHARE on the owner's row share. PostgreSQL
 * grants FOR SHARE before an update that already waits for the row. So without the queue, an endless stream of requests
 * by a caller could delay that caller's revocation for ever. An advisory lock is granted in the order of the requests
 * (docs/decisions/0026).
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

/** Whether a single access token of a service account was revoked, which happens only under a lock on its secret. */
export async function isTokenRevoked(tx: Transaction, tokenId: string): Promise<boolean> {
  const [row] = await tx
    .select({ id: revokedTokens.id })
    .from(revokedTokens)
    .where(eq(revokedTokens.id, tokenId))
  return row !== undefined
}
