import { fail, failField } from '../../lib/errors.ts'
import { IDEMPOTENCY_LASTS_MS } from '../../lib/time.ts'
import { hashToken } from '../../lib/tokens.ts'
import type { Change } from '../change/record-change.ts'
import { idOf, type Operator, type Principal } from '../principal.ts'
import type { TopUp } from './model.ts'
import { findTopUp, upsertTopUp } from './queries.ts'
import { type Credits, creditsAt, MAX_CREDITS } from './refills.ts'

/** What remains after a top-up; `isReplayed`: a request before had the same `Idempotency-Key`, and nothing changed now. */
export type ToppedUp = { remaining: number; isReplayed: boolean }

/** @throws Problem validation_failed unless exactly one of `add` and `set` is given */
export function requireTopUp({ add, set }: TopUp): void {
  if ((add === undefined) === (set === undefined)) failField('', 'Give exactly one of add and set')
  if (add === 0) failField('/add', 'Must not be 0')
}

/**
 * Credits after a top-up. A refill that is due is made first, and none ends.
 * @param before the locked credits; null: there are none
 * @throws Problem conflict where credits would be added to none, or would lie below zero or above the maximum
 */
export function toppedUp(before: Credits | null, { add, set }: TopUp, nowMs: number): Credits {
  const now = before && creditsAt(before, nowMs)
  if (set !== undefined) return { ...(now ?? { refill: null, refillsAt: null }), remaining: set }
  if (!now) fail('conflict', { detail: 'No credits are set to which any could be added: set some first.' })
  const remaining = now.remaining + (add ?? 0)
  if (remaining < 0)
    fail('conflict', { detail: `Only ${now.remaining} credits are left, so that no more can be taken away.` })
  if (remaining > MAX_CREDITS)
    fail('conflict', {
      detail: `${now.remaining} credits are left, and there can be at most ${MAX_CREDITS} of them.`,
    })
  return { ...now, remaining }
}

/** A request that changes credits: what it is about, and its `Idempotency-Key`; null: none. */
export type TopUpRequest = { path: string; input: TopUp; idempotencyKey: string | null }

/**
 * Runs a top-up once for its `Idempotency-Key`, per caller and path. The change holds the lock of what is topped up, so that
 * of two requests at the same moment one waits for the other.
 * @param work changes the credits, and returns what remains
 * @throws Problem conflict where the key came before with another body
 */
export async function topUpOnce(
  { tx, caller, now }: Pick<Change<Principal | Operator>, 'tx' | 'caller' | 'now'>,
  { path, input, idempotencyKey }: TopUpRequest,
  work: () => Promise<number>,
): Promise<ToppedUp> {
  if (idempotencyKey === null) return { remaining: await work(), isReplayed: false }
  const by = caller.kind === 'operator' ? '' : idOf(caller)
  const hash = hashToken(`${by}\n${path}\n${idempotencyKey}`)
  const bodyHash = hashToken(JSON.stringify([input.add ?? null, input.set ?? null]))
  const known = await findTopUp(tx, hash, new Date(now.getTime() - IDEMPOTENCY_LASTS_MS))
  if (known && !bodyHash.every((byte, at) => byte === known.bodyHash[at]))
    fail('conflict', { detail: 'This Idempotency-Key came before with another body.' })
  if (known) return { remaining: known.remaining, isReplayed: true }
  const remaining = await work()
  await upsertTopUp(tx, { hash, bodyHash, remaining, createdAt: now })
  return { remaining, isReplayed: false }
}
