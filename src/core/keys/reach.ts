import { fail } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import { areWithin } from '../../lib/ip.ts'
import { isRateWithin, type Rate } from '../../lib/rate.ts'
import { type Ceiling, covers } from '../../lib/scopes.ts'
import type { Context } from '../context.ts'
import { isSameOwner, type Owner, ownerOf, ownerOfRow } from '../owners.ts'
import { isAdmin, type KeyPrincipal, type Principal, type UserPrincipal } from '../principal.ts'
import { findAccount, requireManagedAccount } from '../service-accounts/service-accounts.ts'
import { rateOf } from '../verify/rates.ts'
import { findKey, type WholeKey } from './queries.ts'

/**
 * A person at the command line, who acts as the system: every key is theirs to manage, and whose a new one is they say;
 * it holds no more than that user could.
 */
export type Operator = { kind: 'operator'; owner: (Owner & { ceiling: Ceiling }) | null; grants: Ceiling }

/** Whoever manages keys. */
export type KeyManager = Principal | Operator

/** An operator; `owner` is the user whose key is made. */
export const operator = (owner: Operator['owner'] = null): Operator => ({
  kind: 'operator',
  owner,
  grants: { everything: true, reserved: true, scopes: [] },
})

/**
 * The service account whose keys a caller may manage. A key manages the keys of its own owner alone; a user those of
 * every service account that they manage.
 * @throws Problem not_found
 */
export async function accountOwner(
  context: Context,
  caller: KeyManager,
  id: string,
): Promise<Owner & { scopes: string[] }> {
  if (caller.kind === 'key' && caller.owner.id !== id) fail('not_found')
  const account =
    caller.kind === 'user' ? await requireManagedAccount(context, caller, id) : await findAccount(context, id)
  return { type: 'service_account', id: account.id, scopes: account.scopes }
}

/**
 * A key that the caller may look at. What is not theirs is not there.
 * @throws Problem not_found
 */
export async function requireKey(context: Context, caller: KeyManager, id: string): Promise<WholeKey> {
  const key = isId(id) ? await findKey(context.db, id) : null
  if (!key) fail('not_found')
  if (caller.kind === 'operator' || isAdmin(caller)) return key
  const owner = ownerOfRow(key)
  const isOwn = isSameOwner(owner, ownerOf(caller))
  if (isOwn && (caller.kind === 'user' || isWithinReach(caller, boundsOf(key)))) return key
  if (caller.kind === 'key' || owner.type === 'user') fail('not_found')
  await requireManagedAccount(context, caller, owner.id)
  return key
}

/** Whether a key belongs to a user, and to another than this one. */
export function isOfAnotherUser(key: WholeKey, { userId }: UserPrincipal): boolean {
  const owner = ownerOfRow(key)
  return owner.type === 'user' && owner.id !== userId
}

/**
 * A key that the caller may act on.
 * @throws Problem not_found, forbidden where a key would manage itself
 */
export async function requireManagedKey(context: Context, caller: KeyManager, id: string): Promise<WholeKey> {
  if (caller.kind === 'key' && caller.keyId === id)
    fail('forbidden', { detail: 'A key does not manage itself.' })
  return requireKey(context, caller, id)
}

type Settings = Pick<WholeKey, 'scopes' | 'expiresAt' | 'rateLimit' | 'rateWindowSeconds' | 'allowedIps'>

/** What a key may do, as far as another key has to cover it. */
export type Bounds = {
  scopes: readonly string[]
  expiresAt: Date | null
  rate: Rate | null
  allowedIps: readonly string[] | null
}

export const boundsOf = (key: Settings): Bounds => ({
  scopes: key.scopes,
  expiresAt: key.expiresAt,
  rate: rateOf(key),
  allowedIps: key.allowedIps,
})

/** Whether what a key may do lies within what a managing key may do itself. */
export function isWithinReach(manager: KeyPrincipal, bounds: Bounds): boolean {
  return (
    bounds.scopes.every((scope) => covers(manager.grants, scope)) &&
    !outlives(bounds.expiresAt, manager.expiresAt) &&
    isRateWithin(bounds.rate, manager.rateLimit) &&
    areIpsWithin(bounds.allowedIps, manager.allowedIps)
  )
}

/**
 * Whoever holds a key with credits must come to none without: it makes, shows and widens no other.
 * @throws Problem forbidden
 */
export function requireNoCredits(caller: KeyManager): void {
  if (caller.kind === 'key' && caller.hasCredits) {
    fail('forbidden', { detail: 'A key with credits makes, rotates and widens no keys.' })
  }
}

export const outlives = (end: Date | null, limit: Date | null): boolean =>
  limit !== null && (end === null || end.getTime() > limit.getTime())

/** Whether every address of `inner` is one of `outer`; null is every address. */
export function areIpsWithin(inner: readonly string[] | null, outer: readonly string[] | null): boolean {
  return outer === null || (inner !== null && areWithin(inner, outer))
}
