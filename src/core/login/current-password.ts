import { fail } from '../../lib/errors.ts'
import { type Origin, recordEvent } from '../audit/audit.ts'
import { requireRecent } from '../change/recent.ts'
import type { Change } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { UserPrincipal } from '../principal.ts'
import { findUserById, type UserRow } from '../users/accounts.ts'

/** The change for which a password is asked, as the audit trail names it. */
export type ChangeOfAccount = 'password_change' | 'email_change' | 'deletion'

/** What a person proved before a change of their own account, and their row as it was then. */
export type ProvedUser = { user: UserRow; usedPassword: boolean }

/**
 * Asks a person for the password before a change of their own account. The right one is the recent authentication of
 * somebody without a second factor; somebody with one needs both; somebody without a password leaves it out and needs
 * recent authentication.
 * @param at names the change in the audit trail
 * @throws Problem invalid_login where the password is wrong or missing, reauthentication_required, unavailable
 */
export async function requireCurrentPassword(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  password: string | undefined,
  at: ChangeOfAccount,
): Promise<ProvedUser> {
  if (caller.hasSecondFactor) requireRecent(context, caller)
  const user = (await findUserById(context.db, caller.userId)) ?? fail('invalid_login')
  if (user.passwordHash === null) requireRecent(context, caller)
  if (user.passwordHash === null && password === undefined) return { user, usedPassword: false }
  await checkOwnPassword(context, origin, user, password, at)
  return { user, usedPassword: true }
}

/**
 * Repeats the check on the locked rows: the password is still the one that was checked, and the proof still suffices.
 * @throws Problem conflict where the password changed meanwhile, reauthentication_required
 */
export function requireStillProved(
  context: Pick<Context, 'clock'>,
  { caller, held }: Change<UserPrincipal>,
  { user, usedPassword }: ProvedUser,
): void {
  const now = held.users.get(user.id)
  if (now?.passwordChangedAt?.getTime() !== user.passwordChangedAt?.getTime()) fail('conflict')
  if (caller.hasSecondFactor || !usedPassword) requireRecent(context, caller)
}

/**
 * Checks the password of somebody who is signed in. The limit `password` bounds guesses; those of strangers at the log-in
 * neither count here nor refuse it.
 * @throws Problem invalid_login, unavailable
 */
export async function checkOwnPassword(
  context: Context,
  origin: Origin,
  user: UserRow,
  password: string | undefined,
  at: string,
): Promise<void> {
  const hashedFor = { address: origin.ip, account: user.email }
  const fits = password !== undefined && (await context.passwords.verify(password, user, hashedFor))
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
