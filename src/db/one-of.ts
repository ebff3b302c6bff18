import { type SQL, sql } from 'drizzle-orm'
import type { AnyPgColumn } from 'drizzle-orm/pg-core'

/**
 * `column = ANY (ids)` with all ids in one parameter. A statement has at most 65,534 parameters, and
 * drizzle's `inArray` uses one for each id.
 */
export const isOneOf = (column: AnyPgColumn, ids: readonly string[]): SQL =>
  sql`${column} = ANY (${sql.param([...ids])}::${sql.raw(column.getSQLType())}[])`
