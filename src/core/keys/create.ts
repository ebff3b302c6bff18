import { fail, failField } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import { covers } from '../../lib/scopes.ts'
import { DAY_MS, formatInstant, readInstant } from '../../lib/time.ts'
import { hashToken, makeApiKey, startOf } from '../../lib/tokens.ts'
import { type Origin, recordChange } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { type Owner, ownerColumns, ownerOf } from '../owners.ts'
import { idOf } from '../principal.ts'
import { requireGrants } from '../verify/refusals.ts'
import type { NewKey } from './model.ts'
import {
  countLiveKeysLocked,
  insertKey,
  insertSecret,
  replaceCredits,
  takeCreation,
  type WholeKey,
} from './queries.ts'
import {
  accountOwner,
  type Bounds,
  boundsOf,
  isWithinReach,
  type KeyManager,
  type Operator,
  requireNoCredits,
} from './reach.ts'
import { readCredits, readSettings, requireExpiry } from './settings.ts'

/** An `Idempotency-Key` is free again after so long. */
export const IDEMPOTENCY_LASTS_MS = DAY_MS

/** Those of a key that is given nothing. */
const NO_SETTINGS = { scopes: [], rateLimit: null, rateWindowSeconds: null, allowedIps: null }

/**
 * Makes a key for the caller, for the owner of the key that calls, or for a service account that the caller manages.
 * A caller hands out no scope that they do not hold, and a key makes none that reaches further than itself.
 * @param idempotencyKey of the request; the same caller and value make no second key within a day
 * @returns the key's row, and the key, which cannot be read again
 * @throws Problem validation_failed, insufficient_scope, forbidden, quota_exceeded, already_created, not_found
 */
export async function createKey(
  context: Context,
  origin: Origin,
  caller: KeyManager,
  input: NewKey,
  idempotencyKey: string | null = null,
): Promise<{ row: WholeKey; key: string }> {
  requireNoCredits(caller)
  const settings = { ...NO_SETTINGS, ...readSettings(input), expiresAt: chooseExpiry(context, caller, input) }
  requireGrants(caller, settings.scopes)
  requireReach(caller, boundsOf(settings))
  const owner = await chooseOwner(context, caller, input.service_account_id, settings.scopes)

  const nowMs = context.clock()
  const createdAt = new Date(nowMs)
  const id = newId()
  const key = makeApiKey(context.config.apiKeyPrefix)
  const createdBy = caller.kind === 'operator' ? null : idOf(caller)
  const row = await recordChange(context, origin, async (tx, record) => {
    if (idempotencyKey !== null) {
      const hash = hashToken(`${createdBy ?? ''}\n${idempotencyKey}`)
      const outdated = new Date(nowMs - IDEMPOTENCY_LASTS_MS)
      const madeBefore = await takeCreation(tx, { hash, keyId: id, createdAt }, outdated)
      if (madeBefore !== null) fail('already_created', { members: { id: madeBefore } })
    }
    const live = await countLiveKeysLocked(tx, owner, createdAt)
    if (live >= context.config.apiKeysPerOwner) fail('quota_exceeded')
    const inserted = await insertKey(tx, { ...settings, ...ownerColumns(owner), id, createdAt, createdBy })
    const secret = { id: newId(), keyId: id, hash: hashToken(key), start: startOf(key), createdAt }
    const credits = input.credits ? readCredits(id, input.credits, nowMs) : null
    if (credits) await replaceCredits(tx, id, credits)
    const secrets = [await insertSecret(tx, secret)]
    const { scopes, expiresAt } = settings
    const details = { owner, scopes, expires_at: formatInstant(expiresAt) }
    await record({ action: 'key.created', target: { type: 'key', id }, details })
    return { ...inserted, secrets, credits }
  })
  return { row, key }
}

/** @throws Problem forbidden where a managing key asks for more than it is bound to itself */
function requireReach(caller: KeyManager, bounds: Bounds): void {
  if (caller.kind !== 'key' || isWithinReach(caller, bounds)) return
  fail('forbidden', {
    detail: 'A key makes no key that outlives it, or that its own limits or addresses would not allow.',
  })
}

/** Who the new key belongs to: its maker's owner, or a service account whose ceiling covers what it will hold. */
async function chooseOwner(
  context: Context,
  caller: KeyManager,
  serviceAccountId: string | undefined,
  scopes: readonly string[],
): Promise<Owner> {
  if (serviceAccountId === undefined) {
    return caller.kind === 'operator' ? requireNamedOwner(caller, scopes) : ownerOf(caller)
  }
  const { scopes: held, ...owner } = await accountOwner(context, caller, serviceAccountId)
  const beyond = scopes.find((scope) => !held.includes(scope))
  if (beyond !== undefined) {
    fail('insufficient_scope', { detail: `The service account does not hold the scope: ${beyond}` })
  }
  return owner
}

/** @throws Problem insufficient_scope for what would rest on the key without effect */
function requireNamedOwner({ owner }: Operator, scopes: readonly string[]): Owner {
  if (owner === null) fail('forbidden', { detail: 'A key needs an owner.' })
  const beyond = scopes.find((scope) => !covers(owner.ceiling, scope))
  if (beyond !== undefined) {
    fail('insufficient_scope', { detail: `The user does not hold the scope: ${beyond}` })
  }
  return { type: owner.type, id: owner.id }
}

/** When the new key ends: as asked, else by default, else with the key that makes it. */
function chooseExpiry(context: Context, caller: KeyManager, input: NewKey): Date | null {
  const { expires_in_days: days, expires_at: instant } = input
  if (days !== undefined && instant !== undefined)
    failField('/expires_at', 'Give expires_in_days or expires_at, not both')
  const now = context.clock()
  if (days !== undefined) {
    const at = new Date(now + days * DAY_MS)
    requireExpiry(context, at, '/expires_in_days')
    return at
  }
  if (instant !== undefined) {
    const at = readInstant('/expires_at', instant)
    requireExpiry(context, at, '/expires_at')
    return at
  }
  const { apiKeyDefaultExpireDays, apiKeyMaxExpireDays } = context.config
  const ends = [apiKeyDefaultExpireDays, apiKeyMaxExpireDays].map((d) =>
    d === null ? Infinity : now + d * DAY_MS,
  )
  if (caller.kind === 'key' && caller.expiresAt) ends.push(caller.expiresAt.getTime())
  const end = Math.min(...ends)
  return end === Infinity ? null : new Date(end)
}
