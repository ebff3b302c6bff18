import type { Transaction } from '../../db/database.ts'
import { newId } from '../../lib/ids.ts'
import type { MailKind } from '../../lib/outcomes.ts'
import { findLastMail, insertMails } from './queries.ts'
import { toOneLine } from './render.ts'

/** A mail that is to be written. */
export type NewMail = {
  /** Where the caller needs to know it. */
  id?: string
  kind: MailKind
  to: string
  /** Whose account it is about. */
  userId: string | null
  /** The values that the template needs and that follow from nothing else; of a list, a line each. */
  parameters?: Readonly<Record<string, string | readonly string[]>>
  /** The token whose link it carries. */
  tokenId?: string
}

/** Longer values come from people, such as a User-Agent, and say nothing more. */
const MAX_VALUE_LENGTH = 300

const toLine = (value: string): string => toOneLine(value).slice(0, MAX_VALUE_LENGTH).toWellFormed()
const toValue = (value: string | readonly string[]): string =>
  typeof value === 'string' ? toLine(value) : listLines(value.map(toLine))

/** Of a long list a mail names the first ones. */
const MAX_LINES = 50

function listLines(lines: readonly string[]): string {
  const more = lines.length - MAX_LINES
  return [...lines.slice(0, MAX_LINES), ...(more > 0 ? [`and ${more} more`] : [])].join('\n')
}

/** Writes mails into the outbox, in the transaction of what they tell of: never the token, the link or the body. */
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

/** Whether a user was written a mail of a kind since then. */
export async function wasMailed(
  tx: Transaction,
  userId: string,
  kind: MailKind,
  since: Date,
): Promise<boolean> {
  return (await findLastMail(tx, userId, kind, since)) !== null
}
