import { isDeepStrictEqual } from 'node:util'
import { fail } from '../../lib/errors.ts'
import type { Origin } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { lockKeyCredits, replaceKeyCredits } from '../credits/key-credits.ts'
import { type Credits, creditsAt } from '../credits/refills.ts'
import { requireTopUp, type ToppedUp, type TopUpRequest, toppedUp, topUpOnce } from '../credits/top-up.ts'
import { changeManagedKey } from './change-managed.ts'
import { requireKeyPower } from './power.ts'
import { updateKey } from './queries.ts'
import type { KeyManager } from './reach.ts'

/**
 * Adds to the credits of a key, takes away, or sets them. Takes a caller who may raise them.
 * @throws Problem not_found, forbidden, insufficient_scope, validation_failed, conflict
 */
export function topUpKey(
  context: Context,
  origin: Origin,
  caller: KeyManager,
  id: string,
  request: TopUpRequest,
): Promise<ToppedUp> {
  const locks = { key: 'no key update' } as const
  return changeManagedKey(context, origin, caller, id, locks, async (work) => {
    const { tx, now, key, account, record } = work
    requireTopUp(request.input)
    if (key.revokedAt !== null) fail('conflict', { detail: 'The key is revoked, which is final.' })
    const locked = await lockKeyCredits(tx, id, 'no key update')
    const had = locked && creditsAt(locked, now.getTime())
    const withCredits = (credits: Credits | null) => ({ ...key, credits })
    const { remaining, ...rest } = had ?? { remaining: 0, refill: null, refillsAt: null }
    const raised = { ...rest, remaining: remaining + 1 }
    const mayRaise = () =>
      requireKeyPower(work.caller, withCredits({ ...rest, remaining }), withCredits(raised), account)
    return topUpOnce(work, request, async () => {
      const credits = toppedUp(locked, request.input, now.getTime())
      // A caller who may raise the credits may lower them, too.
      if (had === null || credits.remaining <= remaining) mayRaise()
      const power = requireKeyPower(work.caller, withCredits(had), withCredits(credits), account)
      const { lockedSettings, limitsOfOthers } = key
      // A change of the key's row evicts it everywhere.
      if (!isDeepStrictEqual(power, { lockedSettings, limitsOfOthers })) await updateKey(tx, id, power)
      await replaceKeyCredits(tx, id, credits)
      const details = { ...request.input, before: had?.remaining ?? null, after: credits.remaining }
      await record({ action: 'key.credited', target: { type: 'key', id }, details })
      return credits.remaining
    })
  })
}
