import type { Transaction } from '../../db/database.ts'
import { fail } from '../../lib/errors.ts'
import { isRateWithin } from '../../lib/rate.ts'
import { type Origin, recordChange } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { ownerOfRow } from '../owners.ts'
import { isAdmin, type Principal } from '../principal.ts'
import { requireGrants } from '../verify/refusals.ts'
import type { KeyPatch } from './model.ts'
import { presentCredits, presentKey } from './present.ts'
import { countLiveKeysLocked, lockKey, replaceCredits, updateKey, type WholeKey } from './queries.ts'
import {
  areIpsWithin,
  boundsOf,
  isOfAnotherUser,
  isWithinReach,
  type KeyManager,
  outlives,
  requireManagedKey,
  requireNoCredits,
} from './reach.ts'
import { readCredits, readSettings, requireExpiry } from './settings.ts'

/**
 * Changes a key. What widens it takes a caller who could now grant every scope that it will hold; a user's key is
 * widened by that user alone. null clears.
 * @throws Problem not_found, forbidden, insufficient_scope, validation_failed, conflict where it is revoked,
 * quota_exceeded where one that is over would live again
 */
export async function changeKey(
  context: Context,
  origin: Origin,
  caller: Principal,
  id: string,
  patch: KeyPatch,
): Promise<WholeKey> {
  await requireManagedKey(context, caller, id)
  const change = readSettings(patch)
  if (change.expiresAt !== undefined) requireExpiry(context, change.expiresAt, '/expires_at')
  return recordChange(context, origin, async (tx, record) => {
    const now = new Date(context.clock())
    const isOver = ({ expiresAt }: WholeKey) => expiresAt !== null && expiresAt <= now
    const before = await lockKey(tx, id)
    if (!before) fail('not_found')
    if (before.revokedAt !== null) fail('conflict', { detail: 'The key is revoked, which is final.' })
    const credits = patch.credits ? readCredits(id, patch.credits, context.clock()) : patch.credits
    const after = { ...before, ...change, credits: credits === undefined ? before.credits : credits }
    requirePower(caller, before, after)
    if (isOver(before) && !isOver(after)) await requireQuota(context, tx, before)
    if (Object.keys(change).length > 0) await updateKey(tx, id, change)
    if (credits !== undefined) await replaceCredits(tx, id, credits)
    const details = differences(before, after, now.getTime())
    if (Object.keys(details).length > 0) {
      await record({ action: 'key.updated', target: { type: 'key', id }, details })
    }
    return after
  })
}

/** @throws Problem quota_exceeded */
async function requireQuota(context: Context, tx: Transaction, key: WholeKey): Promise<void> {
  const live = await countLiveKeysLocked(tx, ownerOfRow(key), new Date(context.clock()))
  if (live >= context.config.apiKeysPerOwner) fail('quota_exceeded')
}

/** @throws Problem forbidden, insufficient_scope */
function requirePower(caller: Principal, before: WholeKey, after: WholeKey): void {
  if (caller.kind === 'key' && !isWithinReach(caller, boundsOf(after))) {
    fail('forbidden', { detail: 'A key sets no other beyond its own scopes, expiry, limits and addresses.' })
  }
  if (!widens(before, after)) return
  requireNoCredits(caller)
  requireOwnership(caller, before)
  requireGrants(caller, after.scopes)
}

/**
 * Widening a user's key, or showing its secret, is for that user; an admin lowers, disables and revokes it.
 * @throws Problem forbidden
 */
export function requireOwnership(caller: KeyManager, key: WholeKey): void {
  if (isAdmin(caller) && isOfAnotherUser(key, caller)) {
    fail('forbidden', { detail: "A user's key is widened and rotated by that user alone." })
  }
}

/** Whether a key may do anything afterwards that it may not do before. */
function widens(before: WholeKey, after: WholeKey): boolean {
  const [was, is] = [boundsOf(before), boundsOf(after)]
  return (
    is.scopes.some((scope) => !was.scopes.includes(scope)) ||
    outlives(is.expiresAt, was.expiresAt) ||
    !isRateWithin(is.rate, was.rate) ||
    !areIpsWithin(is.allowedIps, was.allowedIps) ||
    hasMoreCredits(before.credits, after.credits) ||
    (after.isActive && !before.isActive)
  )
}

function hasMoreCredits(before: WholeKey['credits'], after: WholeKey['credits']): boolean {
  if (before === null) return false
  if (after === null || after.remaining > before.remaining) return true
  const isRefilledMore = (after.refillAmount ?? 0) > (before.refillAmount ?? 0)
  return isRefilledMore || (after.refillInterval === 'daily' && before.refillInterval === 'monthly')
}

/** What is not as it was, before and after, in the words of the key object. */
function differences(before: WholeKey, after: WholeKey, nowMs: number): Record<string, unknown> {
  const [was, is] = [presentKey(before, nowMs), presentKey(after, nowMs)]
  const names = [
    'name',
    'description',
    'external_id',
    'metadata',
    'scopes',
    'expires_at',
    'is_active',
  ] as const
  const limits = ['rate_limit', 'allowed_ips'] as const
  const changed = [...names, ...limits].filter(
    (name) => JSON.stringify(was[name]) !== JSON.stringify(is[name]),
  )
  const entries = changed.map((name) => [name, { before: was[name], after: is[name] }] as const)
  const credits = [before.credits, after.credits].map((row) => row && presentCredits(row, nowMs))
  if (JSON.stringify(credits[0]) === JSON.stringify(credits[1])) return Object.fromEntries(entries)
  return { ...Object.fromEntries(entries), credits: { before: credits[0], after: credits[1] } }
}
