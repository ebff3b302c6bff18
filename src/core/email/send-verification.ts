import type { Origin } from '../audit/audit.ts'
import type { Caller, Change } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { issueLink, mailLink } from '../mail/link.ts'

type Addressee = { id: string; email: string }

const linkFor = ({ id, email }: Addressee) =>
  ({ kind: 'verify_email', purpose: 'verify', userId: id, email }) as const

const sentTo = ({ id, email }: Addressee) =>
  ({ action: 'user.verification_sent', target: { type: 'user', id }, details: { email } }) as const

/** Mails a user the link that proves their present address, as far as the mailbox's limit allows. */
export async function sendVerification<C extends Caller>(
  context: Context,
  change: Change<C>,
  user: Addressee,
  by?: Origin,
): Promise<void> {
  if (await mailLink(context, change, linkFor(user))) await change.record(sentTo(user), by)
}

/** The same once `mayMail` has said that the mailbox has room. */
export async function issueVerification<C extends Caller>(
  change: Change<C>,
  user: Addressee,
  by?: Origin,
): Promise<void> {
  await issueLink(change, linkFor(user))
  await change.record(sentTo(user), by)
}
