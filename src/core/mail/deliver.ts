import type { MailKind } from '../../lib/outcomes.ts'
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../lib/time.ts'
import { recordEvent, SYSTEM } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import {
  beginLife,
  findLiveTokenById,
  type LiveToken,
  MAIL_LASTS_MS,
  tokenOf,
} from '../one-time-tokens/one-time-tokens.ts'
import { claimMails, countWaitingMails, LINK_IS_OVER, type MailRow, updateMail } from './queries.ts'
import { fillHtml, fillSubject, fillText } from './render.ts'
import type { Message } from './smtp.ts'
import { TEMPLATES } from './templates.ts'

/** Mails that a server sends at the same time. */
const BATCH = 10
/** A mail that a server has taken is its own for so long: more than a try and the noting of what came of it. */
const CLAIM_LASTS_MS = MINUTE_MS
/** The waits after each try; the last one repeats. */
const RETRY_AFTER_MS = [10 * SECOND_MS, MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS, 2 * HOUR_MS, 6 * HOUR_MS]

/**
 * Sends the mails that are due. What a server that dies had taken, another one sends when its claim is over: a mail is
 * sent twice only where the server died between sending it and noting that.
 */
export async function deliverMails(context: Context): Promise<void> {
  const now = context.clock()
  const taken = await claimMails(context.db, new Date(now), new Date(now + CLAIM_LASTS_MS), BATCH)
  const results = await Promise.allSettled(taken.map((mail) => deliver(context, mail)))
  if (taken.length === BATCH) context.mail.wake()
  for (const result of results) if (result.status === 'rejected') throw result.reason
  context.metrics.mailsWaiting = await countWaitingMails(context.db)
}

async function deliver(context: Context, mail: MailRow): Promise<void> {
  const kind = mail.kind as MailKind
  const isLinked = TEMPLATES[kind].page !== null
  const token =
    isLinked && mail.tokenId !== null
      ? await findLiveTokenById(context.db, mail.tokenId, new Date(context.clock()))
      : null
  if (isLinked && token === null) return giveUp(context, mail, LINK_IS_OVER)
  const sending = await context.mail.send(writeMail(context, mail, kind, token))
  const now = new Date(context.clock())
  if (token && (sending.isSent || sending.wasHandedOver)) await beginLife(context.db, token, now)
  if (sending.isSent) {
    context.metrics.mails[kind].sent += 1
    await updateMail(context.db, mail, { endedAt: now, outcome: 'sent', lastError: null })
    return
  }
  const lastTryMs = mail.createdAt.getTime() + MAIL_LASTS_MS
  if (sending.isFinal || now.getTime() >= lastTryMs) return giveUp(context, mail, sending.error)
  const waitMs = RETRY_AFTER_MS[mail.attempts - 1] ?? RETRY_AFTER_MS.at(-1) ?? 0
  const nextAttemptAt = new Date(Math.min(now.getTime() + waitMs, lastTryMs))
  context.metrics.mails[kind].delayed += 1
  context.log.warn(
    { mail: mail.id, kind, attempts: mail.attempts, reason: sending.error },
    'A mail could not be sent yet',
  )
  await updateMail(context.db, mail, { nextAttemptAt, lastError: sending.error })
}

async function giveUp(context: Context, mail: MailRow, reason: string): Promise<void> {
  const kind = mail.kind as MailKind
  const now = new Date(context.clock())
  const isOurs = await context.db.transaction(async (tx) => {
    const change = { endedAt: now, outcome: 'failed', lastError: reason } as const
    if (!(await updateMail(tx, mail, change))) return false
    await recordEvent(tx, context, SYSTEM, {
      action: 'mail.failed',
      outcome: 'refused',
      ...(mail.userId !== null && { target: { type: 'user', id: mail.userId } }),
      details: { mail_id: mail.id, kind, attempts: mail.attempts, reason },
    })
    return true
  })
  if (!isOurs) return
  context.metrics.mails[kind].failed += 1
  context.log.error({ mail: mail.id, kind, attempts: mail.attempts, reason }, 'A mail was given up')
}

/** The mail in the words that are in force, with the link that is computed now. */
export function writeMail(
  context: Pick<Context, 'config' | 'keys' | 'mail'>,
  { id, recipient, parameters }: Pick<MailRow, 'id' | 'recipient' | 'parameters'>,
  kind: MailKind,
  token: LiveToken | null,
): Message {
  const { subject, text, html } = context.mail.wordings[kind]
  const { publicUrl, brandName } = context.config
  const page = TEMPLATES[kind].page
  const values = {
    ...parameters,
    brand: brandName,
    email: recipient,
    public_url: publicUrl,
    login_url: `${publicUrl}/login`,
    forgot_password_url: `${publicUrl}/forgot-password`,
    ...(token && { link: `${publicUrl}${page}?token=${tokenOf(context, token)}` }),
  }
  return {
    id,
    to: recipient,
    subject: fillSubject(subject, values),
    text: fillText(text, values),
    html: fillHtml(html, values),
  }
}
