import { and, count, desc, eq, gt, isNull, lt, lte, or, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { oauthClientSecrets, oauthClients, oauthGrants } from '../../db/oauth.ts'
import { isOneOf } from '../../db/one-of.ts'
import { sessions } from '../../db/schema.ts'

export type ClientRow = typeof oauthClients.$inferSelect
export type ClientSecretRow = typeof oauthClientSecrets.$inferSelect

export async function insertClient(
  tx: Transaction,
  client: typeof oauthClients.$inferInsert,
): Promise<ClientRow> {
  const [row] = await tx.insert(oauthClients).values(client).returning()
  if (!row) throw new Error('An insert returned no row')
  return row
}

/** @param id the id of its row, which is a UUID */
export async function findClientById(db: Database | Transaction, id: string): Promise<ClientRow | null> {
  const [row] = await db.select().from(oauthClients).where(eq(oauthClients.id, id))
  return row ?? null
}

export async function findClientByClientId(db: Database, clientId: string): Promise<ClientRow | null> {
  const [row] = await db.select().from(oauthClients).where(eq(oauthClients.clientId, clientId))
  return row ?? null
}

/** Clients, newest first, after the client `after`. */
export function listClientRows(
  db: Database,
  { source, limit, after }: { source: ClientRow['source'] | null; limit: number; after: string | null },
): Promise<ClientRow[]> {
  return db
    .select()
    .from(oauthClients)
    .where(
      and(
        source === null ? undefined : eq(oauthClients.source, source),
        after === null ? undefined : lt(oauthClients.id, after),
      ),
    )
    .orderBy(desc(oauthClients.id))
    .limit(limit)
}

export async function countRegisteredClients(db: Database): Promise<number> {
  const [row] = await db
    .select({ count: count() })
    .from(oauthClients)
    .where(eq(oauthClients.source, 'registered'))
  return row?.count ?? 0
}

export type ClientChange = Partial<
  Pick<
    ClientRow,
    | 'name'
    | 'redirectUris'
    | 'postLogoutRedirectUris'
    | 'grants'
    | 'scopes'
    | 'firstParty'
    | 'isActive'
    | 'jwks'
    | 'jwksUri'
  >
>

export async function updateClient(tx: Transaction, id: string, change: ClientChange): Promise<void> {
  await tx.update(oauthClients).set(change).where(eq(oauthClients.id, id))
}

/** Deletes a client. The database deletes its secrets and its grants with it. */
export async function deleteClient(tx: Transaction, id: string): Promise<void> {
  await tx.delete(oauthClients).where(eq(oauthClients.id, id))
}

/**
 * Ends the sessions of all grants of a client, by one statement.
 * @param deletes whether the grants are about to be deleted. The sessions are then taken from them here, since the foreign key
 * would update one session after the other
 * @returns how many ended
 */
export async function endSessionsOfClient(
  tx: Transaction,
  clientId: string,
  now: Date,
  reason: string,
  deletes: boolean,
): Promise<number> {
  // With an array PostgreSQL uses the index, also where it has no statistics yet.
  const grants = sql`ARRAY(SELECT ${oauthGrants.id} FROM ${oauthGrants} WHERE ${oauthGrants.clientId} = ${clientId})`
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

export async function countGrantsOfClient(tx: Transaction, clientId: string): Promise<number> {
  const [row] = await tx
    .select({ count: count() })
    .from(oauthGrants)
    .where(eq(oauthGrants.clientId, clientId))
  return row?.count ?? 0
}

/** The live secrets of some clients, newest first. */
export function listLiveSecrets(
  db: Database | Transaction,
  clientIds: readonly string[],
  now: Date,
): Promise<ClientSecretRow[]> {
  return db
    .select()
    .from(oauthClientSecrets)
    .where(
      and(
        isOneOf(oauthClientSecrets.clientId, clientIds),
        or(isNull(oauthClientSecrets.expiresAt), gt(oauthClientSecrets.expiresAt, now)),
      ),
    )
    .orderBy(desc(oauthClientSecrets.id))
}

export async function insertClientSecret(
  tx: Transaction,
  secret: typeof oauthClientSecrets.$inferInsert,
): Promise<void> {
  await tx.insert(oauthClientSecrets).values(secret)
}

/** Gives the secrets of a client that have no end one. */
export async function updateSecretEnds(tx: Transaction, clientId: string, expiresAt: Date): Promise<void> {
  await tx
    .update(oauthClientSecrets)
    .set({ expiresAt })
    .where(and(eq(oauthClientSecrets.clientId, clientId), isNull(oauthClientSecrets.expiresAt)))
}

/**
 * Deletes the secrets of a client whose overlap is over, so that a client never has more than two rows.
 * @param all also those that are live
 */
export async function deleteEndedSecrets(
  tx: Transaction,
  clientId: string,
  now: Date,
  all: boolean,
): Promise<void> {
  const isEnded = all ? undefined : lte(oauthClientSecrets.expiresAt, now)
  await tx.delete(oauthClientSecrets).where(and(eq(oauthClientSecrets.clientId, clientId), isEnded))
}

export async function deleteClientSecret(tx: Transaction, id: string): Promise<void> {
  await tx.delete(oauthClientSecrets).where(eq(oauthClientSecrets.id, id))
}

/** Moves `last_used_at` of a client, and of a secret of it, where it is older than `before` and not locked. */
export async function updateLastUsed(
  db: Database,
  clientId: string,
  secretId: string | null,
  now: Date,
  before: Date,
): Promise<void> {
  for (const [table, id] of [
    [oauthClients, clientId],
    [oauthClientSecrets, secretId],
  ] as const) {
    if (id === null) continue
    const rows = table as typeof oauthClients
    const due = db
      .select({ id: rows.id })
      .from(rows)
      .where(and(eq(rows.id, id), or(isNull(rows.lastUsedAt), lt(rows.lastUsedAt, before))))
      .for('no key update', { skipLocked: true })
    await db.update(rows).set({ lastUsedAt: now }).where(sql`${rows.id} IN ${due}`)
  }
}
