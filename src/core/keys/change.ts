import { fail } from '../../lib/errors.ts'
import type { Origin } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { lockKeyCredits, replaceKeyCredits } from '../credits/key-credits.ts'
import { creditsAt } from '../credits/refills.ts'
import { patchCredits } from '../credits/settings.ts'
import { ownerOfRow } from '../owners.ts'
import type { Principal } from '../principal.ts'
import { changeManagedKey } from './change-managed.ts'
import { requireKeyQuota } from './create.ts'
import { isOfLabels, requireLabelsChange } from './labels.ts'
import type { KeyPatch } from './model.ts'
import { requireKeyPower } from './power.ts'
import { presentKey } from './present.ts'
import { updateKey, type WholeKey } from './queries.ts'
import { readSettings, requireExpiry } from './settings.ts'

/**
 * Changes a key; a member that is null clears the setting. A change that widens the key needs a caller who could grant
 * every scope that the key then holds. A user's key is widened by that user alone.
 * @throws Problem not_found, forbidden, insufficient_scope, validation_failed, conflict where the key is revoked,
 * quota_exceeded where an expired key would become live again
 */
export async function changeKey(
  context: Context,
  origin: Origin,
  caller: Principal,
  id: string,
  patch: KeyPatch,
): Promise<WholeKey> {
  const change = readSettings(patch)
  if (change.expiresAt !== undefined) requireExpiry(context, change.expiresAt, '/expires_at')
  const isEnding = change.isActive === false && Object.keys(patch).length === 1
  const only = isEnding ? 'ending' : isOfLabels(patch) ? 'labels' : null
  const locks = {
    key: 'no key update',
    counts: change.expiresAt !== undefined,
    changesRate: change.rateLimit !== undefined,
    only,
  } as const
  return changeManagedKey(context, origin, caller, id, locks, async (work) => {
    const { tx, now, key, account, record } = work
    // The credits are locked before they are read. Otherwise a use that is charged meanwhile would be undone by writing
    // the older number.
    const mode = patch.credits === null ? 'update' : 'no key update'
    const charged = patch.credits === undefined ? key.credits : await lockKeyCredits(tx, id, mode)
    // A refill that is due counts already: who lowers what remains after it raises nothing.
    const before = { ...key, credits: charged && creditsAt(charged, now.getTime()) }
    const isOver = ({ expiresAt }: WholeKey) => expiresAt !== null && expiresAt <= now
    requireLabelsChange(work.caller, before, change)
    if (before.revokedAt !== null) fail('conflict', { detail: 'The key is revoked, which is final.' })
    const credits = patch.credits && patchCredits('/credits', charged, patch.credits, now.getTime())
    const after = { ...before, ...change, credits: credits === undefined ? before.credits : credits }
    const power = requireKeyPower(work.caller, before, after, account)
    if (isOver(before) && !isOver(after)) await requireKeyQuota(context, work, ownerOfRow(before), account)
    if (Object.keys(patch).length > 0) await updateKey(tx, id, { ...change, ...power })
    if (credits !== undefined) await replaceKeyCredits(tx, id, credits)
    const details = differences(before, after, now.getTime())
    if (Object.keys(details).length > 0) {
      await record({ action: 'key.updated', target: { type: 'key', id }, details })
    }
    return after
  })
}

/** The settings that changed, before and after, by the names of the key object. */
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
  const limits = ['rate_limit', 'allowed_ips', 'credits'] as const
  const changed = [...names, ...limits].filter(
    (name) => JSON.stringify(was[name]) !== JSON.stringify(is[name]),
  )
  return Object.fromEntries(changed.map((name) => [name, { before: was[name], after: is[name] }] as const))
}
