import { fail } from '../../lib/errors.ts'
import type { Origin } from '../audit/audit.ts'
import { type Caller, type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { revokeKeysOfUser } from '../keys/end.ts'
import { revokeManyKeysOfUser } from '../keys/steps.ts'
import { voidTokens } from '../one-time-tokens/one-time-tokens.ts'
import { requirePassword } from '../passwords/policy.ts'
import { OPERATOR, type Operator, type UserPrincipal } from '../principal.ts'
import { joinAmr } from '../second-factors/proofs.ts'
import {
  endOtherSessionsOfUser,
  endSessionsOfUser,
  type Grant,
  issueTokens,
  openSession,
  replaceSalt,
} from '../sessions/sessions.ts'
import { findUserById, setPassword, type UserRow } from '../users/accounts.ts'
import { requireCurrentPassword, requireStillProved } from './current-password.ts'
import type { PasswordChange } from './model.ts'
import { forgetGuesses } from './throttle.ts'

/**
 * Changes the caller's own password by a token of an API session. Every session ends, this one too, and the answer
 * starts a new one. Guesses at the current password count against the limit `password`. Failed log-ins of strangers do
 * not, so they cannot keep the user from changing it.
 * @throws Problem wrong_credential_kind for a token of another kind of session, invalid_login, validation_failed,
 * reauthentication_required, unavailable, conflict where the password was changed meanwhile
 */
export async function changePassword(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  input: PasswordChange,
): Promise<Grant> {
  if (caller.sessionKind !== 'api') {
    fail('wrong_credential_kind', { detail: 'In a browser session use POST /session/password.' })
  }
  const { user, replacement, isRenewed } = await prepareChange(context, origin, caller, input)
  const { session, narrowing } = await replacePassword(
    context,
    origin,
    caller,
    replacement,
    async (change) => {
      await tellOfPassword(change, user)
      // The new session is limited to the scopes of the session that asked for it.
      const { amr, authTime, claims, scopes } = change.caller
      const narrowing = claims.isNarrowed ? scopes : null
      const authentication = isRenewed(change) ? { amr: joinAmr(amr, ['pwd']) } : { amr, authTime }
      const wanted = { kind: 'api', scopes: narrowing, ...authentication } as const
      return { session: await openSession(context, change, origin, user, wanted), narrowing }
    },
  )
  return issueTokens(context, user, session, session, narrowing)
}

/**
 * The same in a browser. Every other session ends; this one goes on with another salt, so that its cookie from before is
 * void.
 * @returns the new salt
 * @throws Problem as `changePassword`
 */
export async function changePasswordInBrowser(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  input: PasswordChange,
): Promise<Uint8Array> {
  const { user, replacement } = await prepareChange(context, origin, caller, input)
  const { sessionId } = caller
  const kept: Replacement<UserPrincipal> = {
    ...replacement,
    keeps: sessionId,
    locks: [['sessions', sessionId, 'no key update']],
  }
  return replacePassword(context, origin, caller, kept, async (change) => {
    await tellOfPassword(change, user)
    return replaceSalt(change.tx, sessionId)
  })
}

/** Checks what a user's own change of password asks for, and hashes the new one. */
async function prepareChange(context: Context, origin: Origin, caller: UserPrincipal, input: PasswordChange) {
  // Before the current one is checked: nothing is hashed for a password that may not be chosen.
  const password = await requirePassword(context.config, caller.email, input.new_password, '/new_password')
  const proved = await requireCurrentPassword(
    context,
    origin,
    caller,
    input.current_password,
    'password_change',
  )
  const { user, usedPassword } = proved
  const replacement: Replacement<UserPrincipal> = {
    userId: user.id,
    passwordHash: await context.passwords.hash(password, { address: origin.ip, account: user.email }),
    revokesKeys: input.revoke_keys === true,
    action: 'user.password_changed',
    check: async (change) => requireStillProved(context, change, proved),
  }
  // The password alone renews nothing for a person who has a second factor.
  const isRenewed = (change: Change<UserPrincipal>) => usedPassword && !change.caller.hasSecondFactor
  return { user, replacement, isRenewed }
}

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
  /** The session that continues; all others end. */
  keeps?: string
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
  { userId, passwordHash, revokesKeys, action, locks = [], keeps, check }: Replacement<C>,
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
    const sessions =
      keeps === undefined
        ? await endSessionsOfUser(tx, userId, now, reason)
        : await endOtherSessionsOfUser(tx, userId, keeps, now, reason)
    const left = revokesKeys ? await revokeKeysOfUser(tx, record, userId, now, reason) : 0
    const ended = { sessions_ended: sessions, keys_revoked: before + left }
    await record({ action, target: { type: 'user', id: userId }, details: ended })
    const result = await work(change, ended)
    // After the work, which may use one of these tokens.
    await voidTokens(tx, userId, now)
    return result
  })
}
