import { fail } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import { areWithin } from '../../lib/ip.ts'
import type { Role } from '../../lib/model.ts'
import { isRateWithin, type Rate } from '../../lib/rate.ts'
import { type Ceiling, covers, KEYS_WRITE } from '../../lib/scopes.ts'
import { requirePowerOver } from '../change/power.ts'
import type { Context } from '../context.ts'
import { isSameOwner, type Owner, ownerOf, ownerOfRow } from '../owners.ts'
import { isAdmin, type KeyPrincipal, type Principal, readsAll, type UserPrincipal } from '../principal.ts'
import {
  findAccount,
  manages,
  requireManagedAccount,
  type ServiceAccountRow,
} from '../service-accounts/service-accounts.ts'
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
 * @throws Problem not_found, invalid_token where the account of the key that calls is gone
 */
export async function requireKeysAccount(
  context: Context,
  caller: KeyManager,
  id: string,
): Promise<ServiceAccountRow> {
  if (caller.kind === 'user') return requireManagedAccount(context, caller, id)
  if (caller.kind === 'key' && caller.owner.id !== id) fail('not_found')
  return findAccount(context, id, caller.kind === 'key' ? 'invalid_token' : 'not_found')
}

/**
 * A key that the caller may look at. What is not theirs is not there.
 * @throws Problem not_found
 */
export async function requireKey(context: Context, caller: KeyManager, id: string): Promise<WholeKey> {
  const key = isId(id) ? await findKey(context.db, id) : null
  if (!key) fail('not_found')
  const { type, id: ownerId } = ownerOfRow(key)
  // Only of a person is it asked whether they manage the account.
  const isAsked = type === 'service_account' && caller.kind === 'user' && !isAdmin(caller)
  if (readsAll(caller)) return key
  return isInReach(caller, key, isAsked ? await findAccount(context, ownerId) : null)
    ? key
    : fail('not_found')
}

/**
 * Whether a caller may act on a locked key. Support reaches everybody's keys, to disable and revoke them, but admins'.
 * @param owner the locked user who owns the key; null: a service account does
 * @param isEnding whether the change does nothing but disable or revoke
 * @throws Problem not_found, forbidden
 */
export function requireActing(
  caller: KeyManager,
  key: WholeKey,
  account: ServiceAccountRow | null,
  owner: { role: Role } | null,
  isEnding: boolean,
): void {
  if (isInReach(caller, key, account) && covers(caller.grants, KEYS_WRITE)) return
  if (!readsAll(caller)) fail('not_found')
  if (!isEnding) fail('forbidden', { detail: 'Support disables and revokes keys, and changes nothing else.' })
  if (owner) requirePowerOver(caller, owner.role)
}

/**
 * Whether a caller may look at a key, and act on it: their own, one of an account that they manage, or as an admin any.
 * A key reaches those of its own owner that lie within its bounds.
 * @param account the service account that owns the key; null: a user does
 */
function isInReach(caller: KeyManager, key: WholeKey, account: ServiceAccountRow | null): boolean {
  if (caller.kind === 'operator' || isAdmin(caller)) return true
  if (isSameOwner(ownerOfRow(key), ownerOf(caller)))
    return caller.kind === 'user' || isWithinReach(caller, boundsOf(key))
  return caller.kind === 'user' && account !== null && manages(caller, account)
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

type Bounded = Pick<WholeKey, 'scopes' | 'expiresAt' | 'rateLimit' | 'rateWindowSeconds' | 'allowedIps'>

/** What a key may do, as far as another key has to cover it. */
export type Bounds = {
  scopes: readonly string[]
  expiresAt: Date | null
  rate: Rate | null
  allowedIps: readonly string[] | null
}

export const boundsOf = (key: Bounded): Bounds => ({
  scopes: key.scopes,
  expiresAt: key.expiresAt,
  rate: rateOf(key),
  allowedIps: key.allowedIps,
})

/** Whether what a key may do lies within what a managing key may do itself. */
export function isWithinReach(manager: KeyPrincipal, bounds: Bounds): boolean {
  return (
    bounds.scopes.every((scope) => covers(manager.grants, scope)) &&
    !outlives(bounds.expiresAt, manager.keyExpiresAt) &&
    isRateWithin(bounds.rate, manager.rateLimit) &&
    areIpsWithin(bounds.allowedIps, manager.allowedIps)
  )
}

/**
 * A key whose uses are counted leads to none whose uses are not: it makes, rotates and widens no other. Each key that it
 * made would begin with a limit of its own.
 * @throws Problem forbidden
 */
export function requireUnlimited(caller: KeyManager): void {
  if (caller.kind !== 'key' || (!caller.hasCredits && caller.rateLimit === null)) return
  fail('forbidden', { detail: 'A key with credits or a rate limit makes, rotates and widens no keys.' })
}

export const outlives = (end: Date | null, limit: Date | null): boolean =>
  limit !== null && (end === null || end.getTime() > limit.getTime())

/** Whether every address of `inner` is one of `outer`; null is every address. */
export function areIpsWithin(inner: readonly string[] | null, outer: readonly string[] | null): boolean {
  return outer === null || (inner !== null && areWithin(inner, outer))
}
