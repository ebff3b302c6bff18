import { and, count, desc, eq, gt, isNull, lt, lte, ne, or, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { oauthClientSecrets, oauthClients } from '../../db/oauth.ts'
import { isOneOf } from '../../db/one-of.ts'
import { DOCS_CLIENT } from './docs-client.ts'

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

/** @returns null where the app has a row already */
export async function insertClientOnce(
  db: Database | Transaction,
  client: typeof oauthClients.$inferInsert,
): Promise<ClientRow | null> {
  const [row] = await db
    .insert(oauthClients)
    .values(client)
    .onConflictDoNothing({ target: oauthClients.clientId })
    .returning()
  return row ?? null
}

/** @param id the id of its row, which is a UUID */
export async function findClientById(db: Database | Transaction, id: string): Promise<ClientRow | null> {
  const [row] = await db.select().from(oauthClients).where(eq(oauthClients.id, id))
  return row ?? null
}

/** @param clientId as the app names itself */
export async function findClientByClientId(
  db: Database | Transaction,
  clientId: string,
): Promise<ClientRow | null> {
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

/** The clients that admins registered. */
export async function countRegisteredClients(db: Database): Promise<number> {
  const [row] = await db
    .select({ count: count() })
    .from(oauthClients)
    .where(and(eq(oauthClients.source, 'registered'), ne(oauthClients.clientId, DOCS_CLIENT)))
  return row?.count ?? 0
}

export type ClientChange = Partial<
  Pick<
    ClientRow,
    | 'name'
    | 'kind'
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

/** @returns null where the row is gone */
export async function updateClient(
  tx: Transaction,
  id: string,
  change: ClientChange,
): Promise<ClientRow | null> {
  const [row] = await tx.update(oauthClients).set(change).where(eq(oauthClients.id, id)).returning()
  return row ?? null
}

/** Deletes a client. The database deletes its secrets and its grants with it. */
export async function deleteClient(tx: Transaction, id: string): Promise<void> {
  await tx.delete(oauthClients).where(eq(oauthClients.id, id))
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
