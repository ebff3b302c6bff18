import { makeCursor, readCursor } from './cursor.ts'

/** The maximum number of rows on a page of a list, and the default. */
export const MAX_PAGE = 100
/** The same for the keys of one owner. */
export const MAX_OWNER_PAGE = 1000

/** The page that a request asks for. */
export type PageQuery = { limit?: number | undefined; cursor?: string | undefined }

/** The rows to read: at most `limit`, after the row `after`, whose time was `afterAt`. */
export type PageRows = { limit: number; after: string | null; afterAt: Date | null }

/** A page of a list and the cursor of the next page; `nextCursor` is null on the last page. */
export type Page<Row> = { rows: Row[]; nextCursor: string | null }

/**
 * Reads one page of a list.
 * @param keys the signing keys of cursors
 * @param list the name of the list: a cursor is valid for this list alone
 * @param find returns the rows in the order of the list
 * @param timeOf the time of a row in a list that is not in the order of creation
 * @throws Problem validation_failed for a cursor that was changed, or that belongs to another list
 */
export async function readPage<Row extends { id: string } & ({ createdAt: Date } | { at: Date })>(
  keys: readonly Uint8Array[],
  list: string,
  { limit = MAX_PAGE, cursor }: PageQuery,
  find: (rows: PageRows) => Promise<readonly Row[]>,
  timeOf: (row: Row) => Date = (row) => ('at' in row ? row.at : row.createdAt),
): Promise<Page<Row>> {
  const after = cursor === undefined ? null : readCursor(keys, list, cursor)
  // One row more than the answer holds shows whether there is a next page.
  const found = await find({ limit: limit + 1, after: after?.id ?? null, afterAt: after?.at ?? null })
  const rows = found.slice(0, limit)
  const last = found.length > limit ? rows.at(-1) : undefined
  if (!last) return { rows, nextCursor: null }
  return { rows, nextCursor: makeCursor(keys, list, { id: last.id, at: timeOf(last) }) }
}
