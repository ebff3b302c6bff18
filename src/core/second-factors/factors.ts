import { renderSVG } from 'uqr'
import { fail } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import type { Role } from '../../lib/model.ts'
import { formatInstant, MINUTE_MS } from '../../lib/time.ts'
import type { Origin } from '../audit/audit.ts'
import { requirePowerOverAccount } from '../change/power.ts'
import { type Caller, type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { Operator, UserPrincipal } from '../principal.ts'
import { endOtherSessionsOfUser, endSessionsOfUser } from '../sessions/sessions.ts'
import { findUserById } from '../users/accounts.ts'
import { forgetWrongCodes } from './code-lock.ts'
import { isFactorRequired } from './enrolment.ts'
import type { ConfirmedTotp, Passkey, PendingTotp, RecoveryCodes, SecondFactors } from './model.ts'
import { notify } from './notices.ts'
import { joinAmr } from './proofs.ts'
import {
  countRecoveryCodes,
  deletePasskeys,
  deletePendingTotp,
  deleteTotp,
  findConfirmedTotp,
  findPendingTotp,
  insertTotp,
  listPasskeys,
  type PasskeyRow,
  replaceRecoveryCodes,
  updateAuthentication,
  updateHasSecondFactor,
  updateTotp,
} from './queries.ts'
import { hashRecoveryCode, makeRecoveryCodes } from './recovery-codes.ts'
import { encryptTotpSecret, findStep, makeTotpSecret, totpAddress } from './totp.ts'

const PENDING_LASTS_MS = 10 * MINUTE_MS

/** A change of the caller's own factors. */
export type OwnChange = Change<UserPrincipal>

/** The rows that a change of the caller's own factors touches: the user, the session that asks, and all that may end. */
export const locksOfFactors = (caller: UserPrincipal): Lock[] => [
  ['users', caller.userId, 'no key update'],
  ['sessions', caller.sessionId, 'no key update'],
  ['sessionsOfUser', caller.userId, 'no key update'],
]

/** A person's second factors, as they see them. */
export async function describeFactors(context: Context, caller: UserPrincipal): Promise<SecondFactors> {
  const { db, config } = context
  const [user, totp, passkeys, recovery_codes_left] = await Promise.all([
    findUserById(db, caller.userId),
    findConfirmedTotp(db, caller.userId),
    listPasskeys(db, caller.userId),
    countRecoveryCodes(db, caller.userId),
  ])
  return {
    required: isFactorRequired(config, (user ?? caller).role),
    totp: totp && { created_at: totp.createdAt.toISOString() },
    passkeys: passkeys.map(presentPasskey),
    recovery_codes_left,
  }
}

/** A passkey as its user sees it. */
export const presentPasskey = (row: PasskeyRow): Passkey => ({
  id: row.id,
  name: row.name,
  created_at: row.createdAt.toISOString(),
  last_used_at: formatInstant(row.lastUsedAt),
  backed_up: row.isBackedUp,
  suspended: row.suspendedAt !== null,
})

/**
 * Begins TOTP, or the replacement of one that is confirmed, which works until its successor is. The newer of two that are
 * pending wins.
 */
export async function beginTotp(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
): Promise<PendingTotp> {
  const id = newId()
  const secret = makeTotpSecret()
  const locks: Lock[] = [['users', caller.userId, 'no key update']]
  await recordChange(context, origin, caller, locks, async ({ tx, now }) => {
    await deletePendingTotp(tx, caller.userId)
    await insertTotp(tx, {
      id,
      userId: caller.userId,
      secret: encryptTotpSecret(context, id, secret),
      createdAt: now,
    })
  })
  const otpauth_uri = totpAddress(context, caller.email, secret)
  return { secret, otpauth_uri, qr_svg: renderSVG(otpauth_uri) }
}

/**
 * Confirms the pending TOTP by its first code.
 * @returns the recovery codes where this is the first factor
 * @throws Problem conflict where none is pending, invalid_code
 */
export async function confirmTotp(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  code: string,
): Promise<ConfirmedTotp> {
  const codes = makeRecoveryCodes()
  const confirmed = await recordChange(context, origin, caller, locksOfFactors(caller), async (change) => {
    const { tx, now, record } = change
    const pending = await findPendingTotp(tx, caller.userId, new Date(now.getTime() - PENDING_LASTS_MS))
    if (!pending) fail('conflict', { detail: 'No TOTP is pending: ask for a new one (POST /auth/mfa/totp).' })
    const lastStep = findStep(context, pending, code)
    if (lastStep === null) {
      const details = { method: 'totp', at: 'enrolment' }
      const target = { type: 'user' as const, id: caller.userId }
      await record({ action: 'user.mfa_failed', outcome: 'refused', target, details })
      return null
    }
    const isReplacement = (await findConfirmedTotp(tx, caller.userId)) !== null
    const added = await addFactor(change, { factor: 'totp', amr: ['mfa', 'otp'], isReplacement }, codes)
    await deleteTotp(tx, caller.userId, pending.id)
    await updateTotp(tx, pending.id, { confirmedAt: now, lastStep })
    return added
  })
  return confirmed ?? fail('invalid_code')
}

/**
 * Applies what follows from a new factor, as part of its change. The calling session has proved the factor. The first
 * factor brings the recovery codes. A first factor and a replacement end every other session and every pending second
 * step.
 * @returns the recovery codes where it is the first one
 */
export async function addFactor(
  change: OwnChange,
  added: { factor: 'totp' | 'passkey'; amr: readonly string[]; isReplacement?: boolean; name?: string },
  codes: readonly string[],
): Promise<{ recovery_codes?: string[] }> {
  const { tx, record } = change
  const { factor, amr, isReplacement = false, name } = added
  const user = userOf(change)
  const isFirst = !user.hasSecondFactor
  const ended = isFirst || isReplacement ? await endOtherSessions(change, 'mfa_added') : 0
  await renewAuthentication(change, amr)
  if (isFirst) {
    await updateHasSecondFactor(tx, user.id, true)
    await storeRecoveryCodes(change, codes)
  }
  const details = {
    factor,
    ...(name !== undefined && { name }),
    replaced: isReplacement,
    sessions_ended: ended,
  }
  await record({ action: 'user.mfa_added', target: { type: 'user', id: user.id }, details })
  await notify(change, user, { kind: 'mfa_added', factor, name })
  return isFirst ? { recovery_codes: [...codes] } : {}
}

/** Stores in the calling session that its person has just proved who they are, and how. */
export function renewAuthentication(
  { tx, now, caller }: Pick<OwnChange, 'tx' | 'now' | 'caller'>,
  amr: readonly string[],
): Promise<void> {
  return updateAuthentication(tx, caller.sessionId, { authTime: now, amr: joinAmr(caller.amr, amr) })
}

/**
 * Removes the confirmed TOTP, and one that is pending.
 * @throws Problem not_found where none is confirmed, conflict where REQUIRE_MFA asks for it
 */
export async function removeTotp(context: Context, origin: Origin, caller: UserPrincipal): Promise<void> {
  await recordChange(context, origin, caller, locksOfFactors(caller), async (change) => {
    const { tx } = change
    if (!(await findConfirmedTotp(tx, caller.userId))) fail('not_found')
    const isLast = (await listPasskeys(tx, caller.userId)).length === 0
    await loseFactor(context, change, { factor: 'totp', isLast })
    await deleteTotp(tx, caller.userId)
  })
}

/**
 * Applies what follows from the removal of a factor, as part of its change. Every other session and all pending second
 * steps end. With the last factor the recovery codes are deleted.
 * @throws Problem conflict where it is the last one and REQUIRE_MFA asks for one
 */
export async function loseFactor(
  context: Context,
  change: OwnChange,
  { factor, isLast, name }: { factor: 'totp' | 'passkey'; isLast: boolean; name?: string },
): Promise<void> {
  const { tx, record, caller } = change
  const user = userOf(change)
  if (isLast) requireNotRequired(context, user.role)
  const sessions_ended = await endOtherSessions(change, 'mfa_removed')
  if (isLast) {
    await updateAuthentication(tx, caller.sessionId, { amr: ['pwd'] })
    await updateHasSecondFactor(tx, user.id, false)
    await storeRecoveryCodes(change, [])
    await forgetWrongCodes(tx, user.id)
  }
  const named = { factor, ...(name !== undefined && { name }) }
  const target = { type: 'user' as const, id: user.id }
  await record({ action: 'user.mfa_removed', target, details: { ...named, sessions_ended } })
  await notify(change, user, { kind: 'mfa_removed', factor, name })
}

/** @throws Problem conflict where REQUIRE_MFA asks people of a role for the factor that they would remove */
function requireNotRequired({ config }: Pick<Context, 'config'>, role: Role): void {
  if (!isFactorRequired(config, role)) return
  fail('conflict', { detail: 'REQUIRE_MFA asks for a second factor: set up another one first.' })
}

/**
 * Makes ten new recovery codes; the old ones are void.
 * @throws Problem conflict where there is no second factor
 */
export async function renewRecoveryCodes(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
): Promise<RecoveryCodes> {
  const recovery_codes = makeRecoveryCodes()
  await recordChange(context, origin, caller, locksOfFactors(caller), async (change) => {
    const user = userOf(change)
    if (!user.hasSecondFactor) fail('conflict', { detail: 'Set up a second factor first.' })
    const sessions_ended = await endOtherSessions(change, 'recovery_codes_created')
    await storeRecoveryCodes(change, recovery_codes)
    const target = { type: 'user' as const, id: user.id }
    await change.record({ action: 'user.recovery_codes_created', target, details: { sessions_ended } })
    await notify(change, user, { kind: 'recovery_codes_created' })
  })
  return { recovery_codes }
}

/**
 * Deletes all second factors and recovery codes of a user who lost them, for an admin or an operator. Every session of
 * the user ends.
 * @throws Problem not_found; forbidden for another admin, unless ADMIN_RESETS_ADMIN; conflict where the admin is the
 * user, and REQUIRE_MFA asks for a factor
 */
export async function resetFactors(
  context: Context,
  origin: Origin,
  caller: UserPrincipal | Operator,
  userId: string,
): Promise<void> {
  if (!isId(userId)) fail('not_found')
  const locks: Lock[] = [
    ['users', userId, 'no key update'],
    ['sessionsOfUser', userId, 'no key update'],
  ]
  await recordChange(context, origin, caller, locks, async (change) => {
    const { tx, held, now, record } = change
    const user = held.users.get(userId) ?? fail('not_found')
    requirePowerOverAccount(context, change.caller, user)
    if (change.caller.kind === 'user' && change.caller.userId === userId)
      requireNotRequired(context, user.role)
    const sessions_ended = await endSessionsOfUser(tx, userId, now, 'mfa_removed')
    await removeEveryFactor(change, userId)
    const details = { factor: 'all', sessions_ended }
    await record({ action: 'user.mfa_removed', target: { type: 'user', id: userId }, details })
    await notify(change, user, { kind: 'mfa_removed', factor: 'all' })
  })
}

/** Deletes every second factor of a user, as part of a change that ends their sessions and writes the audit row. */
export async function removeEveryFactor(
  { tx, now }: Pick<Change<Caller>, 'tx' | 'now'>,
  userId: string,
): Promise<void> {
  await updateHasSecondFactor(tx, userId, false)
  await deleteTotp(tx, userId)
  await deletePasskeys(tx, userId)
  await replaceRecoveryCodes(tx, userId, [], now)
  await forgetWrongCodes(tx, userId)
}

/** The caller's own locked row. A caller that was read again has one. */
export function userOf({ held, caller }: OwnChange) {
  return held.users.get(caller.userId) ?? fail('invalid_token')
}

const endOtherSessions = ({ tx, now, caller }: OwnChange, reason: string): Promise<number> =>
  endOtherSessionsOfUser(tx, caller.userId, caller.sessionId, now, reason)

function storeRecoveryCodes({ tx, now, caller }: OwnChange, codes: readonly string[]): Promise<void> {
  const hashes = codes.map((code) => hashRecoveryCode(caller.userId, code))
  return replaceRecoveryCodes(tx, caller.userId, hashes, now)
}
