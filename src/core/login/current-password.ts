import { fail } from '../../lib/errors.ts'
import { type Origin, recordEvent } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import type { UserRow } from '../users/accounts.ts'

/**
 * Checks the current password of a user who is logged in. The limit `password` bounds guesses; those of strangers at the
 * log-in neither count here nor refuse it.
 * @param at for the audit trail: what it is asked for
 * @throws Problem invalid_login where it is wrong or missing
 */
export async function requireCurrentPassword(
  context: Context,
  origin: Origin,
  user: UserRow,
  typed: string | undefined,
  at: 'password_change' | 'email_change' | 'deletion',
): Promise<void> {
  const hashedFor = { address: origin.ip, account: user.email }
  const fits = typed !== undefined && (await context.passwords.verify(typed, user, hashedFor))
  context.metrics.passwordChecks[fits ? 'right' : 'wrong'] += 1
  if (fits) return
  await recordEvent(context.db, context, origin, {
    action: 'user.login_failed',
    outcome: 'refused',
    target: { type: 'user', id: user.id },
    details: { at },
  })
  fail('invalid_login', { detail: 'The current password is not right.' })
}
