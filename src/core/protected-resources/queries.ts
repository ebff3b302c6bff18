import { eq, or } from 'drizzle-orm'
import type { Database } from '../../db/database.ts'
import { resources } from '../../db/oauth.ts'

const shown = {
  id: resources.id,
  identifier: resources.identifier,
  slug: resources.slug,
  name: resources.name,
  isActive: resources.isActive,
  scopes: resources.scopes,
}

/** A registered resource, enabled or not, by its slug or its identifier; a slug has no colon, and an identifier has one. */
export async function findResource(db: Database, name: string) {
  const [row] = await db
    .select(shown)
    .from(resources)
    .where(or(eq(resources.slug, name), eq(resources.identifier, name)))
    .limit(1)
  return row ?? null
}
