import { getTableConfig } from 'drizzle-orm/pg-core'
import { EVERY_TABLE } from '../../db/tables.ts'

/** A table of the schema: its name and its columns' names in the database. */
export type TableNames = { name: string; columns: string[] }

/**
 * Every table of the schema, after the tables to which it refers. In this order, rows can be inserted without breaking
 * a foreign key.
 */
export const TABLES: readonly TableNames[] = sortByReference(
  EVERY_TABLE.map((table) => getTableConfig(table)),
).map(({ name, columns }) => ({ name, columns: columns.map((column) => column.name) }))

type TableConfig = ReturnType<typeof getTableConfig>

function sortByReference(tables: readonly TableConfig[]): TableConfig[] {
  const sorted = new Set<TableConfig>()
  const visit = (table: TableConfig) => {
    for (const { reference } of table.foreignKeys) {
      const { name } = getTableConfig(reference().foreignTable)
      const target = tables.find((other) => other.name === name)
      if (target && target !== table && !sorted.has(target)) visit(target)
    }
    sorted.add(table)
  }
  for (const table of tables) visit(table)
  return [...sorted]
}
