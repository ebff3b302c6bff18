import { fail } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { type Page, type PageQuery, readPage } from '../../lib/page.ts'
import { formatInstant } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { requireMail } from './link.ts'
import { listMails, type MailRow, updateMailDue } from './queries.ts'

/** What an operator sees of a mail. */
export const presentMail = (mail: MailRow) => ({
  id: mail.id,
  kind: mail.kind,
  to: mail.recipient,
  state: mail.outcome ?? 'waiting',
  attempts: mail.attempts,
  created_at: mail.createdAt.toISOString(),
  next_attempt_at: mail.endedAt === null ? mail.nextAttemptAt.toISOString() : null,
  ended_at: formatInstant(mail.endedAt),
  last_error: mail.lastError,
})

/** A page of the outbox, newest first: all mails that wait, and those of the last seven days. */
export function listOutbox(
  context: Context,
  { isFailed, ...page }: PageQuery & { isFailed: boolean },
): Promise<Page<MailRow>> {
  return readPage(context.keys.cursor, `mails ${isFailed}`, page, (rows) =>
    listMails(context.db, { isFailed, ...rows }),
  )
}

/**
 * Makes a mail that was given up, or waits for its next try, due now.
 * @throws Problem not_found where the mail does not exist or was sent; conflict without SMTP_URL
 */
export async function retryMail(context: Context, id: string): Promise<MailRow> {
  requireMail(context)
  const mail = isId(id) ? await updateMailDue(context.db, id, new Date(context.clock())) : null
  if (!mail) fail('not_found', { detail: 'There is no such mail that was not sent.' })
  context.mail.wake()
  return mail
}

/**
 * Sends a mail at once, past the outbox, so that the person at the terminal sees what the mail server says.
 * @throws Problem conflict without SMTP_URL; Error with what the mail server said
 */
export async function sendTestMail(context: Context, to: string): Promise<void> {
  requireMail(context)
  const { brandName, publicUrl } = context.config
  const sending = await context.mail.send({
    id: newId(),
    to,
    subject: `A test mail from ${brandName}`,
    text: `${brandName} at ${publicUrl} can send mails.`,
    html: '',
  })
  if (!sending.isSent) throw new Error(`the mail was not sent: ${sending.error}`)
}
