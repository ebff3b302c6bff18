import type { OpenDatabase } from '../../db/database.ts'
import { decryptRow, type EncryptionKeys } from './encrypted-columns.ts'
import { type ExportHeader, FORMAT, type RowCounts } from './model.ts'
import { listRowPages } from './queries.ts'
import { requireOwnRelease } from './release.ts'
import { TABLES } from './tables.ts'

/** Rows per page. This many rows of the largest table are a few megabytes of memory. */
const PAGE_ROWS = 200

/**
 * Writes all rows of the database, as of one moment, as lines of text. Private signing keys are decrypted in the text,
 * so that an import can encrypt them with another SECRET_KEY. The caller must encrypt the text.
 * @param write resolves when the next text may be written
 * @throws Error with one sentence where the database belongs to another release, or SECRET_KEY does not decrypt its
 * signing keys
 */
export async function exportRows(
  database: OpenDatabase,
  keys: EncryptionKeys,
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
      await write(page.map(({ table, row }) => `${table} ${decryptRow(keys, table, row)}\n`).join(''))
    }
  })
  await write(`${JSON.stringify({ rows })}\n`)
  return rows
}
