import { isDeepStrictEqual } from 'node:util'
import { fail } from '../../lib/errors.ts'
import { isRateWithin, rateOf } from '../../lib/rate.ts'
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
import { areCreditsWithin, compareCredits } from '../credits/within.ts'
import { isSameOwner, type Owner, ownerOf } from '../owners.ts'
import { isAdmin, isDelegate } from '../principal.ts'
import { managesAlone, type WholeAccount } from '../service-accounts/managers.ts'
import { requireGrants } from '../verify/problems.ts'
import type { WholeKey } from './queries.ts'
import { ownerFor, requireLimitsKept } from './rate-root.ts'
import { areIpsWithin, boundsOf, isOfAnotherUser, isWithinReach, type KeyManager, outlives } from './reach.ts'

/** The part of a key that decides what it may do, for how long, and by which secrets. */
export type KeyPower = Pick<
  WholeKey,
  | 'scopes'
  | 'expiresAt'
  | 'isActive'
  | 'rateLimit'
  | 'rateWindowSeconds'
  | 'rateRoot'
  | 'allowedIps'
  | 'credits'
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
  credits: setting((key) => key.credits && compareCredits(key.credits), areCreditsWithin),
  is_active: setting((key) => key.isActive, isActiveWithin),
  secrets: setting(
    (key) => Object.fromEntries(key.secrets.map(({ id, expiresAt }) => [id, formatInstant(expiresAt)])),
    (inner, outer) =>
      Object.entries(inner).every(([id, end]) => outer[id] !== undefined && isNoLater(end, outer[id])),
    { isLockable: false },
  ),
}

/**
 * Decides whether a caller may change a key from one state to another. Every route that creates, changes or rotates
 * keys asks this function, so that no route can be used to evade another.
 *
 * - A change that gives the key nothing more is allowed to every caller who manages the key.
 * - A change that gives it more needs a caller who could grant all scopes that the key then holds.
 * - A user's key is widened by that user alone. Two exceptions: an admin may restore what an admin had lowered, and raises
 *   the limits that the user cannot raise.
 * - The owner of a key only lowers the limits that somebody else set.
 * @param before null: the key is new
 * @param account the service account that owns the key; null: a user owns it
 * @returns the settings that are locked after the change, and the limits that somebody else than the owner set
 * @throws Problem forbidden, insufficient_scope
 */
export function requireKeyPower(
  caller: KeyManager,
  before: WholeKey | null,
  after: KeyPower,
  account: WholeAccount | null,
): Pick<WholeKey, 'lockedSettings' | 'limitsOfOthers'> {
  const owner = ownerFor(caller, before, account?.id ?? null)
  const locked = before?.lockedSettings ?? {}
  const by = { ...lowersAs(caller), isOwn: isOwn(caller, before, account) }
  const lockedSettings = before === null ? locked : relock(SETTINGS, locked, before, after, by)
  const next = {
    lockedSettings,
    limitsOfOthers: limitsOfOthers(caller, before, after, owner, lockedSettings),
  }
  const raised = findRaised(SETTINGS, before, after)
  if (raised.length === 0) return next

  if (owner) requireLimitsKept(caller, before, owner)
  requireGrants(caller, after.scopes)
  // A user who manages the account may have lost scopes since, so the user must still be able to grant all scopes of
  // the account. A key acts for its owner, and is bound by its own scopes.
  if (account && caller.kind === 'user') requireGrants(caller, account.scopes)
  if (isDelegate(caller) && !isWithinReach(caller, boundsOf(after)))
    fail('forbidden', {
      detail: 'A key or an app cannot give a key more than its own scopes, expiry, limits and addresses.',
    })
  if (isDelegate(caller) && outlives(after.expiresAt, caller.endsAt))
    fail('forbidden', {
      detail: 'A key or an app cannot create a key that expires later than what was used to make it.',
    })
  const isAnothers = before !== null && isAdmin(caller) && isOfAnotherUser(before, caller)
  const mayRaise = (name: string) => isPutBack(name, locked, after) || before?.limitsOfOthers.includes(name)
  if (isAnothers && !raised.every(mayRaise)) {
    fail('forbidden', { detail: 'Only the user who owns a key widens and rotates it.' })
  }
  return next
}

const LIMITS = ['rate_limit', 'credits']

/**
 * The limits of a key that somebody else than its owner set or lowered last. Otherwise a customer could lift the limits of a
 * key that the product made for the customer. What an admin lowered is locked already, with the value that it goes back to.
 * @throws Problem forbidden where the owner raises or clears one of them
 */
function limitsOfOthers(
  caller: KeyManager,
  before: WholeKey | null,
  after: KeyPower,
  owner: Owner | null,
  lockedNow: Readonly<Record<string, unknown>>,
): string[] {
  const ofOthers = before?.limitsOfOthers ?? []
  const isByOwner = caller.kind !== 'operator' && owner !== null && isSameOwner(ownerOf(caller), owner)
  return LIMITS.filter((name) => {
    const { read, isWithin } = SETTINGS[name] ?? fail('internal')
    const [was, is] = [before && read(before), read(after)]
    if (isByOwner && ofOthers.includes(name) && !isWithin(is, was))
      fail('forbidden', {
        detail: `Somebody else than the key's owner set "${name}": the owner lowers it, and does not raise or clear it.`,
      })
    const isKept = [was, before?.lockedSettings[name]].some((value) => isDeepStrictEqual(value, is))
    const stays = isByOwner || isKept || Object.hasOwn(lockedNow, name)
    return is !== null && (stays ? ofOthers.includes(name) : true)
  })
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
