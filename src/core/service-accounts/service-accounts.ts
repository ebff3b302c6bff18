import type { Transaction } from '../../db/database.ts'
import { violatedConstraint } from '../../db/errors.ts'
import { findRows, type SearchPage } from '../../db/search.ts'
import { fail } from '../../lib/errors.ts'
import { readExternalId } from '../../lib/external-id.ts'
import { isId, newId } from '../../lib/ids.ts'
import { type PageQuery, type PageRows, readPage } from '../../lib/page.ts'
import { isRateWithin, presentRate, rateColumns, rateOf } from '../../lib/rate.ts'
import { covers, requireScopes, SERVICE_ACCOUNTS_WRITE } from '../../lib/scopes.ts'
import { readSearch } from '../../lib/search.ts'
import type { AuditAction, Origin } from '../audit/audit.ts'
import {
  areScopesWithin,
  findRaised,
  isActiveWithin,
  lowersAs,
  relock,
  requireDisabling,
  type Settings,
  setting,
} from '../change/power.ts'
import { type Caller, type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { type ChangedCredits, changeOwnerCredits, topUpOwner } from '../credits/owner-credits.ts'
import { requireTopUp, type ToppedUp, type TopUpRequest } from '../credits/top-up.ts'
import { deleteManyKeys } from '../keys/steps.ts'
import { isSameOwner, type Owner, ownerOf } from '../owners.ts'
import { isAdmin, isDelegate, readsAll } from '../principal.ts'
import { requireQuota } from '../quota.ts'
import { requireGrants } from '../verify/problems.ts'
import { requireLimitsOfMaker, requireSettingExternalId, requireSettingLimits } from './limits.ts'
import {
  type AccountCaller,
  heldAccount,
  locksOfAccount,
  manages,
  managesAlone,
  type WholeAccount,
} from './managers.ts'
import type { NewServiceAccount, ServiceAccountPatch, ServiceAccountPut } from './model.ts'
import {
  countAccountsOf,
  deleteServiceAccount,
  findServiceAccount,
  insertManager,
  insertServiceAccount,
  listManagedAloneIds,
  listServiceAccounts,
  managerColumns,
  type ServiceAccountChange,
  type ServiceAccountRow,
  searchServiceAccounts,
  updateDisabled,
  updateServiceAccount,
} from './queries.ts'

export { findAccountByExternalId } from './queries.ts'
export type { WholeAccount }

/**
 * Creates a service account: the owner of a service's keys, which stays when the person who created it leaves. Its
 * ceiling is the requested scopes, by default those of the caller; never more than the caller could grant.
 * @param externalId in NFC
 * @throws Problem insufficient_scope, validation_failed, quota_exceeded, conflict where the external id is taken, forbidden
 * where the caller may not set limits
 */
export async function createServiceAccount(
  context: Context,
  origin: Origin,
  caller: AccountCaller,
  input: NewServiceAccount & Pick<ServiceAccountPut, 'rate_limit' | 'credits'>,
  externalId: string | null = null,
): Promise<WholeAccount> {
  const own = caller.kind === 'operator' ? [] : [...caller.scopes]
  const scopes = input.scopes === undefined ? own : requireScopes('/scopes', input.scopes)
  requireGrants(caller, scopes)
  const [id, managerId] = [newId(), newId()]
  // What the operator makes is the admins', until somebody is added.
  const manager = caller.kind === 'operator' ? null : ownerOf(caller)
  const createdBy = manager?.type === 'user' ? manager.id : null
  // The creator's row is locked, so that two creations at once are counted one after the other, and the quota holds.
  const locks: Lock[] = caller.kind === 'user' ? [['users', caller.userId, 'no key update']] : []
  const work = recordChange(context, origin, caller, locks, async ({ tx, held, caller, now, record }) => {
    requireGrants(caller, scopes)
    const { rate_limit, credits } = input
    if (rate_limit || credits) requireSettingLimits(caller, { id, managers: manager ? [manager] : [] })
    const countsFor = caller.kind === 'user' && !isAdmin(caller) ? caller.userId : null
    if (countsFor !== null) {
      await requireAccountQuota(context, tx, countsFor)
      await requireLimitsOfMaker({ tx, held }, countsFor, { id, rateLimit: null })
    }
    const account = await insertServiceAccount(tx, {
      id,
      name: input.name,
      description: input.description ?? null,
      externalId,
      scopes,
      createdBy,
      countsFor,
      createdAt: now,
      ...rateColumns(rate_limit ?? null),
    })
    if (manager) {
      await insertManager(tx, {
        id: managerId,
        serviceAccountId: id,
        ...managerColumns(manager),
        createdAt: now,
      })
    }
    const target = { type: 'service_account' as const, id }
    if (credits) await changeOwnerCredits({ tx, now }, target, credits)
    await record({
      action: 'service_account.created',
      target,
      details: {
        name: account.name,
        external_id: externalId,
        scopes,
        ...(rate_limit && { rate_limit }),
        ...(credits && { credits }),
      },
    })
    return { ...account, managers: manager ? [manager] : [] }
  })
  return work.catch(failTaken)
}

/**
 * Checks that SERVICE_ACCOUNTS_PER_USER leaves room for one more account of a user.
 * @throws Problem quota_exceeded
 */
export async function requireAccountQuota(
  { config }: Context,
  tx: Transaction,
  userId: string,
): Promise<void> {
  requireQuota(await countAccountsOf(tx, userId), {
    setting: 'SERVICE_ACCOUNTS_PER_USER',
    most: config.serviceAccountsPerUser,
    advice: 'service accounts: delete some first.',
  })
}

/**
 * The user whose accounts are listed.
 * @throws Problem not_found for another user, unless the caller reads everybody's
 */
function userOf(caller: AccountCaller, id: string): Owner {
  const isReadable =
    readsAll(caller) || (caller.kind !== 'operator' && isSameOwner(ownerOf(caller), { type: 'user', id }))
  if (!isId(id) || !isReadable) fail('not_found')
  return { type: 'user', id }
}

/** A page of the service accounts that the caller manages, newest first; the one page of a search, where there is a text. */
export async function listManagedAccounts(
  context: Context,
  caller: AccountCaller,
  {
    text,
    externalId: named,
    userId,
    ...page
  }: PageQuery & Record<'text' | 'externalId' | 'userId', string | undefined>,
): Promise<SearchPage<WholeAccount>> {
  const own = caller.kind === 'operator' || readsAll(caller) ? null : ownerOf(caller)
  const manager = userId === undefined ? own : userOf(caller, userId)
  const externalId = named === undefined ? null : readExternalId('?external_id', named)
  const within = isDelegate(caller) && !readsAll(caller) ? caller.scopes : null
  const { db, keys } = context
  if (text === undefined) {
    const list = (rows: PageRows) =>
      listServiceAccounts(db, { ids: null, externalId, manager, within, ...rows })
    const name = `service-accounts ${manager?.id ?? ''} ${externalId ?? ''}`
    const found = await readPage(keys.cursor, name, page, list)
    return { ...found, isTruncated: false }
  }
  const search = readSearch(text, page)
  const found = await searchServiceAccounts(db, search, manager)
  const rows = await findRows(found, search.limit, (ids, limit) =>
    listServiceAccounts(db, { ids, externalId, manager, within, limit, after: null }),
  )
  return { ...rows, nextCursor: null }
}

/**
 * A service account by its id.
 * @param otherwise the error for an unknown id: `invalid_token` where it is the caller's own account, which was deleted
 * @throws Problem not_found or invalid_token
 */
export async function findAccount(
  context: Context,
  id: string,
  otherwise: 'not_found' | 'invalid_token' = 'not_found',
): Promise<WholeAccount> {
  const account = isId(id) ? await findServiceAccount(context.db, id) : null
  return account ?? fail(otherwise)
}

/**
 * A service account that the caller manages.
 * @throws Problem not_found for an unknown account, and for one that the caller does not manage
 */
export async function requireManagedAccount(
  context: Context,
  caller: AccountCaller,
  id: string,
): Promise<WholeAccount> {
  const account = await findAccount(context, id)
  return manages(caller, account) ? account : fail('not_found')
}

/**
 * A service account that the caller may look at.
 * @throws Problem not_found
 */
export async function requireVisibleAccount(
  context: Context,
  caller: AccountCaller,
  id: string,
): Promise<WholeAccount> {
  return readsAll(caller) ? findAccount(context, id) : requireManagedAccount(context, caller, id)
}

/** Whether a caller of the routes of service accounts has more than support's power over an account. */
function maySetAccount(caller: AccountCaller, account: WholeAccount): boolean {
  if (caller.kind === 'operator') return true
  const isWhole = isDelegate(caller)
    ? covers(caller.grants, SERVICE_ACCOUNTS_WRITE)
    : !caller.claims.isNarrowed
  return isWhole && manages(caller, account)
}

/**
 * Changes a service account. Its keys hold, at each use, only what lies within the new ceiling.
 * @throws Problem not_found, insufficient_scope where it would hold or begin to hold what the caller can't grant, forbidden
 * where the caller may not set its limits
 */
export async function changeServiceAccount(
  context: Context,
  origin: Origin,
  caller: AccountCaller,
  id: string,
  patch: ServiceAccountPatch,
): Promise<WholeAccount> {
  await requireVisibleAccount(context, caller, id)
  const change = readPatch(patch)
  const locks = locksOfAccount(id, 'no key update')
  const work = recordChange(context, origin, caller, locks, async ({ tx, held, caller, now, record }) => {
    const before = heldAccount(held, id) ?? fail('not_found')
    if (!maySetAccount(caller, before)) {
      if (!readsAll(caller)) fail('not_found')
      requireDisabling(patch.credits === undefined ? change : { ...change, ...patch })
    }
    if (patch.credits !== undefined || change.rateLimit !== undefined) requireSettingLimits(caller, before)
    if (change.externalId !== undefined && change.externalId !== before.externalId)
      requireSettingExternalId(caller)
    if (Object.keys(change).length === 0 && patch.credits === undefined) return before
    const after = { ...before, ...change }
    const lockedSettings = requireAccountPower(caller, before, after)
    if (Object.keys(change).length > 0) await updateServiceAccount(tx, id, { ...change, lockedSettings })
    const target = { type: 'service_account' as const, id }
    const credits =
      patch.credits === undefined ? NO_CREDITS : await changeOwnerCredits({ tx, now }, target, patch.credits)
    await record(describeChange(before, after, credits).map((event) => ({ ...event, target })))
    return after
  })
  return work.catch(failTaken)
}

/**
 * Adds to the credits of a service account, takes away, or sets them. Takes a caller who may set them.
 * @throws Problem not_found, forbidden, validation_failed, conflict
 */
export async function topUpAccount(
  context: Context,
  origin: Origin,
  caller: AccountCaller,
  id: string,
  request: TopUpRequest,
): Promise<ToppedUp> {
  await requireManagedAccount(context, caller, id)
  requireTopUp(request.input)
  return recordChange(context, origin, caller, locksOfAccount(id, 'no key update'), async (change) => {
    const account = requireHeld(heldAccount(change.held, id), change.caller)
    requireSettingLimits(change.caller, account)
    return topUpOwner(change, { type: 'service_account', id }, request)
  })
}

export const TAKEN = 'Another service account has this external_id.'

/** @throws Problem conflict where another account has the external id */
function failTaken(error: unknown): never {
  if (violatedConstraint(error) !== 'service_accounts_external_id_key') throw error
  return fail('conflict', { detail: TAKEN })
}

/**
 * Deletes a service account with its keys. Its rows in the audit trail stay.
 * @throws Problem not_found
 */
export async function removeServiceAccount(
  context: Context,
  origin: Origin,
  caller: AccountCaller,
  id: string,
): Promise<void> {
  await requireManagedAccount(context, caller, id)
  const owned = { type: 'service_account', id } as const
  const ending = async () => locksOfAccount(id, 'no key update')
  await deleteManyKeys(context, origin, caller, owned, ending, async ({ held, caller }) => {
    requireHeld(heldAccount(held, id), caller)
  })
  const locks: Lock[] = [
    ['serviceAccounts', id, 'update'],
    ['managersOfAccount', id, 'update'],
    ['keysOfAccount', id, 'update'],
  ]
  await recordChange(context, origin, caller, locks, async ({ tx, held, caller, record }) => {
    const account = requireHeld(heldAccount(held, id), caller)
    await deleteServiceAccount(tx, id)
    const target = { type: 'service_account' as const, id }
    await record({ action: 'service_account.deleted', target, details: { name: account.name } })
  })
}

/**
 * Disables locked accounts as part of another change. Where an admin makes the change, only an admin can enable them
 * again.
 */
export async function disableAccounts(
  { tx, caller, record }: Change<Caller>,
  accounts: readonly ServiceAccountRow[],
): Promise<void> {
  const by = { ...lowersAs(caller), isOwn: false }
  const active = accounts.filter((account) => account.isActive)
  const disabled = active.map((before) => {
    const after = { ...before, isActive: false }
    return { ...after, lockedSettings: relock(SETTINGS, before.lockedSettings, before, after, by) }
  })
  await updateDisabled(tx, disabled)
  const events = active.flatMap((before) => {
    const target = { type: 'service_account' as const, id: before.id }
    return describeChange(before, { ...before, isActive: false }).map((event) => ({ ...event, target }))
  })
  await record(events)
}

/** Those of the locked accounts of a user that have no other active manager. */
export async function managedAloneBy(
  { tx, held }: Pick<Change<Caller>, 'tx' | 'held'>,
  userId: string,
): Promise<ServiceAccountRow[]> {
  const ids = await listManagedAloneIds(tx, userId)
  return ids.flatMap((id) => held.serviceAccounts.get(id) ?? [])
}

/**
 * A locked account that the caller still manages.
 * @throws Problem not_found
 */
function requireHeld(account: WholeAccount | undefined, caller: AccountCaller): WholeAccount {
  return account && manages(caller, account) ? account : fail('not_found')
}

/** The settings that bound what an account may do. */
const SETTINGS: Settings<ServiceAccountRow> = {
  scopes: setting((account) => account.scopes, areScopesWithin),
  is_active: setting((account) => account.isActive, isActiveWithin),
  rate_limit: setting((account) => rateOf(account), isRateWithin),
}

/**
 * A change that gives an account more needs a caller who could grant all scopes that the account then holds.
 * @returns the settings that are locked after the change
 * @throws Problem forbidden, insufficient_scope
 */
function requireAccountPower(
  caller: AccountCaller,
  before: WholeAccount,
  after: WholeAccount,
): Record<string, unknown> {
  // What its only manager lowers is not locked, also where that manager is an admin.
  const by = { ...lowersAs(caller), isOwn: managesAlone(caller, before) }
  const next = relock(SETTINGS, before.lockedSettings, before, after, by)
  if (findRaised(SETTINGS, before, after).length === 0) return next
  requireUnbounded(caller)
  requireGrants(caller, after.scopes)
  return next
}

/**
 * A key with an expiry, a rate limit, credits or address limits widens and enables no account, and adds no manager; and so
 * does no app, whose session ends. An account has no such
 * bounds, so the account's keys could do more than the key that widened it.
 * @throws Problem forbidden
 */
export function requireUnbounded(caller: AccountCaller): void {
  if (caller.kind === 'client')
    fail('forbidden', {
      detail: 'An app, whose session ends, cannot enable or widen a service account, nor add a manager.',
    })
  if (caller.kind !== 'key') return
  const { endsAt, rateLimit, rateRoot, allowedIps, hasCredits } = caller
  if (endsAt === null && rateLimit === null && !rateRoot?.rate && allowedIps === null && !hasCredits) return
  fail('forbidden', {
    detail:
      'A key with an expiry, a rate limit, credits or allowed_ips cannot enable or widen a service account, nor add a manager.',
  })
}

function readPatch(patch: ServiceAccountPatch): ServiceAccountChange {
  const change: ServiceAccountChange = {}
  if (patch.name !== undefined) change.name = patch.name
  if (patch.description !== undefined) change.description = patch.description
  if (patch.scopes !== undefined) change.scopes = requireScopes('/scopes', patch.scopes)
  if (patch.is_active !== undefined) change.isActive = patch.is_active
  if (patch.external_id !== undefined)
    change.externalId = patch.external_id === null ? null : readExternalId('/external_id', patch.external_id)
  if (patch.rate_limit !== undefined) Object.assign(change, rateColumns(patch.rate_limit))
  return change
}

const NO_CREDITS: ChangedCredits = { before: null, after: null }

function describeChange(before: ServiceAccountRow, after: ServiceAccountRow, credits = NO_CREDITS) {
  const events: { action: AuditAction; details: Record<string, unknown> }[] = []
  const describe = (account: ServiceAccountRow) => ({
    name: account.name,
    description: account.description,
    external_id: account.externalId,
    scopes: account.scopes,
    rate_limit: presentRate(account),
  })
  const isCredited = JSON.stringify(credits.before) !== JSON.stringify(credits.after)
  if (isCredited || JSON.stringify(describe(before)) !== JSON.stringify(describe(after))) {
    const creditsOf = (side: keyof ChangedCredits) => (isCredited ? { credits: credits[side] } : {})
    events.push({
      action: 'service_account.updated',
      details: {
        before: { ...describe(before), ...creditsOf('before') },
        after: { ...describe(after), ...creditsOf('after') },
      },
    })
  }
  if (before.isActive !== after.isActive) {
    events.push({
      action: after.isActive ? 'service_account.enabled' : 'service_account.disabled',
      details: {},
    })
  }
  return events
}
