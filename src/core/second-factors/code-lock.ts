import type { Transaction } from '../../db/database.ts'
import { violatedConstraint } from '../../db/errors.ts'
import { fail, spentHeaders } from '../../lib/errors.ts'
import { SECOND_MS } from '../../lib/time.ts'
import type { Origin } from '../audit/audit.ts'
import { recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { notify } from './notices.ts'
import {
  deleteCodeFailures,
  findLockEnd,
  type LockPolicy,
  type Reservation,
  releaseCode,
  reserveCode,
} from './queries.ts'

/** The fifth wrong code in a row locks codes for 5 minutes, each further fifth for twice as long as the lock before. */
const POLICY: LockPolicy = { codes: 5, firstLockMinutes: 5, longestLockMinutes: 24 * 60 }

/**
 * Runs a check of a TOTP or recovery code as one try at the account, whatever the session, the token or the server. The
 * try is counted before the check, so that of fifty tries at the same moment five are checked. A right code has to call
 * `forgetWrongCodes` in its own change; a try that ends in an error is given back.
 * @param check gives null for a wrong code
 * @throws Problem too_many_attempts, also for a right code; invalid_token where the user is gone; what `check` throws
 */
export async function guardCode<T>(
  context: Context,
  origin: Origin,
  userId: string,
  check: () => Promise<T | null>,
): Promise<T | null> {
  const reserved = await reserve(context, userId)
  const checked = await check().catch(async (error: unknown) => {
    await releaseCode(context.db, userId, reserved)
    throw error
  })
  if (checked === null && reserved.failures % POLICY.codes === 0) {
    await recordLock(context, origin, userId, reserved)
  }
  return checked
}

/** Forgets the wrong codes of a user, and ends their lock, as part of a change. */
export function forgetWrongCodes(tx: Transaction, userId: string): Promise<void> {
  return deleteCodeFailures(tx, userId)
}

async function reserve(context: Context, userId: string): Promise<Reservation> {
  const now = context.clock()
  const reserved = await reserveCode(context.db, userId, new Date(now), POLICY).catch((error: unknown) => {
    // The user was deleted since the session or the pending step was read.
    if (violatedConstraint(error) !== null) fail('invalid_token')
    throw error
  })
  if (reserved !== null) return reserved
  context.metrics.secondFactors.locked += 1
  const lockedUntil = await findLockEnd(context.db, userId)
  const leftMs = (lockedUntil?.getTime() ?? 0) - now
  return fail('too_many_attempts', {
    headers: spentHeaders(POLICY.codes, Math.max(1, Math.ceil(leftMs / SECOND_MS))),
  })
}

/** The first lock is mailed, because a person who tries codes knows the password. */
async function recordLock(
  context: Context,
  origin: Origin,
  userId: string,
  { failures, lockedUntil }: Reservation,
): Promise<void> {
  await recordChange(context, origin, null, [['users', userId, 'share']], async (change) => {
    const user = change.held.users.get(userId)
    if (!user) return
    const until = lockedUntil?.toISOString() ?? ''
    const target = { type: 'user' as const, id: userId }
    const details = { wrong_codes: failures, until }
    await change.record({ action: 'user.mfa_locked', outcome: 'refused', target, details })
    if (failures === POLICY.codes) await notify(change, user, { kind: 'mfa_locked' })
  })
}
