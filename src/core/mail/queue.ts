import type { Transaction } from '../../db/database.ts'
import { newId } from '../../lib/ids.ts'
import type { MailKind } from '../../lib/outcomes.ts'
import { findLastMail, insertMails, updateMailsDue } from './queries.ts'
import { toOneLine } from './render.ts'

/** A mail that is to be written. */
export type NewMail = {
  /** Where the caller needs to know it. */
  id?: string
  kind: MailKind
  to: string
  /** Whose account it is about. */
  userId: string | null
  /** Values for the template that cannot be computed when the mail is sent. A list becomes one line for each item. */
  parameters?: Readonly<Record<string, string | readonly string[]>>
  /** The token whose link it carries. */
  tokenId?: string
}

/** Longer values come from people, such as a User-Agent, and say nothing more. */
const MAX_VALUE_LENGTH = 300

const toLine = (value: string): string => toOneLine(value).slice(0, MAX_VALUE_LENGTH).toWellFormed()
const toValue = (value: string | readonly string[]): string =>
  typeof value === 'string' ? toLine(value) : listLines(value.map(toLine))

/** A mail names only the first items of a longer list. */
const MAX_LINES = 50

function listLines(lines: readonly string[]): string {
  const more = lines.length - MAX_LINES
  return [...lines.slice(0, MAX_LINES), ...(more > 0 ? [`and ${more} more`] : [])].join('\n')
}

/**
 * Writes mails into the outbox, within the transaction of the event that they report. The row holds neither the token,
 * nor the link, nor the body.
 */
export async function insertIntoOutbox(
  tx: Transaction,
  now: Date,
  written: readonly NewMail[],
): Promise<void> {
  const rows = written.map(({ id = newId(), kind, to, userId, parameters = {}, tokenId = null }) => {
    const values = Object.entries(parameters).map(([name, value]) => [name, toValue(value)] as const)
    return {
      id,
      kind,
      recipient: to,
      userId,
      parameters: { time: now.toUTCString(), ...Object.fromEntries(values) },
      tokenId,
      createdAt: now,
      nextAttemptAt: now,
    }
  })
  if (rows.length > 0) await insertMails(tx, rows)
}

/**
 * Makes the waiting mails of dead links due now, as part of the change that ends the links. The job then gives the
 * mails up, and does not wait for their next try.
 */
export async function hurryMailsOf(tx: Transaction, tokenIds: readonly string[], now: Date): Promise<void> {
  if (tokenIds.length > 0) await updateMailsDue(tx, tokenIds, now)
}

/** Whether a mail of a kind to a user was written since a time. */
export async function wasMailed(
  tx: Transaction,
  userId: string,
  kind: MailKind,
  since: Date,
): Promise<boolean> {
  return (await findLastMail(tx, userId, kind, since)) !== null
}
