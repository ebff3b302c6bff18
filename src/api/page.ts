import { Type } from '@sinclair/typebox'
import { t } from 'elysia'
import { failField } from '../lib/errors.ts'
import { MAX_PAGE, type Page } from '../lib/page.ts'

/**
 * The shape of a whole number in a query. Elysia's own type does not name the parameter in the 422 for a number that is out
 * of bounds; in the document both are the same.
 */
export function queryInteger(name: string, minimum: number, maximum: number, description?: string) {
  const bounds = { minimum, maximum, ...(description !== undefined && { description }) }
  return t
    .Transform(t.Union([t.String({ format: 'integer' }), Type.Integer(bounds)], bounds))
    .Decode((text) => {
      const number = Number(text)
      if (number >= minimum && number <= maximum) return number
      return failField(`?${name}`, `Must be an integer from ${minimum} to ${maximum}`)
    })
    .Encode((number) => number)
}

/** The parameters of every list that comes in pages. */
export const pageQuery = {
  limit: t.Optional(queryInteger('limit', 1, MAX_PAGE)),
  cursor: t.Optional(t.String({ maxLength: 256, description: '`next_cursor` of the page before' })),
}

/** The parameter of a list that can be searched. */
export const searchQuery = (finds: string) =>
  Type.Optional(
    Type.String({
      maxLength: 200,
      description: `${finds}. One page of at most ${MAX_PAGE}; \`X-Search-Truncated: true\` where there is more`,
    }),
  )

/** Says in a header whether a search found more than it answers. */
export function tellTruncated(set: { headers: Record<string, unknown> }, isTruncated: boolean): void {
  if (isTruncated) set.headers['x-search-truncated'] = 'true'
}

/** The query of a list that has no other parameters. */
export const PageQuery = Type.Object(pageQuery)

/** The answer with one page of a list; `pageOf` in lib/model.ts is its shape. */
export function presentPage<Row, Item>({ rows, nextCursor }: Page<Row>, present: (row: Row) => Item) {
  return { items: rows.map((row) => present(row)), next_cursor: nextCursor }
}
