import { count, desc, eq, lt } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { resources } from '../../db/oauth.ts'
import { isOneOf } from '../../db/one-of.ts'

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

export async function findResourceByIdentifier(
  db: Database,
  identifier: string,
): Promise<ResourceRow | null> {
  const [row] = await db.select().from(resources).where(eq(resources.identifier, identifier))
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
