import type { Context } from '../../context.ts'
import { hmac } from '../../lib/derived-keys.ts'
import { fail } from '../../lib/errors.ts'
import { MINUTE_MS } from '../../lib/time.ts'
import { type Origin, recordEvent } from '../audit/service.ts'
import { releaseAttempt, reserveAttempt } from './queries.ts'

const MAX_FAILURES = 10
const WINDOW_MS = 15 * MINUTE_MS

/**
 * Guessing at one account, known or not, from anywhere: ten failures in fifteen minutes. The attempt is counted
 * before the password is hashed, so that a hundred parallel guesses are ten.
 * @returns a function that gives the attempt back, for one that was no failure
 * @throws Problem too_many_attempts
 */
export async function reserveLogin(
  context: Context,
  origin: Origin,
  email: string,
): Promise<() => Promise<void>> {
  const [key] = context.keys.email
  if (!key) throw new Error('No key to count attempts under')
  const emailHmac = hmac(key, email)
  const now = context.clock()
  const { attempts, windowStartedAt } = await reserveAttempt(
    context.db,
    emailHmac,
    new Date(now),
    new Date(now - WINDOW_MS),
  )
  if (attempts <= MAX_FAILURES) return () => releaseAttempt(context.db, emailHmac)
  if (attempts === MAX_FAILURES + 1)
    await recordEvent(context.db, context, origin, { action: 'user.locked', outcome: 'refused' })
  const retryAfterSeconds = Math.max(1, Math.ceil((windowStartedAt.getTime() + WINDOW_MS - now) / 1000))
  fail('too_many_attempts', { headers: { 'Retry-After': String(retryAfterSeconds) } })
}
