import { asc, gt, sql } from 'drizzle-orm'
import type { Database } from '../../db/database.ts'
import { users } from '../../db/schema.ts'
import { KIND_PATTERN } from './kinds.ts'

/**
 * The kinds of hashes among one page of users, in the order of their ids, and the id after which the next page begins.
 */
export async function listKinds(
  db: Database,
  { after, limit }: { after: string | null; limit: number },
): Promise<{ kinds: string[]; last: string | null }> {
  const page = db.$with('page').as(
    db
      .select({ id: users.id, hash: users.passwordHash })
      .from(users)
      .where(after === null ? undefined : gt(users.id, after))
      .orderBy(asc(users.id))
      .limit(limit),
  )
  const kind = sql<string | null>`substring(${page.hash} from ${KIND_PATTERN}::text)`
  const [row] = await db
    .with(page)
    .select({
      kinds: sql<string[] | null>`array_agg(DISTINCT ${kind}) FILTER (WHERE ${kind} IS NOT NULL)`,
      // NULL where the page is not full, because then it is the last page.
      last: sql<string | null>`(array_agg(${page.id} ORDER BY ${page.id}))[${limit}::int]`,
    })
    .from(page)
  return { kinds: row?.kinds ?? [], last: row?.last ?? null }
}
