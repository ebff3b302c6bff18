import type { Transaction } from '../../db/database.ts'
import { hmac } from '../../lib/derived-keys.ts'
import { fail, spentHeaders } from '../../lib/errors.ts'
import { MINUTE_MS } from '../../lib/time.ts'
import { type Origin, recordEvent } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { findUserByEmail } from '../users/accounts.ts'
import { deleteAttempts, findWindowStart, releaseAttempt, reserveAttempt } from './queries.ts'

const MAX_FAILURES = 10
const WINDOW_MS = 15 * MINUTE_MS

/**
 * Runs a check of a password as one guess at an account, whether the account exists or not. Allows ten failures in
 * fifteen minutes, from all addresses together. The guess is counted before `check` hashes anything, so that a hundred
 * requests at once are still ten guesses, and taken back where it was not a failure.
 * @param check gives null for a failure
 * @throws Problem too_many_attempts, and what `check` throws
 */
export async function guardGuess<T>(
  context: Context,
  origin: Origin,
  email: string,
  check: () => Promise<T | null>,
): Promise<T | null> {
  const [key] = context.keys.email
  if (!key) throw new Error('No key to count attempts under')
  const emailHmac = hmac(key, email)
  const now = context.clock()
  const attempt = await reserveAttempt(context.db, {
    emailHmac,
    now: new Date(now),
    windowStart: new Date(now - WINDOW_MS),
    most: MAX_FAILURES,
  })
  if (attempt === null) {
    context.metrics.passwordChecks.throttled += 1
    const startedAt = await findWindowStart(context.db, emailHmac)
    const leftMs = startedAt === null ? 0 : startedAt.getTime() + WINDOW_MS - now
    const retryAfterSeconds = Math.max(1, Math.ceil(leftMs / 1000))
    fail('too_many_attempts', { headers: spentHeaders(MAX_FAILURES, retryAfterSeconds) })
  }
  const release = () => releaseAttempt(context.db, emailHmac, attempt.windowStartedAt)
  const checked = await check().catch(async (error: unknown) => {
    await release()
    throw error
  })
  context.metrics.passwordChecks[checked === null ? 'wrong' : 'right'] += 1
  if (checked !== null) await release()
  else if (attempt.number === MAX_FAILURES) await recordLocked(context, origin, email)
  return checked
}

/**
 * Deletes the failures of an account, as part of a change after which the old password opens nothing. Deletes them
 * under both keys, because during a rotation of SECRET_KEY another server may count under the other one.
 */
export async function forgetGuesses(tx: Transaction, context: Context, email: string): Promise<void> {
  const hmacs = context.keys.email.map((key) => hmac(key, email))
  await deleteAttempts(tx, hmacs)
}

/** Records a full window. Names the account where it exists. An address without an account is not stored. */
async function recordLocked(context: Context, origin: Origin, email: string): Promise<void> {
  const user = await findUserByEmail(context.db, email)
  await recordEvent(context.db, context, origin, {
    action: 'user.locked',
    outcome: 'refused',
    ...(user && { target: { type: 'user', id: user.id } }),
  })
}
