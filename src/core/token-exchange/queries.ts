import { and, eq } from 'drizzle-orm'
import type { Database } from '../../db/database.ts'
import { resources } from '../../db/oauth.ts'

/** The resource with this identifier, unless it is disabled. */
export async function findActiveResource(db: Database, identifier: string) {
  const [row] = await db
    .select({
      identifier: resources.identifier,
      scopes: resources.scopes,
      tokenLifetimeSeconds: resources.tokenLifetimeSeconds,
    })
    .from(resources)
    .where(and(eq(resources.identifier, identifier), eq(resources.isActive, true)))
  return row ?? null
}
