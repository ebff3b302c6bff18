import { is } from 'drizzle-orm'
import { getTableConfig, PgTable } from 'drizzle-orm/pg-core'
import postgres from 'postgres'
import * as authorization from '../../src/db/authorization.ts'
import * as console from '../../src/db/console.ts'
import * as oauth from '../../src/db/oauth.ts'
import * as people from '../../src/db/people.ts'
import * as portal from '../../src/db/portal.ts'
import * as regions from '../../src/db/regions.ts'
import * as schema from '../../src/db/schema.ts'

/** Every table of the schema. A new table is included automatically. */
export const TABLE_NAMES = Object.values({
  ...schema,
  ...people,
  ...console,
  ...portal,
  ...oauth,
  ...authorization,
  ...regions,
})
  .filter((member) => is(member, PgTable))
  .map((table) => getTableConfig(table).name)

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
