import { t } from 'elysia'

/** The most that a page of a list holds, and what it holds where nobody asks for less. */
export const MAX_PAGE = 100

/** The query of every list that comes in pages. */
export const pageQuery = {
  // Elysia's own type: it reads the number from the query's text.
  limit: t.Optional(t.Integer({ minimum: 1, maximum: MAX_PAGE })),
  cursor: t.Optional(t.String({ maxLength: 256, description: '`next_cursor` of the page before' })),
}
