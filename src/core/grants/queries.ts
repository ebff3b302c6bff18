import { and, count, desc, eq, getTableColumns, gt, isNull, lt, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { oauthClients, oauthGrants, resources } from '../../db/oauth.ts'
import { sessions } from '../../db/schema.ts'
import type { Target } from '../resources/audience.ts'

export type GrantRow = typeof oauthGrants.$inferSelect
export type ListedGrant = Awaited<ReturnType<typeof listGrantsOf>>[number]

/** What a user allowed, the newest first, after the grant `after`. */
export function listGrantsOf(
  db: Database,
  userId: string,
  now: Date,
  { limit, after }: { limit: number; after: string | null },
) {
  const live = sql<number>`(SELECT count(*)::int FROM ${sessions}
    WHERE ${sessions.grantId} = ${oauthGrants.id} AND ${isNull(sessions.endedAt)}
      AND ${gt(sessions.expiresAt, now)} AND ${gt(sessions.idleExpiresAt, now)})`
  return db
    .select({
      ...getTableColumns(oauthGrants),
      createdAt: oauthGrants.firstAllowedAt,
      client: { clientId: oauthClients.clientId, name: oauthClients.name, source: oauthClients.source },
      resource: { identifier: resources.identifier, name: resources.name },
      sessions: live,
    })
    .from(oauthGrants)
    .innerJoin(oauthClients, eq(oauthClients.id, oauthGrants.clientId))
    .leftJoin(resources, eq(resources.id, oauthGrants.resourceId))
    .where(and(eq(oauthGrants.userId, userId), after === null ? undefined : lt(oauthGrants.id, after)))
    .orderBy(desc(oauthGrants.id))
    .limit(limit)
}

/** What a person allowed a client for a target; null: nothing yet. */
export async function findGrant(
  db: Database | Transaction,
  { userId, clientId, target }: { userId: string; clientId: string; target: GrantTarget },
): Promise<GrantRow | null> {
  const { audience, resource } = target
  const [row] = await db
    .select()
    .from(oauthGrants)
    .where(
      and(
        eq(oauthGrants.userId, userId),
        eq(oauthGrants.clientId, clientId),
        eq(oauthGrants.audience, audience),
        resource === null ? isNull(oauthGrants.resourceId) : eq(oauthGrants.resourceId, resource.id),
      ),
    )
  return row ?? null
}

export type GrantTarget = { audience: Target['audience']; resource: { id: string } | null }

/** @returns false where the same was allowed meanwhile */
export async function insertGrant(tx: Transaction, grant: typeof oauthGrants.$inferInsert): Promise<boolean> {
  const made = await tx
    .insert(oauthGrants)
    .values(grant)
    .onConflictDoNothing()
    .returning({ id: oauthGrants.id })
  return made.length > 0
}

export async function updateGrant(
  tx: Transaction,
  id: string,
  change: { scopes?: string[]; lastAllowedAt?: Date; lastUsedAt?: Date },
): Promise<void> {
  await tx.update(oauthGrants).set(change).where(eq(oauthGrants.id, id))
}

/** Whose grants: all of a client, or all for a resource. */
export type GrantsOf = { clientId: string } | { resourceId: string }

const isOf = (of: GrantsOf) =>
  'clientId' in of ? eq(oauthGrants.clientId, of.clientId) : eq(oauthGrants.resourceId, of.resourceId)

/**
 * Ends the sessions of all grants of a client or for a resource, by one statement.
 * @param deletes whether the grants are about to be deleted. The sessions are then taken from them here, since the foreign key
 * would update one session after the other
 * @returns how many ended
 */
export async function endSessionsOfGrants(
  tx: Transaction,
  of: GrantsOf,
  now: Date,
  reason: string,
  deletes: boolean,
): Promise<number> {
  // With an array PostgreSQL uses the index, also where it has no statistics yet.
  const grants = sql`ARRAY(SELECT ${oauthGrants.id} FROM ${oauthGrants} WHERE ${isOf(of)})`
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

export async function countGrants(tx: Transaction, of: GrantsOf): Promise<number> {
  const [row] = await tx.select({ count: count() }).from(oauthGrants).where(isOf(of))
  return row?.count ?? 0
}

/** Ends the sessions of a grant. */
export async function endSessionsOfGrant(
  tx: Transaction,
  id: string,
  now: Date,
  reason: string,
): Promise<{ id: string }[]> {
  return tx
    .update(sessions)
    .set({ endedAt: now, endedReason: reason })
    .where(and(eq(sessions.grantId, id), isNull(sessions.endedAt)))
    .returning({ id: sessions.id })
}

export async function deleteGrant(tx: Transaction, id: string): Promise<void> {
  await tx.delete(oauthGrants).where(eq(oauthGrants.id, id))
}

export function deleteGrantsOf(tx: Transaction, userId: string): Promise<{ id: string; clientId: string }[]> {
  return tx
    .delete(oauthGrants)
    .where(eq(oauthGrants.userId, userId))
    .returning({ id: oauthGrants.id, clientId: oauthGrants.clientId })
}
