import { fail, failField } from '../../lib/errors.ts'
import { readExternalId } from '../../lib/external-id.ts'
import { isId } from '../../lib/ids.ts'
import { readInstant } from '../../lib/time.ts'
import type { Origin } from '../audit/audit.ts'
import { type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { isSameOwner, type Owner, ownerOf, ownerOfRow } from '../owners.ts'
import { type Holder, isAdmin, readsAll } from '../principal.ts'
import { heldAccount, locksOfAccount, manages } from '../service-accounts/managers.ts'
import { findAccount } from '../service-accounts/service-accounts.ts'
import type { KeysRevocation, KeysRevoked } from './model.ts'
import {
  countRevocable,
  findOwnerRole,
  hasKeysOf,
  type KeyRow,
  listRevocable,
  type RevocableKeys,
  updateRevoked,
} from './queries.ts'
import { boundsOf, isWithinReach, requireKeysAccount } from './reach.ts'
import { keyRevoked } from './steps.ts'

/** Keys of one request: it takes a fraction of DATABASE_STATEMENT_TIMEOUT_MS. */
const MAX_KEYS = 5000
/** The same for support. Each owner is locked, because support may not revoke the keys of admins. */
const MAX_KEYS_OF_SUPPORT = 1000

/**
 * Revokes keys by what they have in common, the oldest first, as many as one transaction takes. The same request again goes
 * on until nothing remains.
 * @returns how many were revoked, and how many more there are, counted up to 100,000
 * @throws Problem validation_failed unless exactly one selector is given, not_found for one outside of the caller's reach,
 * forbidden for `all` by anybody but an admin, and for an admin's keys by support
 */
export async function revokeKeys(
  context: Context,
  origin: Origin,
  caller: Holder,
  input: KeysRevocation,
): Promise<KeysRevoked> {
  const chosen = await readSelection(context, caller, input)
  const keys = { ...chosen, reach: reachOf(caller) }
  const reason = input.reason ?? null
  const revoked = input.dry_run === true ? 0 : await revokeSome(context, origin, caller, keys, reason)
  return { revoked, remaining: await countRemaining(context, caller, keys) }
}

function revokeSome(
  context: Context,
  origin: Origin,
  caller: Holder,
  keys: RevocableKeys,
  reason: string | null,
): Promise<number> {
  const limit = keys.reach.kind === 'support' ? MAX_KEYS_OF_SUPPORT : MAX_KEYS
  const locks = async (): Promise<Lock[]> => {
    const found = (await listRevocable(context.db, keys, limit)).filter((key) => isManageable(caller, key))
    return found.flatMap(({ id, userId, serviceAccountId }): Lock[] => [
      ['keys', id, 'no key update'],
      // What else decides whether the caller may revoke the key.
      ...((keys.reach.kind === 'user' || keys.reach.kind === 'key') && serviceAccountId !== null
        ? locksOfAccount(serviceAccountId, 'share')
        : []),
      ...(keys.reach.kind === 'support' && userId !== null ? [['users', userId, 'share'] as const] : []),
    ])
  }
  return recordChange(context, origin, caller, locks, async (change) => {
    const named = new Set(change.locks.flatMap(([what, id]) => (what === 'keys' ? [id] : [])))
    const ids = [...change.held.keys.values()]
      .filter((key) => named.has(key.id) && mayRevoke(change, key))
      .map(({ id }) => id)
    if (ids.length === 0) return 0
    const revoked = await updateRevoked(change.tx, ids, change.now, reason)
    await change.record(revoked.map(({ id }) => keyRevoked(id, reason)))
    return revoked.length
  })
}

/** The key that calls; null: a person or an app calls. */
const ownKeyOf = (caller: Holder): string | null => (caller.kind === 'key' ? caller.keyId : null)

/** What keys a caller may revoke, as statements narrow them. */
function reachOf(caller: Holder): RevocableKeys['reach'] {
  if (isAdmin(caller)) return { kind: 'all' }
  if (readsAll(caller)) return { kind: 'support', keyId: ownKeyOf(caller) }
  if (caller.kind === 'user') return { kind: 'user', userId: caller.userId }
  return {
    kind: 'key',
    owner: ownerOf(caller),
    keyId: ownKeyOf(caller),
    scopes: caller.scopes,
    expiresAt: caller.kind === 'key' ? caller.keyExpiresAt : null,
  }
}

/** Whether the caller, as of now, may revoke a key that is locked together with what decides it. */
function mayRevoke({ caller, held }: Change<Holder>, key: KeyRow): boolean {
  if (isAdmin(caller)) return true
  if (!isManageable(caller, key)) return false
  if (readsAll(caller)) {
    return key.userId === null || (held.users.get(key.userId)?.role ?? 'admin') !== 'admin'
  }
  const owner = ownerOfRow(key)
  if (isSameOwner(owner, ownerOf(caller))) return true
  const account = owner.type === 'user' ? undefined : heldAccount(held, owner.id)
  return account !== undefined && manages(caller, account)
}

/** A key never revokes itself, and without support only what lies within its own bounds. */
function isManageable(caller: Holder, key: KeyRow): boolean {
  if (caller.kind === 'user') return true
  return key.id !== ownKeyOf(caller) && (readsAll(caller) || isWithinReach(caller, boundsOf(key)))
}

/** Rates and addresses of a managing key are compared here: no statement counts by them. */
async function countRemaining(context: Context, caller: Holder, keys: RevocableKeys): Promise<number> {
  const isCompared =
    keys.reach.kind === 'key' &&
    caller.kind === 'key' &&
    (caller.rateLimit !== null || caller.rateRoot !== null || caller.allowedIps !== null)
  if (!isCompared) return countRevocable(context.db, keys)
  return (await listRevocable(context.db, keys, MAX_KEYS)).filter((key) => isManageable(caller, key)).length
}

type Selection = Omit<RevocableKeys, 'reach'>
const NONE: Selection = { ids: null, owner: null, externalId: null, createdBefore: null }

async function readSelection(context: Context, caller: Holder, input: KeysRevocation): Promise<Selection> {
  const { ids, user_id, service_account_id, external_id, all } = input
  const given = [ids, user_id, service_account_id, external_id, all].filter((value) => value !== undefined)
  if (given.length !== 1)
    failField('', 'Give exactly one of ids, user_id, service_account_id, external_id and all')
  const createdBefore = readInstant('/created_before', input.created_before)
  const selection = { ...NONE, createdBefore }
  if (all !== undefined) {
    if (!isAdmin(caller)) fail('forbidden', { detail: "Only an admin revokes everybody's keys." })
    if (createdBefore === null) failField('/created_before', 'Is required with all')
    return selection
  }
  if (ids !== undefined) return { ...selection, ids: ids.filter(isId) }
  if (external_id !== undefined) {
    const externalId = readExternalId('/external_id', external_id)
    const keys = { ...selection, createdBefore: null, externalId, reach: reachOf(caller) }
    if (!(await hasKeysOf(context.db, keys))) fail('not_found')
    return { ...selection, externalId }
  }
  return { ...selection, owner: await requireOwner(context, caller, user_id, service_account_id) }
}

/** An owner whose keys the caller may revoke. */
async function requireOwner(
  context: Context,
  caller: Holder,
  userId: string | undefined,
  accountId = '',
): Promise<Owner> {
  if (userId === undefined) {
    const { id } = readsAll(caller)
      ? await findAccount(context, accountId)
      : await requireKeysAccount(context, caller, accountId)
    return { type: 'service_account', id }
  }
  if (!readsAll(caller) && ownerOf(caller).id !== userId) fail('not_found')
  const role = isId(userId) ? await findOwnerRole(context.db, userId) : null
  if (role === null) fail('not_found')
  if (role === 'admin' && !isAdmin(caller) && ownerOf(caller).id !== userId)
    fail('forbidden', { detail: "An admin's keys are revoked by admins alone." })
  return { type: 'user', id: userId }
}
