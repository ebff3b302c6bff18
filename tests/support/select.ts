import type { SQL } from 'drizzle-orm'
import type { Database } from '../../src/db/database.ts'

/** The rows of raw SQL. The two drivers wrap them differently. */
export async function selectRows<T extends Record<string, unknown>>(db: Database, query: SQL): Promise<T[]> {
  const result: unknown = await db.execute(query)
  if (Array.isArray(result)) return [...result]
  if (typeof result === 'object' && result !== null && 'rows' in result) return result.rows as T[]
  throw new Error('rows of an unknown driver')
}
