import { fail, failField } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import type { RootRateColumns } from '../../lib/rate.ts'
import { covers, SERVICE_ACCOUNTS_WRITE } from '../../lib/scopes.ts'
import { DAY_MS, formatInstant, IDEMPOTENCY_LASTS_MS, readInstant } from '../../lib/time.ts'
import { hashToken, makeApiKey, startOf } from '../../lib/tokens.ts'
import type { Origin } from '../audit/audit.ts'
import { type Change, changedMeanwhile, type HeldRows, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { replaceKeyCredits } from '../credits/key-credits.ts'
import { listOwnerCredits } from '../credits/owner-credits.ts'
import { readCredits } from '../credits/settings.ts'
import { isSameOwner, type Owner, ownerColumns, ownerOf } from '../owners.ts'
import { idOf, isAdmin, isDelegate, makerIdOf, type Principal } from '../principal.ts'
import { requireQuota } from '../quota.ts'
import { requireLimitsOfMaker } from '../service-accounts/limits.ts'
import { manages, type WholeAccount } from '../service-accounts/managers.ts'
import { findAccount } from '../service-accounts/service-accounts.ts'
import { accountOf, countedFor, locksOfOwner, locksOfQuota } from './change-managed.ts'
import { requireLabelsOf } from './labels.ts'
import type { NewKey } from './model.ts'
import { type KeyPower, requireKeyPower } from './power.ts'
import { countLiveKeys, insertKey, insertSecret, takeCreation, type WholeKey } from './queries.ts'
import { rootColumns } from './rate-root.ts'
import { type KeyManager, requireKeysAccount } from './reach.ts'
import { readSettings, requireExpiry } from './settings.ts'

/** The settings of a key for which the request names none. */
const NO_SETTINGS = { scopes: [], rateLimit: null, rateWindowSeconds: null, allowedIps: null }

/**
 * Creates a key for the caller, for the owner of the key or portal session that calls, or for a service account that the
 * caller manages.
 * A caller grants no scope that the caller does not hold, and a key creates no key that may do more than itself.
 * @param idempotencyKey of the request. The same caller and value create no second key within a day.
 * @returns the key's row, and the key itself, which cannot be read again
 * @throws Problem validation_failed, insufficient_scope, forbidden, quota_exceeded, already_created, not_found
 */
export async function createKey(
  context: Context,
  origin: Origin,
  caller: KeyManager,
  input: NewKey,
  idempotencyKey: string | null = null,
): Promise<{ row: WholeKey; key: string }> {
  if (caller.kind === 'portal') requireCustomersMembers(input)
  // Before any look-up: the answer tells nothing of what exists.
  requireLabelsOf(caller, input)
  const settings = { ...NO_SETTINGS, ...readSettings(input), expiresAt: chooseExpiry(context, caller, input) }
  const [id, secretId] = [newId(), newId()]
  const key = makeApiKey(context.config.apiKeyPrefix)
  const credits = input.credits ? readCredits('/credits', input.credits, context.clock()) : null
  const { owner, account } = await chooseOwner(context, caller, input.service_account_id)
  /** The key as this caller makes it. */
  const madeBy = (caller: KeyManager): KeyPower & RootRateColumns => ({
    ...settings,
    ...rootColumns(caller, owner),
    isActive: true,
    credits,
    secrets: [{ id: secretId, expiresAt: null }],
  })
  requireHeld(caller, account, settings.scopes)
  requireKeyPower(caller, null, madeBy(caller), account)

  const createdBy = caller.kind === 'operator' ? null : makerIdOf(caller)
  const quota = locksOfQuota(context, account)
  const locks = async () => [...locksOfOwner(owner), ...(await quota())]
  const row = await recordChange(context, origin, caller, locks, async (change) => {
    const { tx, now: createdAt, record } = change
    const account = accountOf(change, owner)
    if (account && caller.kind !== 'operator' && !mayMakeFor(change.caller as Principal, account))
      fail('not_found')
    requireLabelsOf(change.caller, input)
    requireHeld(change.caller, account, settings.scopes)
    const made = madeBy(change.caller)
    const { limitsOfOthers } = requireKeyPower(change.caller, null, made, account)
    if (idempotencyKey !== null) {
      const hash = hashToken(`${caller.kind === 'operator' ? '' : idOf(caller)}\n${idempotencyKey}`)
      const outdated = new Date(createdAt.getTime() - IDEMPOTENCY_LASTS_MS)
      const madeBefore = await takeCreation(tx, { hash, keyId: id, createdAt }, outdated)
      if (madeBefore !== null) fail('already_created', { members: { id: madeBefore } })
    }
    await requireKeyQuota(context, change, owner, account)
    if (account && !setsLimits(change.caller))
      for (const { id } of countedFor(account)) await requireLimitsOfMaker(change, id, account)
    const inserted = await insertKey(tx, {
      ...settings,
      ...ownerColumns(owner),
      ...rootColumns(change.caller, owner),
      id,
      limitsOfOthers,
      createdAt,
      createdBy,
    })
    if (credits) await replaceKeyCredits(tx, id, credits)
    const start = startOf(key, context.config.apiKeyPrefix)
    const secrets = [
      await insertSecret(tx, { id: secretId, keyId: id, hash: hashToken(key), start, createdAt }),
    ]
    const { scopes, expiresAt } = settings
    const details = { owner, scopes, expires_at: formatInstant(expiresAt) }
    await record({ action: 'key.created', target: { type: 'key', id }, details })
    const ofOwner = (await listOwnerCredits(tx, [owner.id])).get(owner.id) ?? null
    const state = { ...ownerStateOf(change.held, owner), credits: ofOwner }
    return { ...inserted, secrets, credits, usedAt: null, owner: state }
  })
  return { row, key }
}

/**
 * Checks that API_KEYS_PER_OWNER leaves room for one more live key of an owner. The keys of a service account also
 * count for its creator. Otherwise a user could create any number of keys in the names of service accounts.
 * @throws Problem quota_exceeded
 */
export async function requireKeyQuota(
  { config }: Pick<Context, 'config'>,
  { tx, held, now }: Pick<Change<null>, 'tx' | 'held' | 'now'>,
  owner: Owner,
  account: WholeAccount | null,
): Promise<void> {
  const others = countedFor(account)
  // A user who became a manager since the locks were chosen is not locked, and would not be counted.
  if (others.some(({ id }) => !held.users.has(id))) throw changedMeanwhile()
  const counted = [owner, ...others.filter(({ id }) => held.users.get(id)?.isActive === true)]
  const quota = {
    setting: 'API_KEYS_PER_OWNER',
    most: config.apiKeysPerOwner,
    advice: 'live keys: revoke some first.',
  }
  for (const each of counted) requireQuota(await countLiveKeys(tx, each, now), quota)
}

/** Whether a caller could set the limits of the accounts that the caller manages. */
const setsLimits = (caller: KeyManager): boolean =>
  caller.kind === 'operator' ||
  isAdmin(caller) ||
  (isDelegate(caller) && covers(caller.grants, SERVICE_ACCOUNTS_WRITE))

/** Whether a caller makes keys of an account: its managers do, its own keys, and its customer in the portal. */
const mayMakeFor = (caller: Principal, account: WholeAccount): boolean =>
  isSameOwner(ownerOf(caller), { type: 'service_account', id: account.id }) ||
  (caller.kind !== 'portal' && manages(caller, account))

/** What a customer chooses of a key that is made in the portal. Labels and limits are what the product sets and trusts. */
const CUSTOMERS_MEMBERS = ['name', 'description', 'scopes', 'expires_in_days', 'expires_at']

/** @throws Problem forbidden where the request names another member */
function requireCustomersMembers(input: NewKey): void {
  const other = Object.keys(input).find((name) => !CUSTOMERS_MEMBERS.includes(name))
  if (other !== undefined) fail('forbidden', { detail: `A portal session does not set "${other}".` })
}

/** The state of an owner that is locked. */
function ownerStateOf(
  { users, serviceAccounts }: HeldRows,
  { type, id }: Owner,
): Omit<WholeKey['owner'], 'credits'> {
  const user = type === 'user' ? users.get(id) : undefined
  if (user) return { isActive: user.isActive, label: user.email }
  const account = serviceAccounts.get(id) ?? fail('not_found')
  return { isActive: account.isActive, label: account.name }
}

/** The owner of the new key: the caller's owner, or a service account that the caller manages. */
async function chooseOwner(
  context: Context,
  caller: KeyManager,
  serviceAccountId: string | undefined,
): Promise<{ owner: Owner; account: WholeAccount | null }> {
  if (serviceAccountId !== undefined) {
    const account = await requireKeysAccount(context, caller, serviceAccountId)
    return { owner: { type: 'service_account', id: account.id }, account }
  }
  if (caller.kind === 'operator') {
    const { type, id } = caller.owner ?? fail('forbidden', { detail: 'A key needs an owner.' })
    return { owner: { type, id }, account: null }
  }
  const owner = ownerOf(caller)
  if (owner.type === 'user') return { owner, account: null }
  return { owner, account: await findAccount(context, owner.id, 'invalid_token') }
}

/**
 * Checks that the owner holds every scope of the new key. Otherwise a scope would have no effect at first, and would
 * begin to work unnoticed when the owner's ceiling is raised.
 * @throws Problem insufficient_scope
 */
function requireHeld(caller: KeyManager, account: WholeAccount | null, scopes: readonly string[]): void {
  const named = caller.kind === 'operator' ? caller.owner : null
  const beyond = scopes.find(
    (scope) => (account && !account.scopes.includes(scope)) || (named && !covers(named.ceiling, scope)),
  )
  if (beyond === undefined) return
  const owner = account ? 'service account' : 'user'
  fail('insufficient_scope', { detail: `The ${owner} does not hold the scope: ${beyond}` })
}

/**
 * The expiry of the new key: the requested one; else the earliest of the default, the maximum, and the expiry of the
 * key that creates it. null: never.
 */
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
  if (isDelegate(caller) && caller.endsAt) ends.push(caller.endsAt.getTime())
  const end = Math.min(...ends)
  return end === Infinity ? null : new Date(end)
}
