import { type SQL, sql } from 'drizzle-orm'
import type { AnyPgColumn } from 'drizzle-orm/pg-core'
import type { Page } from '../lib/page.ts'
import type { Search } from '../lib/search.ts'
import type { Database, Transaction } from './database.ts'

/** Rows that one branch of a search reads at most, whatever they are narrowed by afterwards. */
const MAX_CANDIDATES = 1000

/** What a search found; `isTruncated`: there may be more. */
type Found<Row> = { rows: Row[]; isTruncated: boolean }
/** A page of a list that can be searched. */
export type SearchPage<Row> = Page<Row> & Found<Row>

/**
 * The rows of a search, at most `limit`.
 * @param list reads so many of the rows with these ids, in the order of the list
 */
export async function findRows<Row>(
  { ids, isTruncated }: { ids: readonly string[]; isTruncated: boolean },
  limit: number,
  list: (ids: readonly string[], limit: number) => Promise<Row[]>,
): Promise<Found<Row>> {
  const rows = ids.length === 0 ? [] : await list(ids, limit + 1)
  return { rows: rows.slice(0, limit), isTruncated: isTruncated || rows.length > limit }
}

/** The letters that a search compares: `latchkey.search_text` of migration 0010. */
export const searchText = (value: SQL | AnyPgColumn): SQL => sql`latchkey.search_text(${value})`

/** Whether every word of the search begins a word of the value. As the index has the value. */
export const hasWords = (value: SQL | AnyPgColumn, { words }: Search): SQL =>
  words === null ? sql`false` : sql`latchkey.search_words(${value}) @@ to_tsquery('simple', ${words})`

/** Whether the value begins with the text. By an index with `text_pattern_ops`, also where the statement is prepared. */
export const beginsWith = (value: SQL | AnyPgColumn, text: string): SQL =>
  sql`(${value} ~>=~ ${text} AND ${value} ~<~ ${`${text}\u{10ffff}`})`

/**
 * The ids that the branches of a search find, each at most `max`. Without sequential scans: the planner would
 * choose one for a word that nearly every row has.
 * @param branches statements that select an `id`
 */
export function findCandidates(
  db: Database,
  branches: readonly SQL[],
  max: number = MAX_CANDIDATES,
): Promise<{ ids: string[]; isTruncated: boolean }> {
  return db.transaction(async (tx) => {
    await tx.execute(sql`SET LOCAL enable_seqscan = off`)
    const found = await Promise.all(branches.map((branch) => listIds(tx, branch, max + 1)))
    const ids = new Set(found.flatMap((each) => each.slice(0, max)))
    return { ids: [...ids], isTruncated: found.some((each) => each.length > max) }
  })
}

async function listIds(tx: Transaction, branch: SQL, limit: number): Promise<string[]> {
  const rows = await tx.select({ id: sql<string>`found.id` }).from(sql`(${branch} LIMIT ${limit}) AS found`)
  return rows.map(({ id }) => id)
}
