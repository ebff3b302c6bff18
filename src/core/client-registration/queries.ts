import { and, asc, eq, notExists, or, type SQL, sql } from 'drizzle-orm'
import type { Transaction } from '../../db/database.ts'
import { oauthClients, oauthGrants } from '../../db/oauth.ts'

const lastUse = sql`COALESCE(${oauthClients.lastUsedAt}, ${oauthClients.createdAt})`

/**
 * Deletes apps that no admin registered and that were not used since a time. An app with a metadata document stays while
 * a person has a grant for it. It also stays while it is disabled: its next visit would enable it again.
 * @returns the deleted apps
 */
export function deleteUnused(tx: Transaction, before: Date, most: number) {
  const isUnused = sql`${lastUse} < ${before.toISOString()}::timestamptz`
  const isIdle = and(
    eq(oauthClients.source, 'metadata'),
    eq(oauthClients.isActive, true),
    notExists(
      tx.select({ id: oauthGrants.id }).from(oauthGrants).where(eq(oauthGrants.clientId, oauthClients.id)),
    ),
  )
  return deleteApps(tx, and(or(eq(oauthClients.source, 'dynamic'), isIdle), isUnused), most)
}

/** Deletes those of the registered apps beyond `kept` that were not used for longest. */
export function deleteBeyond(tx: Transaction, kept: number, most: number) {
  const ranked = tx
    .select({ id: oauthClients.id })
    .from(oauthClients)
    .where(eq(oauthClients.source, 'dynamic'))
    .orderBy(sql`${lastUse} DESC`, sql`${oauthClients.id} DESC`)
    .offset(kept)
  return deleteApps(tx, sql`${oauthClients.id} IN ${ranked}`, most)
}

function deleteApps(tx: Transaction, which: SQL | undefined, most: number) {
  const step = tx
    .select({ id: oauthClients.id })
    .from(oauthClients)
    .where(which)
    .orderBy(asc(oauthClients.id))
    .limit(most)
    .for('update', { skipLocked: true })
  return tx
    .delete(oauthClients)
    .where(sql`${oauthClients.id} IN ${step}`)
    .returning({ id: oauthClients.id, source: oauthClients.source, clientId: oauthClients.clientId })
}
