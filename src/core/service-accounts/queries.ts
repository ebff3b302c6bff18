import { and, arrayContained, count, desc, eq, lt, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { isOneOf } from '../../db/one-of.ts'
import { serviceAccounts } from '../../db/schema.ts'
import { beginsWith, findCandidates, hasWords, searchText } from '../../db/search.ts'
import type { Search } from '../../lib/search.ts'

export type ServiceAccountRow = typeof serviceAccounts.$inferSelect

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
): Promise<ServiceAccountRow | null> {
  const [row] = await db.select().from(serviceAccounts).where(eq(serviceAccounts.id, id))
  return row ?? null
}

/** How many accounts count for a user. */
export async function countAccountsOf(tx: Transaction, userId: string): Promise<number> {
  const [row] = await tx
    .select({ accounts: count() })
    .from(serviceAccounts)
    .where(eq(serviceAccounts.countsFor, userId))
  return row?.accounts ?? 0
}

export type AccountFilter = {
  /** Those that a search found; null: all. */
  ids: readonly string[] | null
  /** null: anybody's. */
  maker: string | null
  /** Those that hold no other scopes; null: whatever they hold. */
  within: readonly string[] | null
  limit: number
  after: string | null
}

/** Newest first, after the account `after`. */
export function listServiceAccounts(
  db: Database,
  { ids, maker, within, limit, after }: AccountFilter,
): Promise<ServiceAccountRow[]> {
  return db
    .select()
    .from(serviceAccounts)
    .where(
      and(
        ids === null ? undefined : isOneOf(serviceAccounts.id, ids),
        maker === null ? undefined : eq(serviceAccounts.createdBy, maker),
        within === null ? undefined : arrayContained(serviceAccounts.scopes, [...within]),
        after === null ? undefined : lt(serviceAccounts.id, after),
      ),
    )
    .orderBy(desc(serviceAccounts.id))
    .limit(limit)
}

/** The accounts that a search finds: by the beginning of their name, or of words in it. `maker: null` is anybody's. */
export function searchServiceAccounts(db: Database, search: Search, maker: string | null) {
  const { name } = serviceAccounts
  const [begins, words] = [beginsWith(searchText(name), search.text), hasWords(name, search)]
  const isFound = maker === null ? [begins, words] : [sql`created_by = ${maker} AND (${begins} OR ${words})`]
  return findCandidates(
    db,
    isFound.map((each) => sql`SELECT id FROM ${serviceAccounts} WHERE ${each}`),
  )
}

export type ServiceAccountChange = Partial<
  Pick<ServiceAccountRow, 'name' | 'description' | 'scopes' | 'isActive' | 'lockedSettings'>
>

export async function updateServiceAccount(
  tx: Transaction,
  id: string,
  change: ServiceAccountChange,
): Promise<void> {
  await tx.update(serviceAccounts).set(change).where(eq(serviceAccounts.id, id))
}

/** Switches accounts off in one statement, each with what is locked afterwards. */
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

export async function deleteServiceAccount(tx: Transaction, id: string): Promise<void> {
  await tx.delete(serviceAccounts).where(eq(serviceAccounts.id, id))
}
