import type { OpenDatabase } from '../../db/database.ts'
import { type ExportHeader, FORMAT, type RowCounts } from './model.ts'
import { listRowPages } from './queries.ts'
import { requireOwnRelease } from './release.ts'
import { openRow, type SealingKeys } from './sealed.ts'
import { TABLES } from './tables.ts'

/** So many rows of the largest kind are a few megabytes. */
const PAGE_ROWS = 200

/**
 * Writes all that the database holds, as of one moment, as lines of text. Private signing keys stand in it as they are, so
 * that another SECRET_KEY can encrypt them: the caller encrypts the whole.
 * @param write resolves when more may come
 * @throws Error with one sentence where the database is of another release, or SECRET_KEY does not open its keys
 */
export async function exportRows(
  database: OpenDatabase,
  keys: SealingKeys,
  release: string,
  write: (text: string) => Promise<void>,
): Promise<RowCounts> {
  const migrations = await requireOwnRelease(database)
  const header: ExportHeader = { format: FORMAT, release, migrations, made_at: new Date().toISOString() }
  await write(`${JSON.stringify(header)}\n`)
  const rows: RowCounts = Object.fromEntries(TABLES.map(({ name }) => [name, 0]))
  await database.db.transaction(async (tx) => {
    for await (const page of listRowPages(tx, TABLES, PAGE_ROWS)) {
      for (const { table } of page) rows[table] = (rows[table] ?? 0) + 1
      await write(page.map(({ table, row }) => `${table} ${openRow(keys, table, row)}\n`).join(''))
    }
  })
  await write(`${JSON.stringify({ rows })}\n`)
  return rows
}
