import type { Transaction } from '../../db/database.ts'
import type { Change } from '../change/record-change.ts'
import type { Owner } from '../owners.ts'
import type { Operator, Principal } from '../principal.ts'
import type { Credits as CreditsBody, CreditsPatch } from './model.ts'
import { lockCredits, replaceOwnerCredits } from './queries.ts'
import { type Credits, creditsAt } from './refills.ts'
import { patchCredits, presentCredits } from './settings.ts'
import { type ToppedUp, type TopUpRequest, toppedUp, topUpOnce } from './top-up.ts'

export { listOwnerCredits } from './queries.ts'

/** The credits of an owner before and after a change, as the audit trail names them. */
export type ChangedCredits = Record<'before' | 'after', CreditsBody | null>

/**
 * Changes the credits of a locked owner as part of another change; null removes them.
 * @throws Problem validation_failed
 */
export async function changeOwnerCredits(
  { tx, now }: { tx: Transaction; now: Date },
  owner: Owner,
  patch: CreditsPatch | null,
): Promise<ChangedCredits> {
  const nowMs = now.getTime()
  const before = await lockCredits(
    tx,
    { of: 'owner', id: owner.id },
    patch === null ? 'update' : 'no key update',
  )
  const after = patch && patchCredits('/credits', before, patch, nowMs)
  await replaceOwnerCredits(tx, owner, after)
  const present = (credits: Credits | null) => credits && presentCredits(credits, nowMs)
  return { before: present(before), after: present(after) }
}

/**
 * Adds to the credits of a locked owner, takes away, or sets them.
 * @throws Problem conflict
 */
export function topUpOwner(
  change: Change<Principal | Operator>,
  owner: Owner,
  request: TopUpRequest,
): Promise<ToppedUp> {
  const { tx, now, record } = change
  const nowMs = now.getTime()
  return topUpOnce(change, request, async () => {
    const locked = await lockCredits(tx, { of: 'owner', id: owner.id }, 'no key update')
    const credits = toppedUp(locked, request.input, nowMs)
    await replaceOwnerCredits(tx, owner, credits)
    const before = locked && creditsAt(locked, nowMs).remaining
    await record({
      action: `${owner.type}.credited`,
      target: owner,
      details: { ...request.input, before, after: credits.remaining },
    })
    return credits.remaining
  })
}
