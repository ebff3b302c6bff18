import { getTableConfig } from 'drizzle-orm/pg-core'
import postgres from 'postgres'
import { EVERY_TABLE } from '../../src/db/tables.ts'

export const TABLE_NAMES = EVERY_TABLE.map((table) => getTableConfig(table).name)

/**
 * The rows of every table as sorted JSON, without columns that another SECRET_KEY would encrypt differently, and without
 * the time at which a running server last wrote its row.
 */
export async function readEveryTable(url: string): Promise<Record<string, string[]>> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    const tables = TABLE_NAMES.map(async (name) => {
      const rows = await sql<{ line: string }[]>`
        SELECT (to_jsonb(t) - 'private_key' - 'seen_at' - ${name === 'totp_secrets' ? 'secret' : ''}::text)::text AS line FROM ${sql(`latchkey.${name}`)} t ORDER BY 1`
      return [name, rows.map(({ line }) => line)] as const
    })
    return Object.fromEntries(await Promise.all(tables))
  } finally {
    await sql.end()
  }
}
