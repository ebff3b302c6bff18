import { Value } from '@sinclair/typebox/value'
import type { OpenDatabase, Transaction } from '../../db/database.ts'
import { type EncryptionKeys, encryptRow } from './encrypted-columns.ts'
import { ExportFooter, ExportHeader, type RowCounts } from './model.ts'
import { deleteRows, hasRows, insertRows, lockTables } from './queries.ts'
import { requireOwnRelease } from './release.ts'
import { TABLES } from './tables.ts'

/**
 * Tables in which the first start of a server writes rows by itself. Their rows do not make a database count as used.
 */
const MADE_AT_START = ['signing_keys', 'audit_events', 'shared_settings', 'instances']
const BATCH_ROWS = 500
const BATCH_CHARACTERS = 1024 * 1024
const BROKEN = 'the file is damaged, or no export of Latchkey; nothing is imported'

/**
 * Imports an export into an empty database: all of it, or nothing.
 * @param lines as `exportRows` wrote them. The caller has authenticated them up to the last one.
 * @throws Error with one sentence where the database is not empty, or the export belongs to another release
 */
export async function importRows(
  database: OpenDatabase,
  keys: EncryptionKeys,
  lines: AsyncIterable<string>,
): Promise<RowCounts> {
  const migrations = await requireOwnRelease(database)
  const reading = lines[Symbol.asyncIterator]()
  const header = readJson((await reading.next()).value)
  if (!Value.Check(ExportHeader, header)) throw new Error(BROKEN)
  if (header.migrations !== migrations) {
    throw new Error(`the export is of Latchkey ${header.release}: import it with that release, then update`)
  }
  return database.db.transaction(async (tx) => {
    await requireEmpty(tx)
    const counts: RowCounts = Object.fromEntries(TABLES.map(({ name }) => [name, 0]))
    const footer = await insertLines(tx, keys, reading, counts)
    const parsed = readJson(footer)
    const isWhole = Value.Check(ExportFooter, parsed) && Bun.deepEquals(parsed.rows, counts)
    if (!isWhole) throw new Error(BROKEN)
    return counts
  })
}

async function requireEmpty(tx: Transaction): Promise<void> {
  await lockTables(
    tx,
    TABLES.map(({ name }) => name),
  )
  for (const { name } of TABLES) {
    if (MADE_AT_START.includes(name) || !(await hasRows(tx, name))) continue
    throw new Error(`the database is not empty: ${name} has rows. Import into a new database`)
  }
  // The database has no user and no service account, so these keys have signed no token that anybody holds.
  await deleteRows(tx, 'signing_keys')
  await deleteRows(tx, 'shared_settings')
  await deleteRows(tx, 'instances')
}

/** @returns the first line that is not a row */
async function insertLines(
  tx: Transaction,
  keys: EncryptionKeys,
  lines: AsyncIterator<string>,
  counts: RowCounts,
): Promise<string | undefined> {
  let table = TABLES[0]
  let batch: string[] = []
  let characters = 0
  const flush = async () => {
    if (!table || batch.length === 0) return
    await insertRows(tx, table, batch)
    counts[table.name] = (counts[table.name] ?? 0) + batch.length
    batch = []
    characters = 0
  }
  for (;;) {
    const { value: line, done } = await lines.next()
    if (done || line.startsWith('{')) {
      await flush()
      return done ? undefined : line
    }
    const name = line.slice(0, line.indexOf(' '))
    if (name !== table?.name || batch.length === BATCH_ROWS || characters > BATCH_CHARACTERS) await flush()
    table = TABLES.find((known) => known.name === name)
    if (!table) throw new Error(BROKEN)
    const row = encryptRow(keys, name, line.slice(name.length + 1))
    batch.push(row)
    characters += row.length
  }
}

function readJson(line: string | undefined): unknown {
  try {
    return JSON.parse(line ?? '')
  } catch {
    return null
  }
}
