import type { Transaction } from '../../db/database.ts'
import { fail } from '../../lib/errors.ts'
import { actorOf, type Origin } from '../audit/audit.ts'
import { changedMeanwhile, type Lock, type RecordEvent, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { ownerOfRow } from '../owners.ts'
import type { KeyPrincipal, UserPrincipal } from '../principal.ts'
import { accountOf, changeManagedKey, lockOwner } from './change-managed.ts'
import {
  deleteKey,
  deleteSecrets,
  findWholeKey,
  insertRevokedToken,
  listCreatedKeys,
  updateRevoked,
  updateRevokedOfUser,
  type WholeKey,
} from './queries.ts'
import { isOfAnotherUser, type KeyManager, requireActing, requireManagedKey } from './reach.ts'
import { liveSecrets } from './rotate.ts'
import { endInSteps, keyRevoked } from './steps.ts'

/**
 * Ends a key for good; again: the same answer.
 * @param options.created also ends the keys that this one made, and those that these made
 * @throws Problem not_found, forbidden where a key would revoke itself
 */
export async function revokeKey(
  context: Context,
  origin: Origin,
  caller: KeyManager,
  id: string,
  { reason, created }: { reason: string | null; created: boolean },
): Promise<void> {
  const key = await requireManagedKey(context, caller, id)
  const revoke = (limit: number) => revokeStep(context, origin, caller, key, reason, limit)
  await (created ? endInSteps(revoke) : revoke(0))
}

/** Revokes a key, and at most so many live ones of those that it made; says how many of these. */
async function revokeStep(
  context: Context,
  origin: Origin,
  caller: KeyManager,
  key: WholeKey,
  reason: string | null,
  limit: number,
): Promise<number> {
  const { id } = key
  const locks = async (): Promise<Lock[]> => {
    const made = limit > 0 ? await listCreatedKeys(context.db, id, limit) : []
    return [key, ...made].flatMap((each): Lock[] => [
      lockOwner(ownerOfRow(each), 'no key update'),
      ['keys', each.id, 'no key update'],
    ])
  }
  return recordChange(context, origin, caller, locks, async (change) => {
    const { tx, held, now, record } = change
    const row = held.keys.get(id) ?? fail('not_found')
    const account = accountOf(change, ownerOfRow(row))
    const owner = (row.userId !== null && held.users.get(row.userId)) || null
    requireActing(change.caller, await findWholeKey(tx, row), account, owner, true)
    const made = limit > 0 ? await listCreatedKeys(tx, id, limit) : []
    // A key that was made in between would go on.
    if (made.some((child) => !held.keys.has(child.id))) throw changedMeanwhile()
    const revoked = await updateRevoked(tx, [id, ...made.map((child) => child.id)], now, reason)
    await record(
      revoked.map((each) => ({
        action: 'key.revoked',
        target: { type: 'key', id: each.id },
        details: { reason, ...(each.id === id ? {} : { made_by: id }) },
      })),
    )
    return made.length
  })
}

const DELETED = { key: 'update', secrets: 'update' } as const

/**
 * Removes one of the caller's own keys, or of a service account's that the caller manages; the audit trail stays.
 * @throws Problem not_found, forbidden where it is another user's (an admin may revoke it)
 */
export async function removeKey(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  id: string,
): Promise<void> {
  await changeManagedKey(context, origin, caller, id, DELETED, async ({ tx, key, caller, record }) => {
    if (isOfAnotherUser(key, caller)) {
      fail('forbidden', { detail: "Another user's key can be revoked, not deleted." })
    }
    await deleteKey(tx, id)
    const details = { name: key.name, user_id: key.userId, service_account_id: key.serviceAccountId }
    await record({ action: 'key.deleted', target: { type: 'key', id }, details })
  })
}

/** What ends with a credential that its holder ends: everything of the key, or what was presented alone. */
type Extent = 'key' | 'presented'

/**
 * Ends what was presented, and the key with its last secret: whoever found a leaked key may end it. A token that was made
 * from a key ends alone.
 */
export function endPresented(context: Context, origin: Origin, key: KeyPrincipal): Promise<void> {
  return endHeld(context, origin, key, 'presented')
}

/**
 * Ends what somebody holds (RFC 7009): a key by its newest secret, an older secret alone, a token that was made from a key
 * alone.
 */
export function revokePresented(context: Context, origin: Origin, key: KeyPrincipal): Promise<void> {
  return endHeld(context, origin, key, 'key')
}

/** Possession is the authority, so nothing is asked of the caller; what is over already changes nothing. */
async function endHeld(
  context: Context,
  origin: Origin,
  { keyId, secretId, claims, owner }: KeyPrincipal,
  extent: Extent,
): Promise<void> {
  const by = { ...origin, actor: actorOf({ kind: 'key', keyId }) }
  const locks: Lock[] = [
    lockOwner(owner, 'no key update'),
    ['keys', keyId, 'no key update'],
    ['secrets', secretId, claims ? 'no key update' : 'update'],
  ]
  await recordChange(context, by, null, locks, async ({ tx, held, now, record }) => {
    const key = held.keys.get(keyId)
    if (!key || !held.secrets.has(secretId)) return
    if (claims) {
      const token = { id: claims.tokenId, secretId, expiresAt: new Date(claims.expiresAtMs) }
      if (!(await insertRevokedToken(tx, token))) return
      const details = { key_id: keyId, reason: 'revoked_by_holder' }
      return record({ action: 'token.revoked', target: { type: 'token', id: claims.tokenId }, details })
    }
    const live = liveSecrets(await findWholeKey(tx, key), now.getTime())
    const presented = live.find((secret) => secret.id === secretId)
    if (!presented) return
    const isNewest = presented.id === live.at(-1)?.id
    const endsKey = extent === 'key' ? isNewest : live.length === 1
    if (!endsKey) {
      // The other secret goes on until its own end: less never does more.
      await deleteSecrets(tx, [presented.id])
      const details = { secret_id: presented.id, start: presented.start }
      return record({ action: 'key.secret_ended', target: { type: 'key', id: keyId }, details })
    }
    const reason = extent === 'key' ? 'revoked_by_holder' : 'ended_by_holder'
    const revoked = await updateRevoked(tx, [keyId], now, reason)
    await record(revoked.map(({ id }) => keyRevoked(id, reason)))
  })
}

/**
 * Ends every live key of a user and of the service accounts that the user alone manages, as part of another change.
 * @returns how many
 */
export async function revokeKeysOfUser(
  tx: Transaction,
  record: RecordEvent,
  userId: string,
  now: Date,
  reason: string,
): Promise<number> {
  const revoked = await updateRevokedOfUser(tx, userId, now, reason)
  await record(revoked.map(({ id }) => keyRevoked(id, reason)))
  return revoked.length
}
