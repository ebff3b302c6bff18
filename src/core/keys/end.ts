import type { Transaction } from '../../db/database.ts'
import { fail } from '../../lib/errors.ts'
import { actorOf, type Origin, type RecordEvent, recordChange } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import type { KeyPrincipal, UserPrincipal } from '../principal.ts'
import {
  deleteKey,
  deleteSecret,
  listCreatedKeys,
  lockKey,
  updateRevoked,
  updateRevokedOfUser,
  updateSecretExpiry,
} from './queries.ts'
import { isOfAnotherUser, type KeyManager, requireManagedKey } from './reach.ts'
import { liveSecrets } from './rotate.ts'

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
  options: { reason: string | null; created: boolean },
): Promise<void> {
  const key = await requireManagedKey(context, caller, id)
  await recordChange(context, origin, async (tx, record) => {
    const made = options.created ? await listCreatedKeys(tx, key.id) : []
    const ids = [key.id, ...made.map((child) => child.id)]
    for (const revoked of await updateRevoked(tx, ids, new Date(context.clock()), options.reason)) {
      const details = { reason: options.reason, ...(revoked.id === key.id ? {} : { made_by: key.id }) }
      await record({ action: 'key.revoked', target: { type: 'key', id: revoked.id }, details })
    }
  })
}

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
  const key = await requireManagedKey(context, caller, id)
  if (isOfAnotherUser(key, caller)) {
    fail('forbidden', { detail: "Another user's key can be revoked, not deleted." })
  }
  await recordChange(context, origin, async (tx, record) => {
    // Of two at once, one finds it.
    if (!(await deleteKey(tx, key.id))) fail('not_found')
    const details = { name: key.name, user_id: key.userId, service_account_id: key.serviceAccountId }
    await record({ action: 'key.deleted', target: { type: 'key', id: key.id }, details })
  })
}

/** Ends the secret that was shown, and the key with its last one: whoever found a leaked key may end it. */
export async function endShownSecret(context: Context, origin: Origin, key: KeyPrincipal): Promise<void> {
  const by = { ...origin, actor: actorOf(key) }
  const target = { type: 'key' as const, id: key.keyId }
  await recordChange(context, by, async (tx, record) => {
    const row = await lockKey(tx, key.keyId)
    const live = row ? liveSecrets(row, context.clock()) : []
    const shown = live.find((secret) => secret.id === key.secretId)
    if (!shown) return
    if (live.length === 1) {
      const reason = 'ended_by_holder'
      const revoked = await updateRevoked(tx, [key.keyId], new Date(context.clock()), reason)
      // Of several at once the first one ends it.
      if (revoked.length > 0) await record({ action: 'key.revoked', target, details: { reason } })
      return
    }
    await deleteSecret(tx, shown.id)
    // Where it was the new one, the rotation is cancelled: the old one lives on.
    const rest = live.filter((other) => other.id !== shown.id).map((other) => other.id)
    await updateSecretExpiry(tx, rest, null)
    await record({ action: 'key.secret_ended', target, details: { start: shown.start } })
  })
}

/** Ends a key that somebody holds (RFC 7009). */
export async function revokePresentedKey(context: Context, origin: Origin, key: KeyPrincipal): Promise<void> {
  const by = { ...origin, actor: actorOf(key) }
  await recordChange(context, by, async (tx, record) => {
    const reason = 'revoked_by_holder'
    for (const { id } of await updateRevoked(tx, [key.keyId], new Date(context.clock()), reason)) {
      await record({ action: 'key.revoked', target: { type: 'key', id }, details: { reason } })
    }
  })
}

/**
 * Ends every live key of a user, as part of another change.
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
  for (const { id } of revoked) {
    await record({ action: 'key.revoked', target: { type: 'key', id }, details: { reason } })
  }
  return revoked.length
}
