import { and, count, desc, eq, lt, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { accountsManagedBy, accountsOfUsersAlone, countsForUser, isWithinKey } from '../../db/managers.ts'
import { isOneOf } from '../../db/one-of.ts'
import { accountManagers, serviceAccounts } from '../../db/schema.ts'
import { beginsWith, findCandidates, hasWords, searchText } from '../../db/search.ts'
import type { Search } from '../../lib/search.ts'
import type { Owner } from '../owners.ts'

export type ServiceAccountRow = typeof serviceAccounts.$inferSelect
export type ManagerRow = typeof accountManagers.$inferSelect
/** An account with its managers, in the order in which they were added. */
export type WholeAccount = ServiceAccountRow & { managers: readonly Owner[] }

export function managerOf({
  userId,
  managerAccountId,
}: Pick<ManagerRow, 'userId' | 'managerAccountId'>): Owner {
  if (userId !== null) return { type: 'user', id: userId }
  if (managerAccountId !== null) return { type: 'service_account', id: managerAccountId }
  throw new Error('A row without a manager')
}

export async function insertServiceAccount(
  tx: Transaction,
  account: typeof serviceAccounts.$inferInsert,
): Promise<ServiceAccountRow> {
  const [row] = await tx.insert(serviceAccounts).values(account).returning()
  if (!row) throw new Error('An insert returned no row')
  return row
}

export async function findServiceAccount(
  db: Database | Transaction,
  id: string,
): Promise<WholeAccount | null> {
  const [account] = await whole(db, await db.select().from(serviceAccounts).where(eq(serviceAccounts.id, id)))
  return account ?? null
}

async function whole(
  db: Database | Transaction,
  accounts: readonly ServiceAccountRow[],
): Promise<WholeAccount[]> {
  if (accounts.length === 0) return []
  const ids = accounts.map(({ id }) => id)
  const rows = await db
    .select()
    .from(accountManagers)
    .where(isOneOf(accountManagers.serviceAccountId, ids))
    .orderBy(accountManagers.createdAt, accountManagers.id)
  const byAccount = Map.groupBy(rows, (row) => row.serviceAccountId)
  return accounts.map((account) => ({
    ...account,
    managers: (byAccount.get(account.id) ?? []).map(managerOf),
  }))
}

/** The columns of a row that names a manager. */
export const managerColumns = ({ type, id }: Owner) =>
  type === 'user' ? { userId: id } : { managerAccountId: id }

export async function insertManager(
  tx: Transaction,
  manager: typeof accountManagers.$inferInsert,
): Promise<void> {
  await tx.insert(accountManagers).values(manager)
}

export async function deleteManager(tx: Transaction, accountId: string, { type, id }: Owner): Promise<void> {
  const column = type === 'user' ? accountManagers.userId : accountManagers.managerAccountId
  await tx.delete(accountManagers).where(and(eq(accountManagers.serviceAccountId, accountId), eq(column, id)))
}

export async function findAccountByExternalId(
  db: Database,
  externalId: string,
): Promise<WholeAccount | null> {
  const rows = await db.select().from(serviceAccounts).where(eq(serviceAccounts.externalId, externalId))
  const [account] = await whole(db, rows)
  return account ?? null
}

/** The number of service accounts that a user made in a session of their own, and that still count for the user. */
export async function countAccountsOf(tx: Transaction, userId: string): Promise<number> {
  const [row] = await tx.select({ accounts: count() }).from(serviceAccounts).where(countsForUser(userId))
  return row?.accounts ?? 0
}

export type AccountFilter = {
  /** Those that a search found; null: all. */
  ids: readonly string[] | null
  externalId: string | null
  /** null: anybody's. */
  manager: Owner | null
  /** A key's scopes: only accounts that hold no scope of Latchkey's own API beside these; null: all. */
  within: readonly string[] | null
  limit: number
  after: string | null
}

/** Service accounts, newest first, after the account `after`. */
export async function listServiceAccounts(
  db: Database,
  { ids, externalId, manager, within, limit, after }: AccountFilter,
): Promise<WholeAccount[]> {
  const rows = await db
    .select()
    .from(serviceAccounts)
    .where(
      and(
        ids === null ? undefined : isOneOf(serviceAccounts.id, ids),
        externalId === null ? undefined : eq(serviceAccounts.externalId, externalId),
        manager === null ? undefined : sql`${serviceAccounts.id} IN ${accountsManagedBy(manager)}`,
        within === null ? undefined : isWithinKey(within),
        after === null ? undefined : lt(serviceAccounts.id, after),
      ),
    )
    .orderBy(desc(serviceAccounts.id))
    .limit(limit)
  return whole(db, rows)
}

/**
 * The accounts that a search finds: by the beginning of their name, or of words in the name or the external id.
 * `manager: null` is anybody's.
 */
export function searchServiceAccounts(db: Database, search: Search, manager: Owner | null) {
  const { id, name, externalId } = serviceAccounts
  const [begins, words, customer] = [
    beginsWith(searchText(name), search.text),
    hasWords(name, search),
    hasWords(sql`COALESCE(${externalId}, '')`, search),
  ]
  const isFound =
    manager === null
      ? [begins, words, customer]
      : [sql`${id} IN ${accountsManagedBy(manager)} AND (${begins} OR ${words} OR ${customer})`]
  return findCandidates(
    db,
    isFound.map((each) => sql`SELECT id FROM ${serviceAccounts} WHERE ${each}`),
  )
}

export type ServiceAccountChange = Partial<
  Pick<
    ServiceAccountRow,
    | 'name'
    | 'description'
    | 'scopes'
    | 'isActive'
    | 'externalId'
    | 'lockedSettings'
    | 'rateLimit'
    | 'rateWindowSeconds'
  >
>

export async function updateServiceAccount(
  tx: Transaction,
  id: string,
  change: ServiceAccountChange,
): Promise<void> {
  await tx.update(serviceAccounts).set(change).where(eq(serviceAccounts.id, id))
}

/** Disables accounts by one statement, and stores for each the settings that are locked from now on. */
export async function updateDisabled(
  tx: Transaction,
  accounts: readonly Pick<ServiceAccountRow, 'id' | 'lockedSettings'>[],
): Promise<void> {
  const rows = JSON.stringify(accounts.map(({ id, lockedSettings }) => ({ id, locked: lockedSettings })))
  await tx
    .update(serviceAccounts)
    .set({ isActive: false, lockedSettings: sql`disabled.locked` })
    .from(sql`jsonb_to_recordset(${rows}::jsonb) AS disabled (id uuid, locked jsonb)`)
    .where(sql`${serviceAccounts.id} = disabled.id`)
}

/** Deletes an account. The database deletes its keys with it. */
export async function deleteServiceAccount(tx: Transaction, id: string): Promise<void> {
  await tx.delete(serviceAccounts).where(eq(serviceAccounts.id, id))
}

/** The ids of the accounts of which a user is the only active manager. */
export async function listManagedAloneIds(tx: Transaction, userId: string): Promise<string[]> {
  const rows = await tx
    .select({ id: serviceAccounts.id })
    .from(serviceAccounts)
    .where(sql`${serviceAccounts.id} IN ${accountsOfUsersAlone([userId])}`)
  return rows.map(({ id }) => id)
}
