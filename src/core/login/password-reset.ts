import { fail, failToken } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { type Page, type PageQuery, readPage } from '../../lib/page.ts'
import { type Origin, onBehalfOf } from '../audit/audit.ts'
import { countEvent } from '../audit/counted-events.ts'
import { type Change, changedMeanwhile, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { mailToAddress } from '../email/by-address.ts'
import { endGrantsOfUser } from '../grants/grants.ts'
import { issueLink, mailLink, requireMail } from '../mail/link.ts'
import {
  findLiveToken,
  findLiveTokenById,
  issueToken,
  type LiveToken,
  listTokens,
  type OneTimeTokenRow,
  tokenOf,
  useToken,
  voidToken,
} from '../one-time-tokens/one-time-tokens.ts'
import { requirePassword } from '../passwords/policy.ts'
import type { UserPrincipal } from '../principal.ts'
import { removeEveryFactor } from '../second-factors/factors.ts'
import { disableAccounts, managedAloneBy } from '../service-accounts/service-accounts.ts'
import { findUserById, setVerifiedEmail, type UserRow } from '../users/accounts.ts'
import type { PasswordReset, PasswordResetToken, PendingReset } from './model.ts'
import { type Replacement, replacePassword, tellOfPassword } from './password.ts'
import { forgetGuesses } from './throttle.ts'

/** The mail says what the reset removes where the address is not verified. */
const linkFor = ({ id, email, emailVerified }: UserRow) =>
  ({
    kind: emailVerified ? 'reset_password' : 'reset_password_unverified',
    purpose: 'reset',
    userId: id,
    email,
  }) as const

/**
 * Mails the link for a new password to a user who forgot the old one. The answer does not tell whether the address is
 * known.
 * @throws Problem conflict without SMTP_URL, validation_failed
 */
export function requestPasswordReset(context: Context, origin: Origin, email: string): Promise<void> {
  return mailToAddress(context, origin, email, async (change, user) => {
    await issueLink(change, linkFor(user))
    await change.record({ action: 'user.reset_requested', target: { type: 'user', id: user.id } })
  })
}

/**
 * An admin makes a one-time token with which somebody who lost their password sets a new one. It replaces an older one,
 * and is good only while that admin is an active admin.
 * @param sends whether it is mailed to the user, and not handed to the admin
 * @returns the token, which cannot be read again, and its expiry; null where it is mailed
 * @throws Problem not_found, conflict without SMTP_URL, forbidden for another admin, unless ADMIN_RESETS_ADMIN
 */
export async function issuePasswordReset(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  userId: string,
  sends: boolean,
): Promise<PasswordResetToken | null> {
  if (sends) requireMail(context)
  if (!isId(userId)) fail('not_found')
  const id = newId()
  const locks: Lock[] = [['users', userId, 'no key update']]
  const expiresAt = await recordChange(context, origin, caller, locks, async (change) => {
    const { tx, held, now, record } = change
    const user = held.users.get(userId) ?? fail('not_found')
    if (!mayReset(context, held.users.get(caller.userId), user)) {
      fail('forbidden', { detail: 'Admins do not reset the password of another admin.' })
    }
    const issuedBy = caller.userId
    const reset = { id, purpose: 'reset', userId, email: null, issuedBy } as const
    const end = sends ? null : await issueToken(tx, now, reset)
    if (sends && !(await mailLink(context, change, { ...linkFor(user), issuedBy }))) return null
    const details = sends ? { email: user.email } : {}
    await record({ action: 'user.reset_issued', target: { type: 'user', id: userId }, details })
    return end
  })
  if (expiresAt === null) return null
  return { token: tokenOf(context, { id, purpose: 'reset' }), expires_at: expiresAt.toISOString() }
}

const isActiveAdmin = (user: UserRow | undefined): boolean => user?.role === 'admin' && user.isActive

/**
 * Whether an issuer may have a user's password reset: an active admin may; that of another admin only with
 * ADMIN_RESETS_ADMIN. Checked again when the token is used, because the issuer may have been demoted meanwhile, or the
 * user made an admin.
 */
function mayReset({ config }: Context, issuer: UserRow | undefined, user: UserRow): boolean {
  if (!isActiveAdmin(issuer)) return false
  return user.role !== 'admin' || user.id === issuer?.id || config.adminResetsAdmin
}

/**
 * The resets of a user that may still be used, newest first.
 * @throws Problem not_found
 */
export async function listPasswordResets(
  context: Context,
  userId: string,
  page: PageQuery,
): Promise<Page<OneTimeTokenRow>> {
  const user = isId(userId) ? await findUserById(context.db, userId) : null
  if (!user) fail('not_found')
  return readPage(context.keys.cursor, `resets ${userId}`, page, (rows) =>
    listTokens(context.db, userId, 'reset', new Date(context.clock()), rows),
  )
}

/** What admins see of a reset. */
export const presentReset = (reset: OneTimeTokenRow): PendingReset => ({
  id: reset.id,
  created_by: reset.issuedBy,
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
  await recordChange(context, origin, caller, locks, async ({ tx, held, now, record }) => {
    if (!held.users.has(userId)) fail('not_found')
    if (!(await voidToken(tx, userId, { id, purpose: 'reset' }, now))) return
    await record({ action: 'user.reset_cancelled', target: { type: 'user', id: userId } })
  })
}

/**
 * Sets a new password by a one-time token: a reset or an invitation. Every session ends, and failed log-ins are forgotten.
 * A mailed one proves the address. Where it was not proven before, somebody else may have made the account: a reset then
 * removes everything from before.
 * @throws Problem invalid_token where it is unknown, used or over; validation_failed, which leaves it usable
 */
export async function resetPassword(
  context: Context,
  origin: Origin,
  { token: text, new_password: chosen, revoke_keys: revokesKeys = false }: PasswordReset,
): Promise<void> {
  const token = await findLiveToken(context, text, ['reset', 'invite'])
  const user = token && (await findUserById(context.db, token.userId))
  if (!token || !user?.isActive) return failReset(context, origin, user, user ? 'disabled' : 'unknown')
  const password = await requirePassword(context.config, user.email, chosen, '/new_password')
  const passwordHash = await context.passwords.hash(password, { address: origin.ip, account: user.email })
  const { issuedBy, purpose } = token
  // Where the address was not verified before, a mailed reset removes everything from before.
  const removesAll = (present: UserRow) =>
    purpose === 'reset' && token.email !== null && !present.emailVerified
  const isTakeover = removesAll(user)
  let refusal: ResetRefusal | null = null
  const replacement: Replacement<null> = {
    userId: user.id,
    passwordHash,
    revokesKeys: revokesKeys || isTakeover,
    action: 'user.password_reset',
    locks: [
      ...(issuedBy === null ? [] : ([['users', issuedBy, 'share']] as const)),
      ...(isTakeover ? ([['grantsOfUser', user.id, 'update']] as const) : []),
    ],
    async check({ tx, held, now }) {
      const refuse = (reason: ResetRefusal) => {
        refusal = reason
        return failToken()
      }
      const present = held.users.get(user.id) ?? refuse('unknown')
      if (!present.isActive) refuse('disabled')
      if (token.email !== null && token.email !== present.email) refuse('unknown')
      if (!isIssuerGood(context, token, present, held.users)) refuse('issuer')
      // Of two requests with the same token, the second waits for the lock on the user, and then finds the token used.
      if (!(await findLiveTokenById(tx, token.id, now))) refuse('unknown')
      if (removesAll(present) !== isTakeover) throw changedMeanwhile()
    },
  }
  const by = onBehalfOf(origin, user.id)
  try {
    await replacePassword(context, by, null, replacement, async (change) => {
      const { tx, held, now, record } = change
      const present = held.users.get(user.id) ?? user
      await useToken(tx, token.id, now)
      if (isTakeover) await removeEverything(context, change, user.id)
      await forgetGuesses(tx, context, user.email)
      if (token.email !== null && !present.emailVerified) {
        await setVerifiedEmail(tx, user.id, token.email)
        const target = { type: 'user', id: user.id } as const
        await record({ action: 'user.email_verified', target, details: { before: false, after: true } })
      }
      // An invited user chooses the first password, so there is no earlier owner of the password to warn.
      if (purpose === 'reset') await tellOfPassword(change, present)
    })
  } catch (error) {
    if (refusal === null) throw error
    return failReset(context, origin, user, refusal)
  }
}

/**
 * Why a reset is refused: the token or its user does not exist, the user is disabled, or the issuer may no longer reset
 * this user.
 */
type ResetRefusal = 'unknown' | 'disabled' | 'issuer'

/**
 * Records a refused reset.
 * @throws Problem invalid_token
 */
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
  return failToken()
}

/** Whether the issuer of a token may still issue it for a user. */
function isIssuerGood(
  context: Context,
  { purpose, issuedBy }: LiveToken,
  user: UserRow,
  held: ReadonlyMap<string, UserRow>,
): boolean {
  if (issuedBy === null) return true
  const issuer = held.get(issuedBy)
  // An invitation goes to the address of a user who has no password: the admin who sent it cannot use it.
  return purpose === 'invite' ? isActiveAdmin(issuer) : mayReset(context, issuer, user)
}

/**
 * Removes what the maker of the account left behind besides sessions, keys and tokens: second factors, service accounts, and
 * what they allowed apps.
 */
async function removeEverything(context: Context, change: Change<null>, userId: string): Promise<void> {
  await removeEveryFactor(change, userId)
  await endGrantsOfUser(context, change, userId, 'password_reset')
  await disableAccounts(change, await managedAloneBy(change, userId))
}
