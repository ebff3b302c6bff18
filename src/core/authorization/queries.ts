import { and, eq, gt, isNull, lt, or } from 'drizzle-orm'
import { authorizationCodes, authorizationRequests } from '../../db/authorization.ts'
import type { Database, Transaction } from '../../db/database.ts'
import { oauthClientSecrets, oauthClients, oauthGrants, resources } from '../../db/oauth.ts'
import { sessions, users } from '../../db/schema.ts'
import { MINUTE_MS } from '../../lib/time.ts'

export type RequestRow = typeof authorizationRequests.$inferSelect
export type CodeRow = typeof authorizationCodes.$inferSelect

/** Notes the use of a grant by a refresh, at most once a minute. */
export async function touchGrant(db: Database, id: string, now: Date): Promise<void> {
  const minuteAgo = new Date(now.getTime() - MINUTE_MS)
  await db
    .update(oauthGrants)
    .set({ lastUsedAt: now })
    .where(
      and(eq(oauthGrants.id, id), or(isNull(oauthGrants.lastUsedAt), lt(oauthGrants.lastUsedAt, minuteAgo))),
    )
}

/** The id of a live secret of a client; null: no live secret has this hash. */
export async function findSecretId(
  db: Database,
  clientId: string,
  hash: Uint8Array,
  now: Date,
): Promise<string | null> {
  const { id, expiresAt } = oauthClientSecrets
  const isLive = or(isNull(expiresAt), gt(expiresAt, now))
  const [secret] = await db
    .select({ id })
    .from(oauthClientSecrets)
    .where(and(eq(oauthClientSecrets.clientId, clientId), eq(oauthClientSecrets.hash, hash), isLive))
  return secret?.id ?? null
}

export async function insertRequest(
  db: Database,
  request: typeof authorizationRequests.$inferInsert,
): Promise<void> {
  await db.insert(authorizationRequests).values(request)
}

/** A request that still waits, in this browser session; with its client and its resource. */
export async function findRequest(db: Database, id: string, sessionId: string, now: Date) {
  const [row] = await db
    .select({ request: authorizationRequests, client: oauthClients, resource: resources })
    .from(authorizationRequests)
    .innerJoin(oauthClients, eq(oauthClients.id, authorizationRequests.clientId))
    .leftJoin(resources, eq(resources.id, authorizationRequests.resourceId))
    .where(waits(id, sessionId, now))
  return row ?? null
}

/** @returns false where the request was used meanwhile */
export async function useRequest(
  db: Database | Transaction,
  id: string,
  sessionId: string,
  now: Date,
): Promise<boolean> {
  const used = await db
    .update(authorizationRequests)
    .set({ usedAt: now })
    .where(waits(id, sessionId, now))
    .returning({ id: authorizationRequests.id })
  return used.length > 0
}

const waits = (id: string, sessionId: string, now: Date) =>
  and(
    eq(authorizationRequests.id, id),
    eq(authorizationRequests.sessionId, sessionId),
    isNull(authorizationRequests.usedAt),
    gt(authorizationRequests.expiresAt, now),
  )

export async function insertCode(
  tx: Transaction,
  code: typeof authorizationCodes.$inferInsert,
): Promise<void> {
  await tx.insert(authorizationCodes).values(code)
}

export type FoundCode = NonNullable<Awaited<ReturnType<typeof findCode>>>

/** A code, used or not, with the grant that it stands on. */
export async function findCode(db: Database | Transaction, hash: Uint8Array) {
  const [row] = await db
    .select({ code: authorizationCodes, grant: oauthGrants, resource: resources })
    .from(authorizationCodes)
    .innerJoin(oauthGrants, eq(oauthGrants.id, authorizationCodes.grantId))
    .leftJoin(resources, eq(resources.id, oauthGrants.resourceId))
    .where(eq(authorizationCodes.hash, hash))
  return row ?? null
}

/** @returns false where the code was used meanwhile */
export async function useCode(
  tx: Transaction,
  id: string,
  madeSessionId: string,
  now: Date,
): Promise<boolean> {
  const used = await tx
    .update(authorizationCodes)
    .set({ usedAt: now, madeSessionId })
    .where(and(eq(authorizationCodes.id, id), isNull(authorizationCodes.usedAt)))
    .returning({ id: authorizationCodes.id })
  return used.length > 0
}

/** The session that the first use of a code made; null: the code was not used. */
export async function findMadeSession(tx: Database | Transaction, id: string): Promise<string | null> {
  const [row] = await tx
    .select({ madeSessionId: authorizationCodes.madeSessionId })
    .from(authorizationCodes)
    .where(eq(authorizationCodes.id, id))
  return row?.madeSessionId ?? null
}

export type ClientSessionFacts = NonNullable<Awaited<ReturnType<typeof findClientSession>>>

/** Everything that decides what an app's session may do; null where its grant has ended. */
export async function findClientSession(db: Database, sessionId: string) {
  const [row] = await db
    .select({ session: sessions, grant: oauthGrants, client: oauthClients, resource: resources, user: users })
    .from(sessions)
    .innerJoin(users, eq(users.id, sessions.userId))
    .innerJoin(oauthGrants, eq(oauthGrants.id, sessions.grantId))
    .innerJoin(oauthClients, eq(oauthClients.id, oauthGrants.clientId))
    .leftJoin(resources, eq(resources.id, oauthGrants.resourceId))
    .where(eq(sessions.id, sessionId))
  return row ?? null
}
