import { makeCursor, readCursor } from './cursor.ts'

/** The most that a page of a list holds, and what it holds unless fewer are asked for. */
export const MAX_PAGE = 100
/** The same for the keys of one owner. */
export const MAX_OWNER_PAGE = 1000

/** Which page of a list is asked for. */
export type PageQuery = { limit?: number | undefined; cursor?: string | undefined }

/** Which rows of a list are read: at most `limit`, those after the row `after`, which was made at `afterAt`. */
export type PageRows = { limit: number; after: string | null; afterAt: Date | null }

/** A page of a list, and the cursor of the next one; null: there is none. */
export type Page<Row> = { rows: Row[]; nextCursor: string | null }

/**
 * Reads a page of a list.
 * @param keys that cursors are signed with
 * @param list names the list: a cursor is good for that one alone
 * @param find gives the rows in the list's order
 * @throws Problem validation_failed for a cursor that was altered, or that belongs to another list
 */
export async function readPage<Row extends { id: string } & ({ createdAt: Date } | { at: Date })>(
  keys: readonly Uint8Array[],
  list: string,
  { limit = MAX_PAGE, cursor }: PageQuery,
  find: (rows: PageRows) => Promise<readonly Row[]>,
): Promise<Page<Row>> {
  const after = cursor === undefined ? null : readCursor(keys, list, cursor)
  // One more than is answered: whether there is a next page.
  const found = await find({ limit: limit + 1, after: after?.id ?? null, afterAt: after?.at ?? null })
  const rows = found.slice(0, limit)
  const last = found.length > limit ? rows.at(-1) : undefined
  if (!last) return { rows, nextCursor: null }
  const at = 'at' in last ? last.at : last.createdAt
  return { rows, nextCursor: makeCursor(keys, list, { id: last.id, at }) }
}
