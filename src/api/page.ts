import { t } from 'elysia'
import { MAX_PAGE, type Page } from '../lib/page.ts'

/** The query of every list that comes in pages. */
export const pageQuery = {
  // Elysia's own type: it reads the number from the query's text.
  limit: t.Optional(t.Integer({ minimum: 1, maximum: MAX_PAGE })),
  cursor: t.Optional(t.String({ maxLength: 256, description: '`next_cursor` of the page before' })),
}

/** A page as it is answered (`pageOf` in lib/model.ts is its shape). */
export function presentPage<Row, Item>({ rows, nextCursor }: Page<Row>, present: (row: Row) => Item) {
  return { items: rows.map((row) => present(row)), next_cursor: nextCursor }
}
