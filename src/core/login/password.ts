import { fail } from '../../lib/errors.ts'
import type { Origin } from '../audit/audit.ts'
import { type Caller, type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { revokeKeysOfUser } from '../keys/end.ts'
import { voidTokens } from '../one-time-tokens/one-time-tokens.ts'
import { requirePassword } from '../passwords/policy.ts'
import { OPERATOR, type UserPrincipal } from '../principal.ts'
import { endSessionsOfUser, type Grant, issueTokens, openSession } from '../sessions/sessions.ts'
import { findUserById, setPassword, type UserRow } from '../users/accounts.ts'
import { requireCurrentPassword } from './current-password.ts'
import type { PasswordChange } from './model.ts'
import { forgetGuesses } from './throttle.ts'

/**
 * A user sets a new password. Every session ends, this one too; the answer begins a new one. The limit `password` bounds
 * guesses at the current one; those of strangers at the log-in neither count here nor refuse it.
 * @throws Problem invalid_login, validation_failed, unavailable, conflict where it changed meanwhile
 */
export async function changePassword(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  input: PasswordChange,
): Promise<Grant> {
  const user = await findUserById(context.db, caller.userId)
  if (!user) fail('invalid_login')
  // Before the current one is checked: nothing is hashed for a password that may not be chosen.
  const password = await requirePassword(context.config, user.email, input.new_password, '/new_password')
  await requireCurrentPassword(context, origin, user, input.current_password, 'password_change')
  const passwordHash = await context.passwords.hash(password, { address: origin.ip, account: user.email })
  const revokesKeys = input.revoke_keys === true
  const locks = locksOfPassword(user.id, revokesKeys)
  const { session, narrowing } = await recordChange(context, origin, caller, locks, async (change) => {
    const now = change.held.users.get(user.id)
    if (now?.passwordChangedAt?.getTime() !== user.passwordChangedAt?.getTime()) fail('conflict')
    const details = await replacePassword(change, user.id, passwordHash, revokesKeys)
    await tellOfPassword(change, user)
    await change.record({
      action: 'user.password_changed',
      target: { type: 'user', id: user.id },
      details,
    })
    // The new session does no more than the one that asked for it.
    const { claims, scopes } = change.caller
    const narrowing = claims.isNarrowed ? scopes : null
    return { session: await openSession(context, change, origin, user.id, narrowing), narrowing }
  })
  return issueTokens(context, user, session, session.expiresAt, narrowing)
}

/**
 * An operator sets a user's password. Every session and reset ends, and failed log-ins are forgotten; on wish the keys end
 * too.
 * @throws Problem not_found, validation_failed, unavailable
 */
export async function setPasswordFor(
  context: Context,
  origin: Origin,
  userId: string,
  chosen: string,
  { revokesKeys }: { revokesKeys: boolean },
): Promise<{ sessions_ended: number; keys_revoked: number }> {
  const user = (await findUserById(context.db, userId)) ?? fail('not_found')
  const password = await requirePassword(context.config, user.email, chosen)
  const passwordHash = await context.passwords.hash(password, { address: origin.ip, account: user.email })
  const locks = locksOfPassword(user.id, revokesKeys)
  return recordChange(context, origin, OPERATOR, locks, async (change) => {
    if (!change.held.users.has(user.id)) fail('not_found')
    const details = await replacePassword(change, user.id, passwordHash, revokesKeys)
    await forgetGuesses(change.tx, context, user.email)
    await tellOfPassword(change, user)
    const target = { type: 'user' as const, id: user.id }
    await change.record({ action: 'user.password_changed', target, details })
    return details
  })
}

/** Tells a user that their password is another one now. */
export const tellOfPassword = (
  { queueMail }: Pick<Change<Caller>, 'queueMail'>,
  { id, email }: Pick<UserRow, 'id' | 'email'>,
): Promise<void> => queueMail({ kind: 'password_changed', to: email, userId: id })

/** What a new password ends is locked with its user. */
export const locksOfPassword = (userId: string, revokesKeys: boolean): Lock[] => {
  const kinds = [
    'users',
    'sessionsOfUser',
    ...(revokesKeys ? (['accountsOfUser', 'keysOfUser', 'keysOfAccountsOfUser'] as const) : []),
  ] as const
  return kinds.map((what) => [what, userId, 'no key update'])
}

/**
 * Sets the password, and ends everything that stood on the old one: sessions, one-time tokens, and on wish the keys, also
 * those of the service accounts that nobody else manages.
 */
export async function replacePassword(
  { tx, now, record }: Pick<Change<Caller>, 'tx' | 'now' | 'record'>,
  userId: string,
  passwordHash: string,
  revokesKeys: boolean,
) {
  await setPassword(tx, userId, passwordHash, now)
  const sessions = await endSessionsOfUser(tx, userId, now, 'password_changed')
  const keys = revokesKeys ? await revokeKeysOfUser(tx, record, userId, now, 'password_changed') : 0
  await voidTokens(tx, userId, now)
  return { sessions_ended: sessions, keys_revoked: keys }
}
