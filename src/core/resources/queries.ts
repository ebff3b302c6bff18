import { and, count, desc, eq, isNull, lt, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { oauthGrants, resources } from '../../db/oauth.ts'
import { isOneOf } from '../../db/one-of.ts'
import { sessions } from '../../db/schema.ts'

export type ResourceRow = typeof resources.$inferSelect

export async function insertResource(
  tx: Transaction,
  resource: typeof resources.$inferInsert,
): Promise<ResourceRow> {
  const [row] = await tx.insert(resources).values(resource).returning()
  if (!row) throw new Error('An insert returned no row')
  return row
}

/** @param id the id of its row, which is a UUID */
export async function findResourceById(db: Database | Transaction, id: string): Promise<ResourceRow | null> {
  const [row] = await db.select().from(resources).where(eq(resources.id, id))
  return row ?? null
}

export async function findResourceBySlug(db: Database, slug: string): Promise<ResourceRow | null> {
  const [row] = await db.select().from(resources).where(eq(resources.slug, slug))
  return row ?? null
}

/** Resources, newest first, after the resource `after`. */
export function listResourceRows(
  db: Database,
  { limit, after }: { limit: number; after: string | null },
): Promise<ResourceRow[]> {
  return db
    .select()
    .from(resources)
    .where(after === null ? undefined : lt(resources.id, after))
    .orderBy(desc(resources.id))
    .limit(limit)
}

/** Those of some identifiers that a resource has. */
export async function findIdentifiers(db: Database, identifiers: readonly string[]): Promise<string[]> {
  const rows = await db
    .select({ identifier: resources.identifier })
    .from(resources)
    .where(isOneOf(resources.identifier, identifiers))
    .limit(identifiers.length)
  return rows.map(({ identifier }) => identifier)
}

export async function countResources(db: Database): Promise<number> {
  const [row] = await db.select({ count: count() }).from(resources)
  return row?.count ?? 0
}

export type ResourceChange = Partial<
  Pick<ResourceRow, 'name' | 'slug' | 'scopes' | 'tokenLifetimeSeconds' | 'isActive'>
>

export async function updateResource(tx: Transaction, id: string, change: ResourceChange): Promise<void> {
  await tx.update(resources).set(change).where(eq(resources.id, id))
}

/** Deletes a resource. The database deletes its grants with it. */
export async function deleteResource(tx: Transaction, id: string): Promise<void> {
  await tx.delete(resources).where(eq(resources.id, id))
}

/**
 * Ends the sessions of all grants for a resource, by one statement.
 * @param deletes whether the grants are about to be deleted. The sessions are then taken from them here, since the foreign key
 * would update one session after the other
 * @returns how many ended
 */
export async function endSessionsOfResource(
  tx: Transaction,
  resourceId: string,
  now: Date,
  reason: string,
  deletes: boolean,
): Promise<number> {
  // With an array PostgreSQL uses the index, also where it has no statistics yet.
  const grants = sql`ARRAY(SELECT ${oauthGrants.id} FROM ${oauthGrants} WHERE ${oauthGrants.resourceId} = ${resourceId})`
  const isOfGrants = sql`${sessions.grantId} = ANY (${grants})`
  const ended = tx.$with('ended').as(
    tx
      .update(sessions)
      .set({ endedAt: now, endedReason: reason, ...(deletes && { grantId: null }) })
      .where(and(isOfGrants, isNull(sessions.endedAt)))
      .returning({ id: sessions.id }),
  )
  const [row] = await tx.with(ended).select({ count: count() }).from(ended)
  if (deletes) await tx.update(sessions).set({ grantId: null }).where(isOfGrants)
  return row?.count ?? 0
}

export async function countGrantsOfResource(tx: Transaction, resourceId: string): Promise<number> {
  const [row] = await tx
    .select({ count: count() })
    .from(oauthGrants)
    .where(eq(oauthGrants.resourceId, resourceId))
  return row?.count ?? 0
}
