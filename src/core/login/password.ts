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
import { requirePassword } from '../passwords/policy.ts'
import { OPERATOR, type UserPrincipal } from '../principal.ts'
import { joinAmr } from '../second-factors/proofs.ts'
import { endSessionsOfUser, type Grant, issueTokens, openSession } from '../sessions/sessions.ts'
import { findUserById, setPassword, type UserRow } from '../users/accounts.ts'
import { requireCurrentPassword, requireStillProved } from './current-password.ts'
import type { PasswordChange, PasswordReset, PasswordResetToken, PendingReset } from './model.ts'
import {
  deleteReset,
  deleteResets,
  findReset,
  insertReset,
  listResets,
  type ResetRow,
  takeReset,
} from './queries.ts'
import { forgetGuesses } from './throttle.ts'

const RESET_PREFIX = 'pr_'
const RESET_LASTS_MS = 30 * MINUTE_MS

/**
 * A user sets a new password. Every session ends, this one too; the answer begins a new one.
 * @throws Problem invalid_login, reauthentication_required, validation_failed, unavailable, conflict where it changed
 * meanwhile, wrong_credential_kind for a browser session
 */
export async function changePassword(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  input: PasswordChange,
): Promise<Grant> {
  if (caller.sessionKind !== 'api') {
    fail('wrong_credential_kind', { detail: 'A browser session changes the password at /session/password.' })
  }
  // Before the current one is checked: nothing is hashed for a password that may not be chosen.
  const password = await requirePassword(context.config, caller.email, input.new_password, '/new_password')
  const proved = await requireCurrentPassword(
    context,
    origin,
    caller,
    input.current_password,
    'password_change',
  )
  const { user } = proved
  const passwordHash = await context.passwords.hash(password, { address: origin.ip, account: user.email })
  const revokesKeys = input.revoke_keys === true
  const locks = locksOfPassword(user.id, revokesKeys)
  const { session, narrowing } = await recordChange(context, origin, caller, locks, async (change) => {
    requireStillProved(context, change, proved)
    const details = await replacePassword(change, user.id, passwordHash, revokesKeys)
    await change.record({
      action: 'user.password_changed',
      target: { type: 'user', id: user.id },
      details,
    })
    // The new session does no more than the one that asked for it.
    const { claims, scopes, amr, authTime } = change.caller
    const narrowing = claims.isNarrowed ? scopes : null
    // The password alone renews nothing for somebody who has a second factor.
    const isRenewed = proved.usedPassword && !change.caller.hasSecondFactor
    const authentication = isRenewed ? { amr: joinAmr(amr, ['pwd']) } : { amr, authTime }
    const wanted = { kind: 'api', scopes: narrowing, ...authentication } as const
    return { session: await openSession(context, change, origin, user, wanted), narrowing }
  })
  return issueTokens(context, user, session, session, narrowing)
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
  if (!reset || !user?.isActive) {
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
  const { createdBy } = reset
  const locks: Lock[] = [
    ...locksOfPassword(user.id, revokesKeys),
    ...(createdBy === null ? [] : [['users', createdBy, 'share'] as const]),
  ]
  await recordChange(context, onBehalfOf(origin, user.id), null, locks, async (change) => {
    const { tx, held, now, record } = change
    const present = held.users.get(user.id)
    const isIssued = createdBy === null || (present && mayReset(context, held.users.get(createdBy), present))
    if (!isIssued || !present?.isActive) fail('invalid_token')
    if (!(await takeReset(tx, hash, now))) fail('invalid_token')
    const details = await replacePassword(change, user.id, passwordHash, revokesKeys)
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
  const locks = locksOfPassword(user.id, revokesKeys)
  return recordChange(context, origin, OPERATOR, locks, async (change) => {
    if (!change.held.users.has(user.id)) fail('not_found')
    const details = await replacePassword(change, user.id, passwordHash, revokesKeys)
    await forgetGuesses(change.tx, context, user.email)
    const target = { type: 'user' as const, id: user.id }
    await change.record({ action: 'user.password_changed', target, details })
    return details
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

/**
 * Sets the password, and ends everything that stood on the old one: sessions, resets, and on wish the keys, also those of
 * the service accounts that nobody else manages.
 */
async function replacePassword(
  { tx, now, record }: Change<Caller>,
  userId: string,
  passwordHash: string,
  revokesKeys: boolean,
) {
  await setPassword(tx, userId, passwordHash, now)
  const sessions = await endSessionsOfUser(tx, userId, now, 'password_changed')
  const keys = revokesKeys ? await revokeKeysOfUser(tx, record, userId, now, 'password_changed') : 0
  await deleteResets(tx, userId)
  return { sessions_ended: sessions, keys_revoked: keys }
}
