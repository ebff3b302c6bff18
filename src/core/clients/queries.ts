import { eq } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { oauthClients } from '../../db/oauth.ts'

export type ClientRow = typeof oauthClients.$inferSelect

/** @param id the id of its row, which is a UUID */
export async function findClientById(db: Database | Transaction, id: string): Promise<ClientRow | null> {
  const [row] = await db.select().from(oauthClients).where(eq(oauthClients.id, id))
  return row ?? null
}
