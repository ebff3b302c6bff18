import type { Database } from '../../db/database.ts'
import { PUBLISHED } from '../../db/published.ts'
import { surveyCopy } from './queries.ts'

/** An older subscriber ignores column lists when it first copies a table. */
const OLDEST_VERSION = 15

/**
 * Checks that a database can serve a verifier: that it copies every table of home, has every column that is published, and
 * that the role of the verifier cannot write to the copy.
 * @throws Error with one sentence for the person at the terminal
 */
export async function requireCopy(db: Database): Promise<void> {
  const { version, subscribed, writable, readable } = await surveyCopy(db)
  const major = Math.floor(version / 10_000)
  if (major < OLDEST_VERSION)
    throw new Error(
      `the server of the region is PostgreSQL ${major}; a region needs ${OLDEST_VERSION} or later`,
    )
  const missing = PUBLISHED.filter(({ name }) => !subscribed.includes(name)).map(({ name }) => name)
  if (missing.length > 0)
    throw new Error(
      `the database does not subscribe to ${missing.join(', ')} of home: "latchkey region subscription" prints the SQL`,
    )
  const columns = PUBLISHED.flatMap(({ name, columns }) => columns.map((column) => `${name}.${column}`))
  const lacking = columns.filter((column) => !readable.includes(column))
  if (lacking.length > 0)
    throw new Error(
      `the role of the verifier cannot read ${lacking.join(', ')}: run "latchkey migrate --region", and the SQL of "latchkey region subscription" again`,
    )
  if (writable.length > 0)
    throw new Error(
      `the role of the verifier may write to ${writable.join(', ')}: give it SELECT alone, as "latchkey region subscription" does`,
    )
}
