import type { Context } from '../../context.ts'
import type { Transaction } from '../../db/open.ts'
import { fail, failField } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { covers, parseScopes } from '../../lib/scopes.ts'
import { DAY_MS, parseInstant } from '../../lib/time.ts'
import { hashToken, makeApiKey, startOf } from '../../lib/tokens.ts'
import { actorOf, type Origin, type RecordEvent, recordChange } from '../audit/service.ts'
import { findAccount, requireManagedAccount } from '../service-accounts/service.ts'
import { requireGrants } from '../verify/grants.ts'
import type { KeyPrincipal, Principal } from '../verify/principal.ts'
import {
  countLiveKeysLocked,
  deleteKey,
  findKey,
  insertKey,
  type KeyOwner,
  type KeyWithSecrets,
  listCreatedKeys,
  listKeys,
  updateRevoked,
  updateRevokedOfUser,
} from './queries.ts'

export type NewKey = {
  name?: string
  scopes?: string | string[]
  expires_in_days?: number
  expires_at?: string
  service_account_id?: string
}

/** What may be shown of a key; the key itself is shown once, by `createKey`. */
export function presentKey(key: KeyWithSecrets) {
  const iso = (date: Date | null) => date?.toISOString() ?? null
  return {
    id: key.id,
    name: key.name,
    user_id: key.userId,
    service_account_id: key.serviceAccountId,
    is_active: key.isActive && key.revokedAt === null,
    scopes: key.scopes,
    start: key.secrets.at(-1)?.start ?? '',
    created_at: key.createdAt.toISOString(),
    created_by: key.createdBy,
    expires_at: iso(key.expiresAt),
    revoked_at: iso(key.revokedAt),
    revoked_reason: key.revokedReason,
    last_used_at: iso(latest(key.secrets.map((secret) => secret.lastUsedAt))),
    secrets: key.secrets.map((secret) => ({
      start: secret.start,
      created_at: secret.createdAt.toISOString(),
      expires_at: iso(secret.expiresAt),
      last_used_at: iso(secret.lastUsedAt),
    })),
  }
}

/**
 * Makes a key for the caller: a user for themselves, a key for its own owner. Nobody hands out what they don't have,
 * and a key hands out nothing that outlives it.
 * @returns the key's row, and the key, which nobody can read again
 * @throws Problem validation_failed, insufficient_scope, forbidden, quota_exceeded
 */
export async function createKey(context: Context, origin: Origin, caller: Principal, input: NewKey) {
  const now = context.clock()
  const scopes = parseScopes(input.scopes)
  if ('fault' in scopes) failField('/scopes', scopes.fault)
  requireGrants(caller, scopes)
  const expiresAt = chooseExpiry(context, caller, input)
  const owner = await chooseOwner(context, caller, input.service_account_id, scopes)
  const secret = makeApiKey(context.config.apiKeyPrefix)
  const id = newId()
  const row = await recordChange(context, origin, async (tx, record) => {
    const limit = context.config.apiKeysPerOwner
    if ((await countLiveKeysLocked(tx, owner, new Date(now))) >= limit) fail('quota_exceeded')
    const key = await insertKey(
      tx,
      {
        id,
        userId: owner.type === 'user' ? owner.id : null,
        serviceAccountId: owner.type === 'service_account' ? owner.id : null,
        name: input.name ?? null,
        scopes,
        createdAt: new Date(now),
        createdBy: caller.kind === 'user' ? caller.userId : caller.keyId,
        expiresAt,
      },
      { id: newId(), keyId: id, hash: hashToken(secret), start: startOf(secret), createdAt: new Date(now) },
    )
    const details = { owner, scopes, expires_at: expiresAt?.toISOString() ?? null }
    await record({ action: 'key.created', target: { type: 'key', id }, details })
    return key
  })
  return { row, key: secret }
}

/**
 * The keys of the caller, or of a service account that the caller manages, newest first.
 * @throws Problem not_found for another's service account
 */
export async function listOwnKeys(
  context: Context,
  caller: Principal,
  serviceAccountId?: string,
): Promise<KeyWithSecrets[]> {
  const owner =
    serviceAccountId === undefined ? ownerOf(caller) : await accountOwner(context, caller, serviceAccountId)
  const keys = await listKeys(context.db, owner)
  return keys.filter((key) => isWithinReach(caller, key))
}

/**
 * Ends a key for good; again: the same answer.
 * @param options.created also ends the keys that this one made, and those that these made
 * @throws Problem not_found, forbidden where a key would revoke itself
 */
export async function revokeKey(
  context: Context,
  origin: Origin,
  caller: Principal,
  id: string,
  options: { reason: string | null; created: boolean },
): Promise<void> {
  const key = await requireKey(context, caller, id)
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
 * Removes one of the caller's own keys; the audit trail stays.
 * @throws Problem not_found, forbidden where it is another user's (an admin may revoke it)
 */
export async function removeKey(
  context: Context,
  origin: Origin,
  caller: Principal & { kind: 'user' },
  id: string,
): Promise<void> {
  const key = await requireKey(context, caller, id)
  if (key.userId !== null && key.userId !== caller.userId) {
    fail('forbidden', { detail: "Another user's key can be revoked, not deleted." })
  }
  await recordChange(context, origin, async (tx, record) => {
    await deleteKey(tx, key.id)
    await record({
      action: 'key.deleted',
      target: { type: 'key', id: key.id },
      details: { name: key.name, owner: { type: 'user', id: key.userId } },
    })
  })
}

/** Ends a key that somebody holds: whoever found it may end it. */
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
  for (const { id } of revoked)
    await record({ action: 'key.revoked', target: { type: 'key', id }, details: { reason } })
  return revoked.length
}

/** A key that the caller may act on. What is not theirs is not there. */
async function requireKey(context: Context, caller: Principal, id: string): Promise<KeyWithSecrets> {
  if (caller.kind === 'key' && caller.keyId === id)
    fail('forbidden', { detail: 'A key does not manage itself.' })
  const key = isId(id) ? await findKey(context.db, id) : null
  if (!key) fail('not_found')
  if (caller.kind === 'user' && caller.role === 'admin') return key
  if (isOwnedBy(key, ownerOf(caller)) && isWithinReach(caller, key)) return key
  if (caller.kind === 'key' || key.serviceAccountId === null) fail('not_found')
  await requireManagedAccount(context, caller, key.serviceAccountId)
  return key
}

/** Who the new key belongs to: its maker's owner, or a service account whose ceiling covers what it will hold. */
async function chooseOwner(
  context: Context,
  caller: Principal,
  serviceAccountId: string | undefined,
  scopes: readonly string[],
): Promise<KeyOwner> {
  if (serviceAccountId === undefined) return ownerOf(caller)
  const owner = await accountOwner(context, caller, serviceAccountId)
  const beyond = scopes.find((scope) => !owner.scopes.includes(scope))
  if (beyond !== undefined) {
    fail('insufficient_scope', { detail: `The service account does not hold the scope: ${beyond}` })
  }
  return owner
}

/** A key manages the keys of its own owner alone; a user those of every service account that they manage. */
async function accountOwner(
  context: Context,
  caller: Principal,
  id: string,
): Promise<KeyOwner & { scopes: string[] }> {
  if (caller.kind === 'key' && caller.owner.id !== id) fail('not_found')
  const account =
    caller.kind === 'key' ? await findAccount(context, id) : await requireManagedAccount(context, caller, id)
  return { type: 'service_account', id: account.id, scopes: account.scopes }
}

/** A managing key reaches only keys whose scopes and expiry lie within its own. */
function isWithinReach(caller: Principal, key: KeyWithSecrets): boolean {
  if (caller.kind === 'user') return true
  return (
    key.scopes.every((scope) => covers(caller.grants, scope)) && !outlives(key.expiresAt, caller.expiresAt)
  )
}

/** When the new key ends: as asked, else the default, else with the key that makes it. */
function chooseExpiry(context: Context, caller: Principal, input: NewKey): Date | null {
  const { apiKeyDefaultExpireDays, apiKeyMaxExpireDays } = context.config
  const now = context.clock()
  const end = caller.kind === 'key' ? caller.expiresAt : null
  const asked = readExpiry(input, now)
  const latestMs = apiKeyMaxExpireDays === null ? Infinity : now + apiKeyMaxExpireDays * DAY_MS
  if (asked) {
    if (asked.at.getTime() <= now) failField(asked.path, 'Must lie in the future')
    if (asked.at.getTime() > latestMs) failField(asked.path, `Must lie within ${apiKeyMaxExpireDays} days`)
    if (outlives(asked.at, end)) fail('forbidden', { detail: 'A key makes no key that outlives it.' })
    return asked.at
  }
  const defaultMs = apiKeyDefaultExpireDays === null ? Infinity : now + apiKeyDefaultExpireDays * DAY_MS
  const endMs = Math.min(defaultMs, latestMs, end?.getTime() ?? Infinity)
  return endMs === Infinity ? null : new Date(endMs)
}

function readExpiry(input: NewKey, now: number): { at: Date; path: string } | null {
  const { expires_in_days: days, expires_at: instant } = input
  if (days !== undefined && instant !== undefined)
    failField('/expires_at', 'Give expires_in_days or expires_at, not both')
  if (days !== undefined) return { at: new Date(now + days * DAY_MS), path: '/expires_in_days' }
  if (instant === undefined) return null
  const at = parseInstant(instant) ?? failField('/expires_at', 'Must be a time such as 2030-12-31T23:59:59Z')
  return { at, path: '/expires_at' }
}

const outlives = (end: Date | null, limit: Date | null): boolean =>
  limit !== null && (end === null || end.getTime() > limit.getTime())

function ownerOf(caller: Principal): KeyOwner {
  return caller.kind === 'user'
    ? { type: 'user', id: caller.userId }
    : { type: caller.owner.type, id: caller.owner.id }
}

function isOwnedBy(key: KeyWithSecrets, owner: KeyOwner): boolean {
  return (owner.type === 'user' ? key.userId : key.serviceAccountId) === owner.id
}

function latest(dates: (Date | null)[]): Date | null {
  return dates.reduce((a, b) => (a === null || (b !== null && b > a) ? b : a), null)
}
