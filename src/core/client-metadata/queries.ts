import { eq } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { oauthClients, usedAssertions } from '../../db/oauth.ts'

/** The row of an app. */
export type ClientRow = typeof oauthClients.$inferSelect

/** @param clientId as the app names itself: the URL of its document */
export async function findClientByName(
  db: Database | Transaction,
  clientId: string,
): Promise<ClientRow | null> {
  const [row] = await db.select().from(oauthClients).where(eq(oauthClients.clientId, clientId))
  return row ?? null
}

/** @returns null where another request made the row of this app */
export async function insertClient(
  tx: Transaction,
  row: typeof oauthClients.$inferInsert,
): Promise<ClientRow | null> {
  const [made] = await tx
    .insert(oauthClients)
    .values(row)
    .onConflictDoNothing({ target: oauthClients.clientId })
    .returning()
  return made ?? null
}

/** @returns null where the row is gone */
export async function updateClient(
  tx: Transaction,
  id: string,
  changes: Partial<typeof oauthClients.$inferInsert>,
): Promise<ClientRow | null> {
  const [row] = await tx.update(oauthClients).set(changes).where(eq(oauthClients.id, id)).returning()
  return row ?? null
}

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
