import { and, asc, count, desc, eq, gt, gte, isNotNull, isNull, lt, lte, ne, or, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { isOneOf } from '../../db/one-of.ts'
import { mailboxCounts, mails } from '../../db/people.ts'
import { MAIL_KINDS } from '../../lib/outcomes.ts'
import type { MailStatus } from './model.ts'

export type MailRow = typeof mails.$inferSelect

/** Why a mail with a link is given up that the mail server never saw. */
export const LINK_IS_OVER = 'The link is used, void or over.'

export async function insertMails(
  tx: Transaction,
  rows: readonly (typeof mails.$inferInsert)[],
): Promise<void> {
  await tx.insert(mails).values([...rows])
}

/**
 * Takes mails that are due, for this server alone until `until`: where it dies meanwhile, another one takes them then.
 * Each counts as tried once more. A mail of a kind that this version does not know is left to a newer one.
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

/** What became of a mail that this server had taken; false where another server has taken it since. */
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

/** How many mails wait. */
export async function countWaitingMails(db: Database): Promise<number> {
  const [row] = await db.select({ waiting: count() }).from(mails).where(isNull(mails.endedAt))
  return row?.waiting ?? 0
}

/** When a user was last written a mail of one kind; null: not since then. */
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
  { status, limit, after }: { status: MailStatus | null; limit: number; after: string | null },
): Promise<MailRow[]> {
  const hasStatus = status === 'waiting' ? isNull(mails.endedAt) : eq(mails.outcome, status ?? 'sent')
  return db
    .select()
    .from(mails)
    .where(and(status === null ? undefined : hasStatus, after === null ? undefined : lt(mails.id, after)))
    .orderBy(desc(mails.id))
    .limit(limit)
}

/** A mail, locked until the transaction ends; null: it does not exist. */
export async function lockMail(tx: Transaction, id: string): Promise<MailRow | null> {
  const [row] = await tx.select().from(mails).where(eq(mails.id, id)).for('no key update')
  return row ?? null
}

/** Makes a locked mail that was given up, or waits, due now. */
export async function updateMailDue(tx: Transaction, id: string, now: Date): Promise<MailRow> {
  const [row] = await tx
    .update(mails)
    .set({ nextAttemptAt: now, endedAt: null, outcome: null })
    .where(eq(mails.id, id))
    .returning()
  if (!row) throw new Error('An update returned no row')
  return row
}

/** What became of the mails of the last while, besides those that were sent at once. */
export type MailTrouble = {
  /** Mails that wait after so many tries. */
  delayed: number
  /** Mails that were sent, or given up for what the mail server said, since a time. */
  sent: number
  refused: number
  /** What the mail server said last. */
  lastError: string | null
}

/** @param since of the mails that ended */
export async function findMailTrouble(db: Database, tries: number, since: Date): Promise<MailTrouble> {
  const isDelayed = and(isNull(mails.endedAt), gte(mails.attempts, tries), isNotNull(mails.lastError))
  const isRefused = and(eq(mails.outcome, 'failed'), ne(mails.lastError, LINK_IS_OVER))
  const isTrouble = or(isDelayed, isRefused)
  const [row] = await db
    .select({
      delayed: sql`count(*) FILTER (WHERE ${isDelayed})`.mapWith(Number),
      sent: sql`count(*) FILTER (WHERE ${mails.outcome} = 'sent')`.mapWith(Number),
      refused: sql`count(*) FILTER (WHERE ${isRefused})`.mapWith(Number),
      lastError: sql<string | null>`(array_agg(${mails.lastError} ORDER BY ${mails.id} DESC)
        FILTER (WHERE ${isTrouble}))[1]`,
    })
    .from(mails)
    .where(or(isNull(mails.endedAt), gte(mails.endedAt, since)))
  if (!row) throw new Error('A query without a row')
  return row
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
