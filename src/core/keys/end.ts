import type { Transaction } from '../../db/database.ts'
import { fail } from '../../lib/errors.ts'
import { actorOf, type Origin } from '../audit/audit.ts'
import {
  type Change,
  changedMeanwhile,
  type Lock,
  type RecordEvent,
  recordChange,
} from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { ownerOf, ownerOfRow } from '../owners.ts'
import type { KeyPrincipal, Operator, Principal, UserPrincipal } from '../principal.ts'
import { accountOf, changeManagedKey, lockOwner, locksOfOwner } from './change-managed.ts'
import { nameKey } from './notice-expiring.ts'
import {
  deleteKey,
  endSecrets,
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
 * Revokes a key for good. Revoking it again changes nothing and gives the same answer.
 * @param options.created also revokes the keys that this key created, the keys that those created, and so on
 * @throws Problem not_found, forbidden where a key would revoke itself, or a portal session what other keys created
 */
export async function revokeKey(
  context: Context,
  origin: Origin,
  caller: KeyManager,
  id: string,
  { reason, created }: { reason: string | null; created: boolean },
): Promise<void> {
  const key = await requireManagedKey(context, caller, id)
  // What a key created may belong to others, and hold what the session was not made for.
  if (created && caller.kind === 'portal')
    fail('forbidden', { detail: 'A portal session revokes keys one by one.' })
  const revoke = (limit: number) => revokeStep(context, origin, caller, key, reason, limit)
  await (created ? endInSteps(revoke) : revoke(0))
}

/**
 * Revokes a key, and at most `limit` of the live keys that it created.
 * @returns how many of those there were
 */
async function revokeStep(
  context: Context,
  origin: Origin,
  caller: KeyManager,
  key: WholeKey,
  reason: string | null,
  limit: number,
): Promise<number> {
  const { id } = key
  const list = async (db: Context['db'] | Transaction) =>
    limit > 0 ? await listCreatedKeys(db, id, limit) : []
  let made: Awaited<ReturnType<typeof list>> = []
  const locks = async (): Promise<Lock[]> => {
    made = await list(context.db)
    return [key, ...made].flatMap((each): Lock[] => [
      ...locksOfOwner(ownerOfRow(each)),
      ['keys', each.id, 'no key update'],
    ])
  }
  return recordChange(context, origin, caller, locks, async (change) => {
    const { tx, held, now, record } = change
    const row = held.keys.get(id) ?? fail('not_found')
    const account = accountOf(change, ownerOfRow(row))
    const owner = (row.userId !== null && held.users.get(row.userId)) || null
    requireActing(change.caller, await findWholeKey(tx, row), account, owner, 'ending')
    // A key that was created after the locks were chosen would stay live, unless another step follows. The change starts
    // again, with more locks.
    const isLast = made.length < limit
    if (isLast && (await list(tx)).some((child) => !held.keys.has(child.id))) throw changedMeanwhile()
    const revoked = await updateRevoked(tx, [id, ...made.map((child) => child.id)], now, reason)
    await tellOwners(change, revoked, reason)
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

/**
 * At most `limit` live keys that a maker made, which is no key itself, and that those made: the locks of a change, and what
 * the change then does.
 */
export function keysMadeBy(context: Context, makerId: string, limit: number) {
  let made: Awaited<ReturnType<typeof listCreatedKeys>> = []
  return {
    async locks(): Promise<Lock[]> {
      made = await listCreatedKeys(context.db, makerId, limit)
      return made.flatMap((each): Lock[] => [
        ...locksOfOwner(ownerOfRow(each)),
        ['keys', each.id, 'no key update'],
      ])
    },
    /** @returns how many keys it revoked */
    async revoke(change: Change<UserPrincipal | Operator>, reason: string): Promise<number> {
      const { tx, held, now, record } = change
      // As in `revokeStep`.
      const isLast = made.length < limit
      if (isLast && (await listCreatedKeys(tx, makerId, limit)).some(({ id }) => !held.keys.has(id)))
        throw changedMeanwhile()
      const ids = made.map(({ id }) => id)
      const revoked = ids.length === 0 ? [] : await updateRevoked(tx, ids, now, reason)
      await tellOwners(change, revoked, reason)
      await record(
        revoked.map(({ id }) => ({
          action: 'key.revoked',
          target: { type: 'key', id },
          details: { reason, made_by: makerId },
        })),
      )
      return made.length
    },
  }
}

/** Tells the users whose keys somebody else revoked: one mail each, however many keys there are. */
async function tellOwners(
  { caller, held, queueMail }: Pick<Change<Principal | Operator>, 'caller' | 'held' | 'queueMail'>,
  revoked: readonly { id: string }[],
  reason: string | null,
): Promise<void> {
  const by = caller.kind === 'operator' ? null : ownerOf(caller).id
  const keys = revoked.flatMap(({ id }) => held.keys.get(id) ?? [])
  const mails = [...Map.groupBy(keys, (key) => key.userId)].flatMap(([userId, theirs]) => {
    const owner = userId === null || userId === by ? undefined : held.users.get(userId)
    if (!owner) return []
    const parameters = { keys: theirs.map(nameKey), reason: reason ?? 'none given' }
    return [{ kind: 'key_revoked' as const, to: owner.email, userId: owner.id, parameters }]
  })
  await queueMail(mails)
}

const DELETED = { key: 'update', secrets: 'update' } as const

/**
 * Deletes one of the caller's own keys, or a key of a service account that the caller manages. Its rows in the audit
 * trail stay.
 * @throws Problem not_found, forbidden where the key belongs to another user (an admin may revoke it)
 */
export async function removeKey(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  id: string,
): Promise<void> {
  await changeManagedKey(context, origin, caller, id, DELETED, async ({ tx, key, caller, record }) => {
    if (isOfAnotherUser(key, caller)) {
      fail('forbidden', { detail: "Another user's key can be revoked, but not deleted." })
    }
    await deleteKey(tx, id)
    const details = { name: key.name, user_id: key.userId, service_account_id: key.serviceAccountId }
    await record({ action: 'key.deleted', target: { type: 'key', id }, details })
  })
}

/** What a holder ends: the whole key, or only the presented secret. */
type Extent = 'key' | 'presented'

/**
 * Ends the presented secret, and the key where that secret was its last one. So a person who has found a leaked key can
 * end it. An access token that was obtained with a key ends alone.
 */
export function endPresented(context: Context, origin: Origin, key: KeyPrincipal): Promise<void> {
  return endHeld(context, origin, key, 'presented')
}

/**
 * Revokes a presented credential (RFC 7009). The newest secret of a key revokes the key; an older secret ends alone,
 * and so does an access token that was obtained with a key.
 */
export function revokePresented(context: Context, origin: Origin, key: KeyPrincipal): Promise<void> {
  return endHeld(context, origin, key, 'key')
}

/**
 * Ends a presented credential. Possession is the authority, so nothing else is required of the caller. A credential
 * that has ended already changes nothing.
 */
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
    ['secrets', secretId, 'no key update'],
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
      // The other secret keeps its expiry: ending one secret must never make another one last longer.
      await endSecrets(tx, [presented.id], now)
      const details = { secret_id: presented.id, start: presented.start }
      return record({ action: 'key.secret_ended', target: { type: 'key', id: keyId }, details })
    }
    const reason = extent === 'key' ? 'revoked_by_holder' : 'ended_by_holder'
    const revoked = await updateRevoked(tx, [keyId], now, reason)
    await record(revoked.map(({ id }) => keyRevoked(id, reason)))
  })
}

/**
 * Revokes every live key of a user, and of the service accounts that no other user manages, as part of another change.
 * @returns how many keys were revoked
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
