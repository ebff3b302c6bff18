import { and, asc, count, desc, eq, gt, isNotNull, isNull, lt, lte, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { isOneOf } from '../../db/one-of.ts'
import { mailboxCounts, mails } from '../../db/people.ts'
import { MAIL_KINDS } from '../../lib/outcomes.ts'

export type MailRow = typeof mails.$inferSelect

export async function insertMails(
  tx: Transaction,
  rows: readonly (typeof mails.$inferInsert)[],
): Promise<void> {
  await tx.insert(mails).values([...rows])
}

/**
 * Claims mails that are due. No other server claims them before `until`; if this server dies, another one does then.
 * Counts one more try of each. A mail of a kind that this version does not know is left to a newer version.
 */
export function claimMails(db: Database, now: Date, until: Date, limit: number): Promise<MailRow[]> {
  const due = db
    .select({ id: mails.id })
    .from(mails)
    .where(and(isNull(mails.endedAt), lte(mails.nextAttemptAt, now), isOneOf(mails.kind, MAIL_KINDS)))
    .orderBy(asc(mails.nextAttemptAt))
    .limit(limit)
    .for('update', { skipLocked: true })
  return db
    .update(mails)
    .set({ attempts: sql`${mails.attempts} + 1`, nextAttemptAt: until })
    .where(sql`${mails.id} IN ${due}`)
    .returning()
}

/**
 * Updates a mail that this server has claimed.
 * @returns false where another server has claimed it since
 */
export async function updateMail(
  db: Database | Transaction,
  { id, attempts }: Pick<MailRow, 'id' | 'attempts'>,
  change: Partial<Pick<MailRow, 'nextAttemptAt' | 'endedAt' | 'outcome' | 'lastError'>>,
): Promise<boolean> {
  const updated = await db
    .update(mails)
    .set(change)
    .where(and(eq(mails.id, id), eq(mails.attempts, attempts), isNull(mails.endedAt)))
    .returning({ id: mails.id })
  return updated.length > 0
}

/** Makes mails that were tried before due now, by the tokens of their links. One that is not tried yet is due anyway. */
export async function updateMailsDue(tx: Transaction, tokenIds: readonly string[], now: Date): Promise<void> {
  await tx
    .update(mails)
    .set({ nextAttemptAt: now })
    .where(and(isOneOf(mails.tokenId, tokenIds), isNull(mails.endedAt), isNotNull(mails.lastError)))
}

/** How many mails wait. */
export async function countWaitingMails(db: Database): Promise<number> {
  const [row] = await db.select({ waiting: count() }).from(mails).where(isNull(mails.endedAt))
  return row?.waiting ?? 0
}

/** When the last mail of one kind to a user was written; null: none since `since`. */
export async function findLastMail(
  db: Transaction,
  userId: string,
  kind: string,
  since: Date,
): Promise<Date | null> {
  const [row] = await db
    .select({ createdAt: mails.createdAt })
    .from(mails)
    .where(and(eq(mails.userId, userId), eq(mails.kind, kind), gt(mails.createdAt, since)))
    .orderBy(desc(mails.createdAt))
    .limit(1)
  return row?.createdAt ?? null
}

/** Mails newest first, after the mail `after`. */
export function listMails(
  db: Database,
  { isFailed, limit, after }: { isFailed: boolean; limit: number; after: string | null },
): Promise<MailRow[]> {
  return db
    .select()
    .from(mails)
    .where(
      and(
        isFailed ? eq(mails.outcome, 'failed') : undefined,
        after === null ? undefined : lt(mails.id, after),
      ),
    )
    .orderBy(desc(mails.id))
    .limit(limit)
}

/** Makes a mail that was given up, or waits, due now; null where the mail does not exist or was sent. */
export async function updateMailDue(db: Database, id: string, now: Date): Promise<MailRow | null> {
  const [row] = await db
    .update(mails)
    .set({ nextAttemptAt: now, endedAt: null, outcome: null })
    .where(and(eq(mails.id, id), sql`${mails.outcome} IS DISTINCT FROM 'sent'`))
    .returning()
  return row ?? null
}

/**
 * Counts one mail to a mailbox, in a new window where the last one is over. One statement.
 * @returns false where the window has no room
 */
export async function addToMailbox(
  tx: Transaction,
  emailHmac: Uint8Array,
  now: Date,
  { windowMs, most }: { windowMs: number; most: number },
): Promise<boolean> {
  const isOver = sql`${mailboxCounts.windowStartedAt} <= ${new Date(now.getTime() - windowMs).toISOString()}`
  const counted = await tx
    .insert(mailboxCounts)
    .values({ emailHmac, count: 1, windowStartedAt: now })
    .onConflictDoUpdate({
      target: mailboxCounts.emailHmac,
      set: {
        count: sql`CASE WHEN ${isOver} THEN 1 ELSE LEAST(${mailboxCounts.count}, ${most}) + 1 END`,
        windowStartedAt: sql`CASE WHEN ${isOver} THEN ${now.toISOString()}::timestamptz ELSE ${mailboxCounts.windowStartedAt} END`,
      },
    })
    .returning({ count: mailboxCounts.count })
  return (counted[0]?.count ?? 0) <= most
}
