import { type SQL, sql } from 'drizzle-orm'
import type { Transaction } from '../../db/database.ts'
import type { TableNames } from './tables.ts'

const CURSOR = sql.identifier('exported')
const tableOf = (name: string) => sql`${sql.identifier('latchkey')}.${sql.identifier(name)}`
const listOf = (names: readonly string[]) =>
  sql.join(
    names.map((name) => sql.identifier(name)),
    sql`, `,
  )

/**
 * A row as JSON text. The text goes unparsed from one database to the other, because parsing in JavaScript would round
 * large numbers.
 */
export type RowLine = { table: string; row: string }

/**
 * The rows of all tables, one table after the other, in pages of `pageRows`. One statement reads all of them, so they
 * are of one moment, whatever isolation a pooler has given the transaction.
 */
export async function* listRowPages(
  tx: Transaction,
  tables: readonly TableNames[],
  pageRows: number,
): AsyncGenerator<RowLine[]> {
  const all = tables.map(
    ({ name, columns }) =>
      sql`SELECT ${sql.raw(`'${name}'`)} AS "table", row_to_json(r)::text AS row FROM (SELECT ${listOf(columns)} FROM ${tableOf(name)}) r`,
  )
  await tx.execute(sql`DECLARE ${CURSOR} NO SCROLL CURSOR FOR ${sql.join(all, sql` UNION ALL `)}`)
  for (;;) {
    const page = await rowsOf<RowLine>(tx, sql`FETCH ${sql.raw(String(pageRows))} FROM ${CURSOR}`)
    if (page.length === 0) break
    yield page
  }
  await tx.execute(sql`CLOSE ${CURSOR}`)
}

/** Keeps other transactions from writing to the tables until this one ends. */
export async function lockTables(tx: Transaction, names: readonly string[]): Promise<void> {
  const tables = sql.join(names.map(tableOf), sql`, `)
  await tx.execute(sql`LOCK TABLE ${tables} IN SHARE ROW EXCLUSIVE MODE`)
}

export async function hasRows(tx: Transaction, name: string): Promise<boolean> {
  const rows = await tx.select({ one: sql`1` }).from(tableOf(name)).limit(1)
  return rows.length > 0
}

/** Deletes all rows of a table. */
export async function deleteRows(tx: Transaction, name: string): Promise<void> {
  await tx.execute(sql`DELETE FROM ${tableOf(name)}`)
}

/** @param rows JSON objects, by the names of the columns */
export async function insertRows(tx: Transaction, table: TableNames, rows: readonly string[]): Promise<void> {
  const columns = listOf(table.columns)
  // The parameter is cast from text, so that neither driver encodes the JSON a second time.
  await tx.execute(sql`INSERT INTO ${tableOf(table.name)} (${columns})
    SELECT ${columns} FROM json_populate_recordset(NULL::${tableOf(table.name)}, ${`[${rows.join(',')}]`}::text::json)`)
}

/** The rows of a result. The PostgreSQL driver returns an array, the embedded database an object with `rows`. */
async function rowsOf<Row>(tx: Transaction, query: SQL): Promise<Row[]> {
  const result = (await tx.execute(query)) as unknown as Row[] | { rows: Row[] }
  return Array.isArray(result) ? result : result.rows
}
