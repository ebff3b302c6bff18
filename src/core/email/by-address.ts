import { failField } from '../../lib/errors.ts'
import type { Origin } from '../audit/audit.ts'
import { type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { inEqualTime, requireMail } from '../mail/link.ts'
import { mayMail } from '../mail/mailbox.ts'
import { findUserByEmail, type UserRow } from '../users/accounts.ts'
import { normaliseEmail } from '../users/email.ts'
import { issueVerification } from './send-verification.ts'

/**
 * Mails something to the active user of an address, where there is one. The answer and its time are the same for every
 * address: the mailbox's counter is written for each, and nothing waits for the mail server.
 * @param write is called only while the mailbox has room
 * @throws Problem conflict without SMTP_URL, validation_failed where it is no address
 */
export async function mailToAddress(
  context: Context,
  origin: Origin,
  typed: string,
  write: (change: Change<null>, user: UserRow) => Promise<void>,
): Promise<void> {
  requireMail(context)
  const email =
    normaliseEmail(typed) ?? failField('/email', 'Must be an e-mail address of at most 254 characters')
  await inEqualTime(async () => {
    const user = await findUserByEmail(context.db, email)
    const locks: Lock[] = user ? [['users', user.id, 'no key update']] : []
    await recordChange(context, origin, null, locks, async (change) => {
      if (!(await mayMail(change.tx, context, email, change.now))) return
      const present = user && change.held.users.get(user.id)
      if (present?.isActive && present.email === email) await write(change, present)
    })
  })
}

/** Mails the link that proves an address once more. The answer does not tell whether the address is known. */
export function resendVerification(context: Context, origin: Origin, email: string): Promise<void> {
  return mailToAddress(context, origin, email, async (change, user) => {
    if (!user.emailVerified) await issueVerification(change, user)
  })
}
