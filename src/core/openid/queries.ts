import { eq } from 'drizzle-orm'
import type { Database } from '../../db/database.ts'
import { oauthClients } from '../../db/oauth.ts'

/** Where an app may send people after they signed out; nothing for an app that is unknown or disabled. */
export async function findPostLogoutRedirectUris(db: Database, clientId: string): Promise<readonly string[]> {
  const { postLogoutRedirectUris: uris, isActive } = oauthClients
  const [client] = await db
    .select({ uris, isActive })
    .from(oauthClients)
    .where(eq(oauthClients.clientId, clientId))
  return client?.isActive ? client.uris : []
}
