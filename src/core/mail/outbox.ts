import { fail, failField } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { type Page, type PageQuery, readPage } from '../../lib/page.ts'
import { formatInstant, HOUR_MS } from '../../lib/time.ts'
import type { Origin } from '../audit/audit.ts'
import { type Caller, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { normaliseEmail } from '../users/email.ts'
import { writeMail } from './deliver.ts'
import { requireMail } from './link.ts'
import type { Mail, MailStatus } from './model.ts'
import { findMailTrouble, listMails, lockMail, type MailRow, updateMailDue } from './queries.ts'

/** What an admin or an operator sees of a mail. */
export const presentMail = (mail: MailRow): Mail => ({
  id: mail.id,
  kind: mail.kind,
  to: mail.recipient,
  status: mail.outcome ?? 'waiting',
  attempts: mail.attempts,
  created_at: mail.createdAt.toISOString(),
  next_attempt_at: mail.endedAt === null ? mail.nextAttemptAt.toISOString() : null,
  ended_at: formatInstant(mail.endedAt),
  last_error: mail.lastError,
})

/** A page of the outbox, newest first: all mails that wait, and those of the last seven days. */
export function listOutbox(
  context: Context,
  { status = null, ...page }: PageQuery & { status?: MailStatus | null | undefined },
): Promise<Page<MailRow>> {
  return readPage(context.keys.cursor, `mails ${status}`, page, (rows) =>
    listMails(context.db, { status, ...rows }),
  )
}

/**
 * Makes a mail that was given up, or waits for its next try, due now.
 * @throws Problem conflict without SMTP_URL, or where the mail was sent; not_found
 */
export async function retryMail(
  context: Context,
  origin: Origin,
  caller: Caller,
  id: string,
): Promise<MailRow> {
  requireMail(context)
  const mail = await recordChange(context, origin, caller, [], async ({ tx, now, record }) => {
    const mail = isId(id) ? await lockMail(tx, id) : null
    if (!mail) fail('not_found', { detail: 'There is no such mail.' })
    if (mail.outcome === 'sent') fail('conflict', { detail: 'The mail was sent already.' })
    await record({ action: 'mail.retried', details: { mail_id: id, kind: mail.kind } })
    return updateMailDue(tx, id, now)
  })
  context.mail.wake()
  return mail
}

/**
 * Writes a mail that tells nothing into the outbox, so that the list says what became of it.
 * @throws Problem conflict without SMTP_URL; validation_failed where `to` is not an address
 */
export async function queueTestMail(
  context: Context,
  origin: Origin,
  caller: Caller,
  to: string,
): Promise<MailRow> {
  requireMail(context)
  const recipient = requireAddress(to)
  const id = newId()
  return recordChange(context, origin, caller, [], async ({ tx, queueMail, record }) => {
    await record({ action: 'mail.test_sent', details: { to: recipient } })
    await queueMail({ id, kind: 'test', to: recipient, userId: null })
    return (await lockMail(tx, id)) ?? fail('conflict')
  })
}

const requireAddress = (to: string): string =>
  normaliseEmail(to) ?? failField('/to', 'Must be an e-mail address of at most 254 characters')

/**
 * Sends a test mail at once, past the outbox, so that the person at the terminal sees what the mail server says.
 * @throws Problem conflict without SMTP_URL; Error with what the mail server said
 */
export async function sendTestMail(context: Context, to: string): Promise<void> {
  requireMail(context)
  const mail = { id: newId(), recipient: to, parameters: {} }
  const sending = await context.mail.send(writeMail(context, mail, 'test', null))
  if (!sending.isSent) throw new Error(`the mail was not sent: ${sending.error}`)
}

/** So many tries take over a minute: a mail server that asks to come again later is no trouble yet. */
const TRIES = 3

/** In a sentence, why mails do not arrive; null: they do, or none was sent. */
export async function findMailProblem({ db, clock, mail }: Context): Promise<string | null> {
  if (!mail.isOn) return null
  const found = await findMailTrouble(db, TRIES, new Date(clock() - HOUR_MS))
  const { delayed, sent, refused, lastError } = found
  const said = `The mail server said last: ${lastError}`
  if (delayed > 0) return `Mails wait that could not be sent for a while: ${delayed}. ${said}`
  if (refused > 0 && sent === 0)
    return `Every mail of the last hour was refused by the mail server: ${refused}. ${said}`
  return null
}
