import type { Database } from '../../db/database.ts'
import { usedAssertions } from '../../db/oauth.ts'

/** @returns false where the client used this assertion before */
export async function insertAssertion(
  db: Database,
  row: typeof usedAssertions.$inferInsert,
): Promise<boolean> {
  const made = await db
    .insert(usedAssertions)
    .values(row)
    .onConflictDoNothing()
    .returning({ id: usedAssertions.id })
  return made.length > 0
}
