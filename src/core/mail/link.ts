import { fail } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import type { MailKind } from '../../lib/outcomes.ts'
import type { Caller, Change } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { issueToken, type NewToken } from '../one-time-tokens/one-time-tokens.ts'
import { mayMail } from './mailbox.ts'

/** A link to mail: the purpose of its token, and the kind of mail that carries it. */
export type NewLink = Omit<NewToken, 'id' | 'email' | 'issuedBy'> & {
  kind: MailKind
  email: string
  /** The admin who has it sent. */
  issuedBy?: string
}

/** Issues a token and writes the mail with its link. The caller has asked `mayMail` whether the mailbox has room. */
export async function issueLink<C extends Caller>(
  { tx, now, queueMail }: Pick<Change<C>, 'tx' | 'now' | 'queueMail'>,
  { kind, issuedBy, ...token }: NewLink,
): Promise<void> {
  const id = newId()
  await issueToken(tx, now, { ...token, id, issuedBy: issuedBy ?? null })
  // The mail to another address names no user. Otherwise its outcome would appear in the user's activity, and tell
  // whether the address is taken.
  const userId = token.purpose === 'change_email' ? null : token.userId
  await queueMail({ kind, to: token.email, userId, tokenId: id })
}

/**
 * Does the same if the mailbox has room. Otherwise no mail is written, no token is issued, and none is voided.
 * @returns whether the mail was written
 */
export async function mailLink<C extends Caller>(
  context: Context,
  change: Pick<Change<C>, 'tx' | 'now' | 'queueMail'>,
  link: NewLink,
): Promise<boolean> {
  if (!(await mayMail(change.tx, context, link.email, change.now))) return false
  await issueLink(change, link)
  return true
}

/** @throws Problem conflict where no mail can be sent */
export function requireMail({ mail }: Pick<Context, 'mail'>): void {
  if (!mail.isOn) fail('conflict', { detail: 'No mail can be sent from here: SMTP_URL is not set.' })
}

/** Longer than the work takes for any address. */
const ANSWERS_AFTER_MS = 100

/**
 * Does work whose amount depends on whether an address is known, and answers no earlier than 100 ms after it began: the
 * time of the answer tells nothing.
 */
export async function inEqualTime(work: () => Promise<unknown>): Promise<void> {
  const [result] = await Promise.allSettled([work(), Bun.sleep(ANSWERS_AFTER_MS)])
  if (result.status === 'rejected') throw result.reason
}
