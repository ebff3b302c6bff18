import { fail } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import { areWithin } from '../../lib/ip.ts'
import type { Role } from '../../lib/model.ts'
import { isRateWithin, type Rate, rateOf } from '../../lib/rate.ts'
import { type Ceiling, covers, KEYS_LABEL, KEYS_WRITE } from '../../lib/scopes.ts'
import { areScopesWithin, requirePowerOver } from '../change/power.ts'
import type { Context } from '../context.ts'
import { isSameOwner, type Owner, ownerOf, ownerOfRow } from '../owners.ts'
import {
  type Delegate,
  isAdmin,
  isDelegate,
  type PortalPrincipal,
  type Principal,
  readsAll,
  type UserPrincipal,
} from '../principal.ts'
import { manages, type WholeAccount } from '../service-accounts/managers.ts'
import { findAccount, requireManagedAccount } from '../service-accounts/service-accounts.ts'
import { lackOfScopes } from '../verify/problems.ts'
import { findKey, type WholeKey } from './queries.ts'

/**
 * A person at the command line, who acts as the system and manages every key. `owner` is the user for whom a key is
 * created; the key holds no more than that user could.
 */
export type Operator = { kind: 'operator'; owner: (Owner & { ceiling: Ceiling }) | null; grants: Ceiling }

/** A caller that manages keys. */
export type KeyManager = Principal | Operator

/** An operator; `owner` is the user for whom a key is created. */
export const operator = (owner: Operator['owner'] = null): Operator => ({
  kind: 'operator',
  owner,
  grants: { everything: true, reserved: true, scopes: [] },
})

/**
 * The service account whose keys a caller wants to manage: one that the caller manages, or the owner of the key or portal
 * session that calls.
 * @throws Problem not_found, invalid_token where the account of the key that calls was deleted
 */
export async function requireKeysAccount(
  context: Context,
  caller: KeyManager,
  id: string,
): Promise<WholeAccount> {
  if (caller.kind === 'operator') return findAccount(context, id)
  if (ownerOf(caller).id === id) return findAccount(context, id, 'invalid_token')
  // A customer in the portal manages nothing.
  return caller.kind === 'portal' ? fail('not_found') : requireManagedAccount(context, caller, id)
}

/**
 * A key that the caller may read. A key out of reach is answered as an unknown one, so that its existence is not
 * revealed.
 * @throws Problem not_found
 */
export async function requireKey(context: Context, caller: KeyManager, id: string): Promise<WholeKey> {
  const key = isId(id) ? await findKey(context.db, id) : null
  if (!key) fail('not_found')
  const { type, id: ownerId } = ownerOfRow(key)
  if (caller.kind === 'operator' || readsAll(caller)) return key
  const isAsked = type === 'service_account' && ownerOf(caller).id !== ownerId
  return isInReach(caller, key, isAsked ? await findAccount(context, ownerId) : null)
    ? key
    : fail('not_found')
}

/** A change that does nothing but disable or revoke, or nothing but label: each takes less than any other change. */
export type OnlyChange = 'ending' | 'labels'

/**
 * Whether a caller may act on a locked key. Support reaches everybody's keys, to disable and revoke them, but admins'.
 * @param owner the locked user who owns the key; null: a service account does
 * @throws Problem not_found, forbidden, insufficient_scope where the caller may label alone
 */
export function requireActing(
  caller: KeyManager,
  key: WholeKey,
  account: WholeAccount | null,
  owner: { role: Role } | null,
  only: OnlyChange | null,
): void {
  if (caller.kind === 'portal') {
    requirePortalActing(caller, key)
    return
  }
  const isReached = isInReach(caller, key, account)
  if (isReached && covers(caller.grants, only === 'labels' ? KEYS_LABEL : KEYS_WRITE)) return
  // Labels that stay as they are take no scope for labels, so those who change keys may name them.
  if (isReached && covers(caller.grants, KEYS_WRITE)) return
  if (!readsAll(caller)) {
    if (isReached) throw lackOfScopes([KEYS_WRITE])
    fail('not_found')
  }
  if (only !== 'ending')
    fail('forbidden', { detail: 'Support disables and revokes keys, and changes nothing else.' })
  if (owner) requirePowerOver(caller, owner.role)
}

/**
 * A portal session acts on the keys of its owner that hold no scope beyond its own. The others it only shows.
 * @throws Problem not_found, forbidden
 */
function requirePortalActing(caller: PortalPrincipal, key: WholeKey): void {
  if (!isSameOwner(ownerOfRow(key), ownerOf(caller))) fail('not_found')
  if (!areScopesWithin(key.scopes, caller.scopes))
    fail('forbidden', { detail: 'The key holds a scope that this portal session was not made for.' })
}

/**
 * Whether a caller may look at a key, and act on it: their own, one of an account that they manage, or as an admin any.
 * A key reaches those of its own owner, and of the accounts that its owner manages, that lie within its bounds; a portal
 * session those of its own owner.
 * @param account the service account that owns the key; null: a user does
 */
function isInReach(caller: KeyManager, key: WholeKey, account: WholeAccount | null): boolean {
  if (caller.kind === 'operator' || isAdmin(caller)) return true
  if (isSameOwner(ownerOfRow(key), ownerOf(caller)))
    return !isDelegate(caller) || isWithinReach(caller, boundsOf(key))
  if (caller.kind === 'portal' || account === null || !manages(caller, account)) return false
  return caller.kind === 'user' || isWithinReach(caller, boundsOf(key))
}

/** Whether a key belongs to a user other than this one. */
export function isOfAnotherUser(key: WholeKey, { userId }: UserPrincipal): boolean {
  const owner = ownerOfRow(key)
  return owner.type === 'user' && owner.id !== userId
}

/**
 * A key that the caller may change.
 * @throws Problem not_found, forbidden where a key would change itself
 */
export async function requireManagedKey(context: Context, caller: KeyManager, id: string): Promise<WholeKey> {
  if (caller.kind === 'key' && caller.keyId === id)
    fail('forbidden', { detail: 'A key cannot manage itself.' })
  return requireKey(context, caller, id)
}

type Bounded = Pick<
  WholeKey,
  'scopes' | 'expiresAt' | 'rateLimit' | 'rateWindowSeconds' | 'rateRoot' | 'allowedIps'
>

/** The bounds of a key that are compared with those of a managing key. */
export type Bounds = {
  scopes: readonly string[]
  expiresAt: Date | null
  rate: Rate | null
  /** The key whose rate it shares. */
  rateRoot: string | null
  allowedIps: readonly string[] | null
}

/** The bounds of a key. */
export const boundsOf = (key: Bounded): Bounds => ({
  scopes: key.scopes,
  expiresAt: key.expiresAt,
  rate: rateOf(key),
  rateRoot: key.rateRoot,
  allowedIps: key.allowedIps,
})

/**
 * Whether a managing key may itself do everything that these bounds allow. An app has no limits and no addresses; its end
 * bounds what it makes, and not what it reaches.
 */
export function isWithinReach(manager: Delegate, bounds: Bounds): boolean {
  if (!bounds.scopes.every((scope) => covers(manager.grants, scope))) return false
  if (manager.kind === 'client') return true
  return (
    !outlives(bounds.expiresAt, manager.keyExpiresAt) &&
    isLimitedAs(bounds, manager.keyId, manager.rateLimit) &&
    (manager.rateRoot === null || isLimitedAs(bounds, manager.rateRoot.keyId, manager.rateRoot.rate)) &&
    areIpsWithin(bounds.allowedIps, manager.allowedIps)
  )
}

/** Whether bounds allow no more uses than a rate: by a rate of their own, or because the uses count in that rate's counter. */
const isLimitedAs = ({ rate, rateRoot }: Bounds, counter: string, limit: Rate | null): boolean =>
  rateRoot === counter || isRateWithin(rate, limit)

/** Whether an expiry is later than a limit; null is never. */
export const outlives = (end: Date | null, limit: Date | null): boolean =>
  limit !== null && (end === null || end.getTime() > limit.getTime())

/** Whether every address of `inner` lies in `outer`; null is every address. */
export function areIpsWithin(inner: readonly string[] | null, outer: readonly string[] | null): boolean {
  return outer === null || (inner !== null && areWithin(inner, outer))
}
