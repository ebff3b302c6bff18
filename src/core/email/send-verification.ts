import { fail, Problem } from '../../lib/errors.ts'
import type { Origin } from '../audit/audit.ts'
import { type Caller, type Change, recordChange } from '../change/record-change.ts'
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

/**
 * The last condition of a log-in, after the right password and the right second factor: with EMAIL_VERIFICATION=required
 * the address has to be verified.
 * @throws Problem email_not_verified
 */
export function requireVerified({ config }: Pick<Context, 'config'>, user: { emailVerified: boolean }): void {
  if (config.emailVerification === 'required' && !user.emailVerified) fail('email_not_verified')
}

/** Waits for a log-in. Where it was refused since the address is not verified, the link is mailed again. */
export async function mailingAgain<T>(
  context: Context,
  by: Origin,
  userId: string,
  logIn: () => Promise<T>,
): Promise<T> {
  try {
    return await logIn()
  } catch (error) {
    if (error instanceof Problem && error.problem === 'email_not_verified') {
      await recordChange(context, by, null, [['users', userId, 'no key update']], async (change) => {
        const user = change.held.users.get(userId)
        if (user && !user.emailVerified) await sendVerification(context, change, user)
      })
    }
    throw error
  }
}
