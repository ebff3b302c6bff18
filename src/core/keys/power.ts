import { fail } from '../../lib/errors.ts'
import { isRateWithin } from '../../lib/rate.ts'
import { formatInstant } from '../../lib/time.ts'
import {
  areScopesWithin,
  findRaised,
  isActiveWithin,
  lowersAs,
  relock,
  type Settings,
  setting,
} from '../change/power.ts'
import { isAdmin } from '../principal.ts'
import type { ServiceAccountRow } from '../service-accounts/service-accounts.ts'
import { requireGrants } from '../verify/problems.ts'
import { rateOf } from '../verify/rates.ts'
import type { CreditsRow, WholeKey } from './queries.ts'
import {
  areIpsWithin,
  boundsOf,
  isOfAnotherUser,
  isWithinReach,
  type KeyManager,
  outlives,
  requireUnlimited,
} from './reach.ts'

/** A key as far as its power goes: what it may do, for how long, and by which secrets. */
export type KeyPower = Pick<
  WholeKey,
  'scopes' | 'expiresAt' | 'isActive' | 'rateLimit' | 'rateWindowSeconds' | 'allowedIps' | 'credits'
> & { secrets: readonly SecretPower[] }
type SecretPower = Pick<WholeKey['secrets'][number], 'id' | 'expiresAt'>

/** Whether an end, as text, is no later than another; null is no end. */
const isNoLater = (inner: string | null, outer: string | null) =>
  outer === null || (inner !== null && inner <= outer)

/** Everything by which a key can be given more. */
const SETTINGS: Settings<KeyPower> = {
  scopes: setting((key) => key.scopes, areScopesWithin),
  expires_at: setting((key) => formatInstant(key.expiresAt), isNoLater),
  rate_limit: setting((key) => rateOf(key), isRateWithin),
  allowed_ips: setting((key) => key.allowedIps, areIpsWithin),
  credits: setting((key) => key.credits && pickCredits(key.credits), areCreditsWithin),
  is_active: setting((key) => key.isActive, isActiveWithin),
  secrets: setting(
    (key) => Object.fromEntries(key.secrets.map(({ id, expiresAt }) => [id, formatInstant(expiresAt)])),
    (inner, outer) =>
      Object.entries(inner).every(([id, end]) => outer[id] !== undefined && isNoLater(end, outer[id])),
    { isLockable: false },
  ),
}

const pickCredits = ({ remaining, refillAmount, refillInterval }: CreditsRow) => ({
  remaining,
  refillAmount,
  refillInterval,
})

type Credits = ReturnType<typeof pickCredits>

function areCreditsWithin(inner: Credits | null, outer: Credits | null): boolean {
  if (outer === null) return true
  if (inner === null || inner.remaining > outer.remaining) return false
  const isRefilledMore = (inner.refillAmount ?? 0) > (outer.refillAmount ?? 0)
  return !isRefilledMore && !(inner.refillInterval === 'daily' && outer.refillInterval === 'monthly')
}

/**
 * The one decision about power over keys: whether a caller may take a key from one state to another, whatever the route
 * is called. What raises nothing is allowed to whoever may act on the key. What raises anything needs a caller who could
 * grant all that the key then holds; a user's key is raised by that user alone, except that an admin puts back what an
 * admin lowered.
 * @param before null: the key is new
 * @param account the service account that owns it; null: a user does
 * @returns what is locked afterwards
 * @throws Problem forbidden, insufficient_scope
 */
export function requireKeyPower(
  caller: KeyManager,
  before: WholeKey | null,
  after: KeyPower,
  account: ServiceAccountRow | null,
): Record<string, unknown> {
  const locked = before?.lockedSettings ?? {}
  const by = { ...lowersAs(caller), isOwn: isOwn(caller, before, account) }
  const next = before === null ? locked : relock(SETTINGS, locked, before, after, by)
  const raised = findRaised(SETTINGS, before, after)
  if (raised.length === 0) return next

  requireUnlimited(caller)
  requireGrants(caller, after.scopes)
  // A person manages an account by having made it; a key acts for its owner, and is bound by its own scopes.
  if (account && caller.kind === 'user') requireGrants(caller, account.scopes)
  if (caller.kind === 'key' && !isWithinReach(caller, boundsOf(after)))
    fail('forbidden', {
      detail: 'A key gives no other more than its own scopes, expiry, limits and addresses.',
    })
  if (caller.kind === 'key' && outlives(after.expiresAt, caller.endsAt))
    fail('forbidden', {
      detail: 'What a key makes ends no later than the key, secret or token that was used.',
    })
  const isAnothers = before !== null && isAdmin(caller) && isOfAnotherUser(before, caller)
  if (isAnothers && !raised.every((name) => isPutBack(name, locked, after))) {
    fail('forbidden', { detail: "A user's key is widened and rotated by that user alone." })
  }
  return next
}

/** Whether a key is the caller's own, or of an account that the caller made: an admin who lowers it locks nothing. */
function isOwn(caller: KeyManager, key: WholeKey | null, account: ServiceAccountRow | null): boolean {
  if (caller.kind !== 'user') return false
  return (account ? account.createdBy : key?.userId) === caller.userId
}

/** Whether a setting that an admin lowered stays within what it was before. */
function isPutBack(name: string, locked: Readonly<Record<string, unknown>>, after: KeyPower): boolean {
  const known = SETTINGS[name]
  return known !== undefined && Object.hasOwn(locked, name) && known.isWithin(known.read(after), locked[name])
}
