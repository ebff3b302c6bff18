import { fail, failField } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import type { Origin } from '../audit/audit.ts'
import { ADMINS_ONLY, isByAdmin } from '../change/power.ts'
import { type Caller, type Change, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { mailLink, requireMail } from '../mail/link.ts'
import type { Operator, Principal, UserPrincipal } from '../principal.ts'
import type { NewUser } from './model.ts'
import type { UserRow } from './queries.ts'

/**
 * Whether a caller may invite a new user: an admin, by mail, and without a password, which the user chooses.
 * @throws Problem conflict without SMTP_URL, forbidden, validation_failed
 */
export function requireInvitable(
  context: Context,
  caller: Principal | Operator,
  { password }: Pick<NewUser, 'password'>,
): void {
  if (!isByAdmin(caller)) fail('forbidden', { detail: ADMINS_ONLY })
  if (password !== undefined)
    failField('/password', 'Must be left out where the user is invited to choose one')
  requireMail(context)
}

/** Mails the link by which an invited user sets a password and proves the address, within the mailbox's limit. */
export async function sendInvitation<C extends Caller>(
  context: Context,
  change: Change<C>,
  { id, email }: Pick<UserRow, 'id' | 'email'>,
): Promise<void> {
  const { caller } = change
  const issuedBy = caller?.kind === 'user' ? { issuedBy: caller.userId } : {}
  const link = { kind: 'invitation', purpose: 'invite', userId: id, email, ...issuedBy } as const
  if (!(await mailLink(context, change, link))) return
  await change.record({ action: 'user.invited', target: { type: 'user', id }, details: { email } })
}

/**
 * Sends an invitation again, which voids the one before.
 * @throws Problem not_found, conflict without SMTP_URL and where the user has a password
 */
export async function inviteAgain(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  userId: string,
): Promise<void> {
  requireMail(context)
  if (!isId(userId)) fail('not_found')
  await recordChange(context, origin, caller, [['users', userId, 'no key update']], async (change) => {
    const user = change.held.users.get(userId) ?? fail('not_found')
    if (user.passwordHash !== null) fail('conflict', { detail: 'The user has a password already.' })
    if (!user.isActive) fail('conflict', { detail: 'The user is disabled.' })
    await sendInvitation(context, change, user)
  })
}
