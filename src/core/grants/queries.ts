import { and, asc, desc, eq, getTableColumns, gt, isNull, lt, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { oauthClients, oauthGrants, resources } from '../../db/oauth.ts'
import { isOneOf } from '../../db/one-of.ts'
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
export type GrantsOf = { table: 'clients' | 'resources'; id: string }

const isOf = ({ table, id }: GrantsOf) =>
  eq(table === 'clients' ? oauthGrants.clientId : oauthGrants.resourceId, id)

/** A grant with the names of its app and its resource, by which people know it in the audit trail. */
export type NamedGrant = Awaited<ReturnType<typeof listNamedGrantsOf>>[number]

const selectNamed = (db: Database | Transaction) =>
  db
    .select({
      id: oauthGrants.id,
      userId: oauthGrants.userId,
      clientId: oauthGrants.clientId,
      clientName: oauthClients.name,
      audience: oauthGrants.audience,
      resource: { identifier: resources.identifier },
    })
    .from(oauthGrants)
    .innerJoin(oauthClients, eq(oauthClients.id, oauthGrants.clientId))
    .leftJoin(resources, eq(resources.id, oauthGrants.resourceId))

/** Grants of a client or for a resource, in the order of their ids, after the grant `after`. */
export function listGrantsAfter(
  db: Database,
  of: GrantsOf,
  after: string | null,
  limit: number,
): Promise<NamedGrant[]> {
  return selectNamed(db)
    .where(and(isOf(of), after === null ? undefined : gt(oauthGrants.id, after)))
    .orderBy(asc(oauthGrants.id))
    .limit(limit)
}

export async function findNamedGrant(tx: Transaction, id: string): Promise<NamedGrant | null> {
  const [row] = await selectNamed(tx).where(eq(oauthGrants.id, id))
  return row ?? null
}

/** What a user allowed: few rows, since each is for another app or resource. */
export function listNamedGrantsOf(tx: Transaction, userId: string) {
  return selectNamed(tx).where(eq(oauthGrants.userId, userId))
}

export async function hasGrants(tx: Transaction, of: GrantsOf): Promise<boolean> {
  const [row] = await tx.select({ id: oauthGrants.id }).from(oauthGrants).where(isOf(of)).limit(1)
  return row !== undefined
}

/**
 * Sessions under some grants.
 * @param which `live`: those that did not end; else also the others, until they are deleted
 */
export async function listSessionsOfGrants(
  db: Database | Transaction,
  grantIds: readonly string[],
  which: 'live' | 'all',
  limit: number,
): Promise<string[]> {
  const rows = await db
    .select({ id: sessions.id })
    .from(sessions)
    .where(and(isOneOf(sessions.grantId, grantIds), which === 'live' ? isNull(sessions.endedAt) : undefined))
    .limit(limit)
  return rows.map(({ id }) => id)
}

/** Ends those of some sessions that have not ended. @returns how many ended */
export async function updateSessionsEnded(
  tx: Transaction,
  ids: readonly string[],
  now: Date,
  reason: string,
): Promise<number> {
  const ended = await tx
    .update(sessions)
    .set({ endedAt: now, endedReason: reason })
    .where(and(isOneOf(sessions.id, ids), isNull(sessions.endedAt)))
    .returning({ id: sessions.id })
  return ended.length
}

/**
 * Takes sessions from their grants, which are about to be deleted. The foreign key would do so by a statement for each
 * grant.
 */
export async function detachSessions(tx: Transaction, ids: readonly string[]): Promise<void> {
  await tx.update(sessions).set({ grantId: null }).where(isOneOf(sessions.id, ids))
}

export async function deleteGrants(tx: Transaction, ids: readonly string[]): Promise<void> {
  await tx.delete(oauthGrants).where(isOneOf(oauthGrants.id, ids))
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
