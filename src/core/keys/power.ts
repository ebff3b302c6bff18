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
import { managesAlone, type WholeAccount } from '../service-accounts/managers.ts'
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

/** The part of a key that decides what it may do, for how long, and by which secrets. */
export type KeyPower = Pick<
  WholeKey,
  'scopes' | 'expiresAt' | 'isActive' | 'rateLimit' | 'rateWindowSeconds' | 'allowedIps' | 'credits'
> & { secrets: readonly SecretPower[] }
type SecretPower = Pick<WholeKey['secrets'][number], 'id' | 'expiresAt'>

/** Whether one expiry is no later than another, both in RFC 3339; null is never. */
const isNoLater = (inner: string | null, outer: string | null) =>
  outer === null || (inner !== null && inner <= outer)

/** Every setting by which a key can be given more. */
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
 * Decides whether a caller may change a key from one state to another. Every route that creates, changes or rotates
 * keys asks this function, so that no route can be used to evade another.
 *
 * - A change that gives the key nothing more is allowed to every caller who manages the key.
 * - A change that gives it more needs a caller who could grant all scopes that the key then holds.
 * - A user's key is widened by that user alone. One exception: an admin may restore what an admin had lowered.
 * @param before null: the key is new
 * @param account the service account that owns the key; null: a user owns it
 * @returns the settings that are locked after the change
 * @throws Problem forbidden, insufficient_scope
 */
export function requireKeyPower(
  caller: KeyManager,
  before: WholeKey | null,
  after: KeyPower,
  account: WholeAccount | null,
): Record<string, unknown> {
  const locked = before?.lockedSettings ?? {}
  const by = { ...lowersAs(caller), isOwn: isOwn(caller, before, account) }
  const next = before === null ? locked : relock(SETTINGS, locked, before, after, by)
  const raised = findRaised(SETTINGS, before, after)
  if (raised.length === 0) return next

  requireUnlimited(caller)
  requireGrants(caller, after.scopes)
  // A user who manages the account may have lost scopes since, so the user must still be able to grant all scopes of
  // the account. A key acts for its owner, and is bound by its own scopes.
  if (account && caller.kind === 'user') requireGrants(caller, account.scopes)
  if (caller.kind === 'key' && !isWithinReach(caller, boundsOf(after)))
    fail('forbidden', {
      detail: 'A key cannot give another key more than its own scopes, expiry, limits and addresses.',
    })
  if (caller.kind === 'key' && outlives(after.expiresAt, caller.endsAt))
    fail('forbidden', {
      detail: 'A key cannot create a key that expires later than the key, secret or token that was used.',
    })
  const isAnothers = before !== null && isAdmin(caller) && isOfAnotherUser(before, caller)
  if (isAnothers && !raised.every((name) => isPutBack(name, locked, after))) {
    fail('forbidden', { detail: 'Only the user who owns a key widens and rotates it.' })
  }
  return next
}

/**
 * Whether a key is the caller's own, or belongs to an account that the caller alone manages. Where an admin lowers such a
 * key, nothing is locked.
 */
function isOwn(caller: KeyManager, key: WholeKey | null, account: WholeAccount | null): boolean {
  if (caller.kind !== 'user') return false
  return account ? managesAlone(caller, account) : key?.userId === caller.userId
}

/** Whether a setting that an admin lowered is raised to at most its value from before. */
function isPutBack(name: string, locked: Readonly<Record<string, unknown>>, after: KeyPower): boolean {
  const known = SETTINGS[name]
  return known !== undefined && Object.hasOwn(locked, name) && known.isWithin(known.read(after), locked[name])
}
