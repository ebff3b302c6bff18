import { fail } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { type Page, type PageQuery, readPage } from '../../lib/page.ts'
import { MINUTE_MS } from '../../lib/time.ts'
import { hashToken, makeApiKey } from '../../lib/tokens.ts'
import { type Origin, onBehalfOf } from '../audit/audit.ts'
import { countEvent } from '../audit/counted-events.ts'
import { type Caller, type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { revokeKeysOfUser } from '../keys/end.ts'
import { revokeManyKeysOfUser } from '../keys/steps.ts'
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
import type { PasswordChange, PasswordReset, PasswordResetToken, PendingReset } from './model.ts'
import { deleteReset, deleteResets, findReset, insertReset, listResets, type ResetRow } from './queries.ts'
import { forgetGuesses } from './throttle.ts'

const RESET_PREFIX = 'pr_'
const RESET_LASTS_MS = 30 * MINUTE_MS

/**
 * A user sets a new password by a token of an API session. Every session ends, this one too; the answer begins a new one.
 * The limit `password` bounds guesses at the current password; those of strangers at the log-in neither count here nor
 * refuse it.
 * @throws Problem wrong_credential_kind for a token of another kind of session, invalid_login, validation_failed,
 * reauthentication_required, unavailable, conflict where it changed meanwhile
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
      // The new session does no more than the one that asked for it.
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
  const { replacement } = await prepareChange(context, origin, caller, input)
  const { sessionId } = caller
  const kept: Replacement<UserPrincipal> = {
    ...replacement,
    keeps: sessionId,
    locks: [['sessions', sessionId, 'no key update']],
  }
  return replacePassword(context, origin, caller, kept, ({ tx }) => replaceSalt(tx, sessionId))
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
 * An admin makes a one-time token with which somebody who lost their password sets a new one. It replaces an older one,
 * and is good only while that admin is an active admin.
 * @returns the token, which nobody can read again, and its end
 * @throws Problem not_found, forbidden for another admin, unless ADMIN_RESETS_ADMIN
 */
export async function issuePasswordReset(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  userId: string,
): Promise<PasswordResetToken> {
  if (!isId(userId)) fail('not_found')
  const token = makeApiKey(RESET_PREFIX)
  const id = newId()
  const locks: Lock[] = [['users', userId, 'no key update']]
  const expiresAt = await recordChange(context, origin, caller, locks, async ({ tx, held, now, record }) => {
    const user = held.users.get(userId) ?? fail('not_found')
    if (!mayReset(context, held.users.get(caller.userId), user)) {
      fail('forbidden', { detail: 'Admins do not reset the password of another admin.' })
    }
    const expiresAt = new Date(now.getTime() + RESET_LASTS_MS)
    await deleteResets(tx, userId)
    const createdBy = caller.userId
    await insertReset(tx, { id, userId, hash: hashToken(token), createdAt: now, expiresAt, createdBy })
    await record({ action: 'user.reset_issued', target: { type: 'user', id: userId } })
    return expiresAt
  })
  return { token, expires_at: expiresAt.toISOString() }
}

/**
 * Whether somebody may have a user's password reset: an active admin, and only their own where the user is an admin too.
 * Asked again when the token is used: since then the issuer may have been demoted, or the user made an admin.
 */
function mayReset({ config }: Context, issuer: UserRow | undefined, user: UserRow): boolean {
  if (issuer?.role !== 'admin' || !issuer.isActive) return false
  return user.role !== 'admin' || user.id === issuer.id || config.adminResetsAdmin
}

/**
 * The resets of a user that may still be used, newest first.
 * @throws Problem not_found
 */
export async function listPasswordResets(
  context: Context,
  userId: string,
  page: PageQuery,
): Promise<Page<ResetRow>> {
  const user = isId(userId) ? await findUserById(context.db, userId) : null
  if (!user) fail('not_found')
  return readPage(context.keys.cursor, `resets ${userId}`, page, (rows) =>
    listResets(context.db, userId, new Date(context.clock()), rows),
  )
}

/** What admins see of a reset. */
export const presentReset = (reset: ResetRow): PendingReset => ({
  id: reset.id,
  created_by: reset.createdBy,
  created_at: reset.createdAt.toISOString(),
  expires_at: reset.expiresAt.toISOString(),
})

/**
 * Cancels a reset that was not used yet; again: the same answer.
 * @throws Problem not_found where the user is unknown
 */
export async function cancelPasswordReset(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  userId: string,
  id: string,
): Promise<void> {
  if (!isId(userId) || !isId(id)) fail('not_found')
  const locks: Lock[] = [['users', userId, 'no key update']]
  await recordChange(context, origin, caller, locks, async ({ tx, held, record }) => {
    if (!held.users.has(userId)) fail('not_found')
    if (!(await deleteReset(tx, userId, id))) return
    await record({ action: 'user.reset_cancelled', target: { type: 'user', id: userId } })
  })
}

/**
 * Sets a new password by a one-time token. Every session ends, and failed log-ins are forgotten.
 * @throws Problem invalid_token where it is unknown, used or over; validation_failed, which leaves it usable
 */
export async function resetPassword(
  context: Context,
  origin: Origin,
  { token, new_password: chosen, revoke_keys: revokesKeys = false }: PasswordReset,
): Promise<void> {
  const hash = hashToken(token)
  const reset = await findReset(context.db, hash, new Date(context.clock()))
  const user = reset ? await findUserById(context.db, reset.userId) : null
  if (!reset || !user?.isActive) return failReset(context, origin, user, user ? 'disabled' : 'unknown')
  const password = await requirePassword(context.config, user.email, chosen, '/new_password')
  const passwordHash = await context.passwords.hash(password, { address: origin.ip, account: user.email })
  const { createdBy } = reset
  const by = onBehalfOf(origin, user.id)
  let refusal: ResetRefusal | null = null
  const replacement: Replacement<null> = {
    userId: user.id,
    passwordHash,
    revokesKeys,
    action: 'user.password_reset',
    locks: createdBy === null ? [] : [['users', createdBy, 'share']],
    async check({ tx, held, now }) {
      const refuse = (reason: ResetRefusal) => {
        refusal = reason
        return fail('invalid_token')
      }
      const present = held.users.get(user.id) ?? refuse('unknown')
      if (!present.isActive) refuse('disabled')
      if (createdBy !== null && !mayReset(context, held.users.get(createdBy), present)) refuse('issuer')
      // Of two at once the second waits for the lock on the user, and then finds none.
      if (!(await findReset(tx, hash, now))) refuse('unknown')
    },
  }
  try {
    await replacePassword(context, by, null, replacement, ({ tx }) => forgetGuesses(tx, context, user.email))
  } catch (error) {
    if (refusal === null) throw error
    return failReset(context, origin, user, refusal)
  }
}

/** Why a reset is refused: the token or its user is gone, the user is disabled, or its issuer may not reset them now. */
type ResetRefusal = 'unknown' | 'disabled' | 'issuer'

/** @throws Problem invalid_token */
async function failReset(
  context: Context,
  origin: Origin,
  user: UserRow | null,
  reason: ResetRefusal,
): Promise<never> {
  await countEvent(context, origin, {
    action: 'user.reset_refused',
    outcome: 'refused',
    ...(user && { target: { type: 'user', id: user.id } }),
    details: { reason },
  })
  return fail('invalid_token')
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
  const replacement: Replacement<Operator> = {
    userId: user.id,
    passwordHash,
    revokesKeys,
    action: 'user.password_changed',
    async check({ held }) {
      if (!held.users.has(user.id)) fail('not_found')
    },
  }
  return replacePassword(context, origin, OPERATOR, replacement, async ({ tx }, ended) => {
    await forgetGuesses(tx, context, user.email)
    return ended
  })
}

/** What a new password ends is locked with its user. */
const locksOfPassword = (userId: string, revokesKeys: boolean): Lock[] => {
  const kinds = [
    'users',
    'sessionsOfUser',
    ...(revokesKeys ? (['accountsOfUser', 'keysOfUser', 'keysOfAccountsOfUser'] as const) : []),
  ] as const
  return kinds.map((what) => [what, userId, 'no key update'])
}

/** A new password of a user, whose row is locked besides `locks`. */
type Replacement<C extends Caller> = {
  userId: string
  passwordHash: string
  revokesKeys: boolean
  action: 'user.password_changed' | 'user.password_reset'
  locks?: readonly Lock[]
  /** The session that goes on; all others end. */
  keeps?: string
  /** Must hold whenever keys end, and in the moment that the password changes. */
  check(change: Change<C>): Promise<void>
}

type Ended = { sessions_ended: number; keys_revoked: number }

/**
 * Sets the password, and ends everything that stood on the old one: sessions, resets, and on wish the keys, also those of
 * the service accounts that nobody else manages. Many keys end in steps before: where one of these fails, the old password
 * stays, and the same request ends the rest.
 * @param work what else belongs to the change
 */
async function replacePassword<C extends Caller, R>(
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
    await deleteResets(tx, userId)
    const ended = { sessions_ended: sessions, keys_revoked: before + left }
    await record({ action, target: { type: 'user', id: userId }, details: ended })
    return work(change, ended)
  })
}
