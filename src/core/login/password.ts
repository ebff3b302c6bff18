import { fail } from '../../lib/errors.ts'
import type { Origin } from '../audit/audit.ts'
import { type Caller, type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { revokeKeysOfUser } from '../keys/end.ts'
import { revokeManyKeysOfUser } from '../keys/steps.ts'
import { voidTokens } from '../one-time-tokens/one-time-tokens.ts'
import { requirePassword } from '../passwords/policy.ts'
import { OPERATOR, type Operator, type UserPrincipal } from '../principal.ts'
import { endSessionsOfUser, type Grant, issueTokens, openSession } from '../sessions/sessions.ts'
import { findUserById, setPassword, type UserRow } from '../users/accounts.ts'
import { requireCurrentPassword } from './current-password.ts'
import type { PasswordChange } from './model.ts'
import { forgetGuesses } from './throttle.ts'

/**
 * Changes the caller's own password. Every session ends, this one too, and the answer starts a new one. Guesses at the
 * current password count against the limit `password`. Failed log-ins of strangers do not, so they cannot keep the user
 * from changing it.
 * @throws Problem invalid_login, validation_failed, unavailable, conflict where the password was changed meanwhile
 */
export async function changePassword(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  input: PasswordChange,
): Promise<Grant> {
  const user = await findUserById(context.db, caller.userId)
  if (!user) fail('invalid_login')
  // Before the current password is verified, so that a new password that may not be chosen causes no hashing.
  const password = await requirePassword(context.config, user.email, input.new_password, '/new_password')
  await requireCurrentPassword(context, origin, user, input.current_password, 'password_change')
  const passwordHash = await context.passwords.hash(password, { address: origin.ip, account: user.email })
  const revokesKeys = input.revoke_keys === true
  const replacement: Replacement<UserPrincipal> = {
    userId: user.id,
    passwordHash,
    revokesKeys,
    action: 'user.password_changed',
    async check({ held }) {
      const now = held.users.get(user.id)
      if (now?.passwordChangedAt?.getTime() !== user.passwordChangedAt?.getTime()) fail('conflict')
    },
  }
  const { session, narrowing } = await replacePassword(
    context,
    origin,
    caller,
    replacement,
    async (change) => {
      await tellOfPassword(change, user)
      // The new session is limited to the scopes of the session that asked for it.
      const { claims, scopes } = change.caller
      const narrowing = claims.isNarrowed ? scopes : null
      return { session: await openSession(context, change, origin, user.id, narrowing), narrowing }
    },
  )
  return issueTokens(context, user, session, session.expiresAt, narrowing)
}

/**
/**
 * An operator sets a user's password. Every session and one-time token ends, and the failed log-ins of the account are
 * forgotten.
 * @param options.revokesKeys also revokes the user's keys
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
  const replacement: Replacement<Operator> = {
    userId: user.id,
    passwordHash,
    revokesKeys,
    action: 'user.password_changed',
    async check({ held }) {
      if (!held.users.has(user.id)) fail('not_found')
    },
  }
  return replacePassword(context, origin, OPERATOR, replacement, async (change, ended) => {
    await forgetGuesses(change.tx, context, user.email)
    await tellOfPassword(change, user)
    return ended
  })
}

/** Tells a user by mail that their password was changed. */
export const tellOfPassword = (
  { queueMail }: Pick<Change<Caller>, 'queueMail'>,
  { id, email }: Pick<UserRow, 'id' | 'email'>,
): Promise<void> => queueMail({ kind: 'password_changed', to: email, userId: id })

/** Locks of the user and of everything that ends with the old password. */
const locksOfPassword = (userId: string, revokesKeys: boolean): Lock[] => {
  const kinds = [
    'users',
    'sessionsOfUser',
    ...(revokesKeys ? (['accountsOfUser', 'keysOfUser', 'keysOfAccountsOfUser'] as const) : []),
  ] as const
  return kinds.map((what) => [what, userId, 'no key update'])
}

/** A new password for a user, whose row is locked in addition to `locks`. */
export type Replacement<C extends Caller> = {
  userId: string
  passwordHash: string
  revokesKeys: boolean
  action: 'user.password_changed' | 'user.password_reset'
  locks?: readonly Lock[]
  /** Checked in every step that revokes keys, and when the password is stored. */
  check(change: Change<C>): Promise<void>
}

type Ended = { sessions_ended: number; keys_revoked: number }

/**
 * Stores a password, and ends everything that depends on the old one: sessions, one-time tokens, and on request the keys,
 * including those of service accounts that no other user manages. Many keys are revoked in steps before. Where a step
 * fails, the old password stays, and the same request revokes the rest.
 * @param work what else belongs to the change
 */
export async function replacePassword<C extends Caller, R>(
  context: Context,
  origin: Origin,
  caller: C,
  { userId, passwordHash, revokesKeys, action, locks = [], check }: Replacement<C>,
  work: (change: Change<C>, ended: Ended) => Promise<R>,
): Promise<R> {
  const reason = 'password_changed'
  const stepLocks: Lock[] = [['users', userId, 'no key update'], ...locks]
  const before = revokesKeys
    ? await revokeManyKeysOfUser(context, origin, caller, userId, reason, stepLocks, check)
    : 0
  const allLocks = [...locksOfPassword(userId, revokesKeys), ...locks]
  return recordChange(context, origin, caller, allLocks, async (change) => {
    await check(change)
    const { tx, now, record } = change
    await setPassword(tx, userId, passwordHash, now)
    const sessions = await endSessionsOfUser(tx, userId, now, reason)
    const left = revokesKeys ? await revokeKeysOfUser(tx, record, userId, now, reason) : 0
    const ended = { sessions_ended: sessions, keys_revoked: before + left }
    await record({ action, target: { type: 'user', id: userId }, details: ended })
    const result = await work(change, ended)
    // After the work, which may use one of these tokens.
    await voidTokens(tx, userId, now)
    return result
  })
}
