import type { Transaction } from '../../db/database.ts'
import { fail } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import { MINUTE_MS } from '../../lib/time.ts'
import { hashToken, makeApiKey } from '../../lib/tokens.ts'
import { type Origin, onBehalfOf, type RecordEvent, recordChange, recordEvent } from '../audit/audit.ts'
import { countEvent } from '../audit/counted-events.ts'
import type { Context } from '../context.ts'
import { revokeKeysOfUser } from '../keys/end.ts'
import { requirePassword } from '../passwords/policy.ts'
import type { UserPrincipal } from '../principal.ts'
import { endSessionsOfUser, type Grant, issueTokens, openSession } from '../sessions/sessions.ts'
import { findUserById, lockUser, setPassword } from '../users/accounts.ts'
import type { PasswordChange, PasswordReset, PasswordResetToken } from './model.ts'
import { deleteResets, findReset, insertReset, takeReset } from './queries.ts'
import { forgetGuesses } from './throttle.ts'

const RESET_PREFIX = 'pr_'
const RESET_LASTS_MS = 30 * MINUTE_MS

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
  const hashedFor = { address: origin.ip, account: user.email }
  const fits = await context.passwords.verify(input.current_password, user.passwordHash, hashedFor)
  context.metrics.passwordChecks[fits ? 'right' : 'wrong'] += 1
  if (!fits) {
    const target = { type: 'user' as const, id: user.id }
    const details = { at: 'password_change' }
    await recordEvent(context.db, context, origin, {
      action: 'user.login_failed',
      outcome: 'refused',
      target,
      details,
    })
    fail('invalid_login', { detail: 'The current password is not right.' })
  }
  const passwordHash = await context.passwords.hash(password, hashedFor)
  const session = await recordChange(context, origin, async (tx, record) => {
    const now = await lockUser(tx, user.id)
    if (!now?.isActive || now.passwordChangedAt?.getTime() !== user.passwordChangedAt?.getTime())
      fail('conflict')
    const details = await replacePassword(
      tx,
      record,
      context,
      user.id,
      passwordHash,
      input.revoke_keys === true,
    )
    await record({ action: 'user.password_changed', target: { type: 'user', id: user.id }, details })
    return openSession(tx, record, context, origin, user.id)
  })
  return issueTokens(context, user, session, session.expiresAt)
}

/**
 * An admin makes a one-time token with which somebody who lost their password sets a new one. It replaces an older one.
 * @returns the token, which nobody can read again, and its end
 * @throws Problem not_found
 */
export async function issuePasswordReset(
  context: Context,
  origin: Origin,
  userId: string,
): Promise<PasswordResetToken> {
  const now = context.clock()
  const token = makeApiKey(RESET_PREFIX)
  const expiresAt = new Date(now + RESET_LASTS_MS)
  await recordChange(context, origin, async (tx, record) => {
    if (!(await lockUser(tx, userId))) fail('not_found')
    await deleteResets(tx, userId)
    await insertReset(tx, {
      id: newId(),
      userId,
      hash: hashToken(token),
      createdAt: new Date(now),
      expiresAt,
    })
    await record({ action: 'user.reset_issued', target: { type: 'user', id: userId } })
  })
  return { token, expires_at: expiresAt.toISOString() }
}

/**
 * Sets a new password by a one-time token. Every session ends, and failed log-ins are forgotten.
 * @throws Problem invalid_token where it is unknown, used or over; validation_failed, which leaves it usable
 */
export async function resetPassword(
  context: Context,
  origin: Origin,
  { token, new_password: chosen }: PasswordReset,
): Promise<void> {
  const hash = hashToken(token)
  const reset = await findReset(context.db, hash, new Date(context.clock()))
  const user = reset ? await findUserById(context.db, reset.userId) : null
  if (!user?.isActive) {
    await countEvent(context, origin, {
      action: 'user.reset_refused',
      outcome: 'refused',
      ...(user && { target: { type: 'user', id: user.id } }),
      details: { reason: user ? 'disabled' : 'unknown' },
    })
    fail('invalid_token')
  }
  const password = await requirePassword(context.config, user.email, chosen, '/new_password')
  const passwordHash = await context.passwords.hash(password, { address: origin.ip, account: user.email })
  await recordChange(context, onBehalfOf(origin, user.id), async (tx, record) => {
    const now = await lockUser(tx, user.id)
    const isTaken = await takeReset(tx, hash, new Date(context.clock()))
    if (!now?.isActive || !isTaken) fail('invalid_token')
    const details = await replacePassword(tx, record, context, user.id, passwordHash, false)
    await forgetGuesses(tx, context, user.email)
    await record({ action: 'user.password_reset', target: { type: 'user', id: user.id }, details })
  })
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
  return recordChange(context, origin, async (tx, record) => {
    if (!(await lockUser(tx, user.id))) fail('not_found')
    const details = await replacePassword(tx, record, context, user.id, passwordHash, revokesKeys)
    await forgetGuesses(tx, context, user.email)
    await record({ action: 'user.password_changed', target: { type: 'user', id: user.id }, details })
    return details
  })
}

/** The password, and everything that stood on the old one: sessions, resets, and on wish the keys. */
async function replacePassword(
  tx: Transaction,
  record: RecordEvent,
  context: Context,
  userId: string,
  passwordHash: string,
  revokesKeys: boolean,
) {
  const now = new Date(context.clock())
  await setPassword(tx, userId, passwordHash, now)
  await deleteResets(tx, userId)
  const sessions = await endSessionsOfUser(tx, userId, now, 'password_changed')
  const keys = revokesKeys ? await revokeKeysOfUser(tx, record, userId, now, 'password_changed') : 0
  return { sessions_ended: sessions, keys_revoked: keys }
}
