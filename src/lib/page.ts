import { makeCursor, readCursor } from './cursor.ts'

/** The most that a page of a list holds, and what it holds unless fewer are asked for. */
export const MAX_PAGE = 100

/** Which page of a list is asked for. */
export type PageQuery = { limit?: number | undefined; cursor?: string | undefined }

/** A page of a list, and the cursor of the next one; null: there is none. */
export type Page<Row> = { rows: Row[]; nextCursor: string | null }

/**
 * Reads a page of a list.
 * @param keys that cursors are signed with
 * @param list names the list: a cursor is good for that one alone
 * @param find gives at most `limit` rows, in the list's order, those after the row `after`
 * @throws Problem validation_failed for a cursor that was altered, or that belongs to another list
 */
export async function readPage<Row extends { id: string }>(
  keys: readonly Uint8Array[],
  list: string,
  { limit = MAX_PAGE, cursor }: PageQuery,
  find: (rows: { limit: number; after: string | null }) => Promise<readonly Row[]>,
): Promise<Page<Row>> {
  const after = cursor === undefined ? null : readCursor(keys, list, cursor)
  // One more than is answered: whether there is a next page.
  const found = await find({ limit: limit + 1, after })
  const rows = found.slice(0, limit)
  const last = rows.at(-1)
  return { rows, nextCursor: found.length > limit && last ? makeCursor(keys, list, last.id) : null }
}
