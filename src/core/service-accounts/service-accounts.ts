import type { Transaction } from '../../db/database.ts'
import { findRows, type SearchPage } from '../../db/search.ts'
import { fail } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { type PageQuery, type PageRows, readPage } from '../../lib/page.ts'
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
import { type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { deleteManyKeys } from '../keys/steps.ts'
import { ownerOf } from '../owners.ts'
import { isAdmin, type Operator, type Principal, readsAll } from '../principal.ts'
import { requireQuota } from '../quota.ts'
import { requireGrants } from '../verify/problems.ts'
import type { NewServiceAccount, ServiceAccountPatch } from './model.ts'
import {
  countAccountsOf,
  deleteServiceAccount,
  findServiceAccount,
  insertServiceAccount,
  listServiceAccounts,
  type ServiceAccountChange,
  type ServiceAccountRow,
  searchServiceAccounts,
  updateDisabled,
  updateServiceAccount,
} from './queries.ts'

export type { ServiceAccountRow }

/**
 * Makes a service account: the owner of a service's keys, which outlives the person who made it. Its ceiling is what
 * was asked for, else its maker's; never more than the maker could grant.
 * @throws Problem insufficient_scope, validation_failed
 */
export async function createServiceAccount(
  context: Context,
  origin: Origin,
  caller: Principal,
  input: NewServiceAccount,
): Promise<ServiceAccountRow> {
  const scopes = input.scopes === undefined ? [...caller.scopes] : requireScopes('/scopes', input.scopes)
  requireGrants(caller, scopes)
  const id = newId()
  const createdBy = makerOf(caller)
  // The maker is locked, so that of two at once the second counts the first.
  const locks: Lock[] = caller.kind === 'user' ? [['users', caller.userId, 'no key update']] : []
  return recordChange(context, origin, caller, locks, async ({ tx, caller, now, record }) => {
    requireGrants(caller, scopes)
    const countsFor = caller.kind === 'user' && !isAdmin(caller) ? caller.userId : null
    if (countsFor !== null) await requireAccountQuota(context, tx, countsFor)
    const account = await insertServiceAccount(tx, {
      id,
      name: input.name,
      description: input.description ?? null,
      scopes,
      createdBy,
      countsFor,
      createdAt: now,
    })
    const target = { type: 'service_account' as const, id }
    await record({ action: 'service_account.created', target, details: { name: account.name, scopes } })
    return account
  })
}

/**
 * The service accounts that count for a user are within SERVICE_ACCOUNTS_PER_USER, with one more.
 * @throws Problem quota_exceeded
 */
async function requireAccountQuota({ config }: Context, tx: Transaction, userId: string): Promise<void> {
  requireQuota(await countAccountsOf(tx, userId), {
    setting: 'SERVICE_ACCOUNTS_PER_USER',
    most: config.serviceAccountsPerUser,
    advice: 'service accounts: delete some first.',
  })
}

/** A page of the service accounts that the caller manages, newest first; the one page of a search, where there is a text. */
export async function listManagedAccounts(
  context: Context,
  caller: Principal,
  { text, ...page }: PageQuery & { text: string | undefined },
): Promise<SearchPage<ServiceAccountRow>> {
  const maker = readsAll(caller) ? null : makerOf(caller)
  // Nobody is behind a service account's key: it manages none.
  if (maker === null && !readsAll(caller)) return { rows: [], nextCursor: null, isTruncated: false }
  const within = caller.kind === 'key' && !readsAll(caller) ? caller.scopes : null
  const { db, keys } = context
  if (text === undefined) {
    const list = (rows: PageRows) => listServiceAccounts(db, { ids: null, maker, within, ...rows })
    const found = await readPage(keys.cursor, `service-accounts ${maker ?? ''}`, page, list)
    return { ...found, isTruncated: false }
  }
  const search = readSearch(text, page)
  const found = await searchServiceAccounts(db, search, maker)
  const rows = await findRows(found, search.limit, (ids, limit) =>
    listServiceAccounts(db, { ids, maker, within, limit, after: null }),
  )
  return { ...rows, nextCursor: null }
}

/**
 * @param otherwise the problem where there is none: for the caller's own account invalid_token
 * @throws Problem not_found or invalid_token
 */
export async function findAccount(
  context: Context,
  id: string,
  otherwise: 'not_found' | 'invalid_token' = 'not_found',
): Promise<ServiceAccountRow> {
  const account = isId(id) ? await findServiceAccount(context.db, id) : null
  return account ?? fail(otherwise)
}

/** @throws Problem not_found for what is not the caller's to manage */
export async function requireManagedAccount(
  context: Context,
  caller: Principal,
  id: string,
): Promise<ServiceAccountRow> {
  const account = await findAccount(context, id)
  return manages(caller, account) ? account : fail('not_found')
}

/**
 * A service account that the caller may look at.
 * @throws Problem not_found
 */
export async function requireVisibleAccount(
  context: Context,
  caller: Principal,
  id: string,
): Promise<ServiceAccountRow> {
  return readsAll(caller) ? findAccount(context, id) : requireManagedAccount(context, caller, id)
}

/** Whether a caller of the routes of service accounts has more than support's power over an account. */
function maySetAccount(caller: Principal, account: ServiceAccountRow): boolean {
  const isWhole =
    caller.kind === 'key' ? covers(caller.grants, SERVICE_ACCOUNTS_WRITE) : !caller.claims.isNarrowed
  return isWhole && manages(caller, account)
}

/**
 * Changes a service account. Its keys hold, at each use, only what lies within the new ceiling.
 * @throws Problem not_found, insufficient_scope where it would hold or begin to hold what the caller can't grant
 */
export async function changeServiceAccount(
  context: Context,
  origin: Origin,
  caller: Principal,
  id: string,
  patch: ServiceAccountPatch,
): Promise<ServiceAccountRow> {
  await requireVisibleAccount(context, caller, id)
  const change = readPatch(patch)
  const locks: Lock[] = [['serviceAccounts', id, 'no key update']]
  return recordChange(context, origin, caller, locks, async ({ tx, held, caller, record }) => {
    const before = held.serviceAccounts.get(id) ?? fail('not_found')
    if (!maySetAccount(caller, before)) {
      if (!readsAll(caller)) fail('not_found')
      requireDisabling(change)
    }
    if (Object.keys(change).length === 0) return before
    const after = { ...before, ...change }
    const lockedSettings = requireAccountPower(caller, before, after)
    await updateServiceAccount(tx, id, { ...change, lockedSettings })
    const target = { type: 'service_account' as const, id }
    await record(describeChange(before, after).map((event) => ({ ...event, target })))
    return after
  })
}

/**
 * Deletes a service account with its keys. What the audit trail says of it stays.
 * @throws Problem not_found
 */
export async function removeServiceAccount(
  context: Context,
  origin: Origin,
  caller: Principal,
  id: string,
): Promise<void> {
  await requireManagedAccount(context, caller, id)
  const owned = { type: 'service_account', id } as const
  const ending = async (): Promise<Lock[]> => [['serviceAccounts', id, 'no key update']]
  await deleteManyKeys(context, origin, caller, owned, ending, async ({ held, caller }) => {
    requireHeld(held.serviceAccounts.get(id), caller)
  })
  const locks: Lock[] = [
    ['serviceAccounts', id, 'update'],
    ['keysOfAccount', id, 'update'],
  ]
  await recordChange(context, origin, caller, locks, async ({ tx, held, caller, record }) => {
    const account = requireHeld(held.serviceAccounts.get(id), caller)
    await deleteServiceAccount(tx, id)
    const target = { type: 'service_account' as const, id }
    await record({ action: 'service_account.deleted', target, details: { name: account.name } })
  })
}

/** Switches off locked accounts as part of another change: an admin's, who thereby locks them. */
export async function disableAccounts(
  { tx, caller, record }: Change<Principal | Operator>,
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

/** A locked account that the caller still manages. */
function requireHeld(account: ServiceAccountRow | undefined, caller: Principal): ServiceAccountRow {
  return account && manages(caller, account) ? account : fail('not_found')
}

/** What bounds an account. */
const SETTINGS: Settings<ServiceAccountRow> = {
  scopes: setting((account) => account.scopes, areScopesWithin),
  is_active: setting((account) => account.isActive, isActiveWithin),
}

/**
 * What raises an account takes the power to grant all that it then holds.
 * @returns what is locked afterwards
 * @throws Problem forbidden, insufficient_scope
 */
function requireAccountPower(
  caller: Principal,
  before: ServiceAccountRow,
  after: ServiceAccountRow,
): Record<string, unknown> {
  const isOwn = before.createdBy !== null && before.createdBy === makerOf(caller)
  const by = { ...lowersAs(caller), isOwn }
  const next = relock(SETTINGS, before.lockedSettings, before, after, by)
  if (findRaised(SETTINGS, before, after).length === 0) return next
  requireUnbounded(caller)
  requireGrants(caller, after.scopes)
  return next
}

/**
 * An account has no end and no limit of its own, so a key that has one gives an account nothing: what the account's keys
 * could do again would go beyond it.
 * @throws Problem forbidden
 */
function requireUnbounded(caller: Principal): void {
  if (caller.kind !== 'key') return
  const { endsAt, rateLimit, allowedIps, hasCredits } = caller
  if (endsAt === null && rateLimit === null && allowedIps === null && !hasCredits) return
  fail('forbidden', {
    detail: 'A key with an end, a rate limit, credits or allowed_ips enables and widens no service account.',
  })
}

/** Makers manage their own, admins all; a key manages those of its owner that hold no more than it could grant. */
export function manages(caller: Principal, account: ServiceAccountRow): boolean {
  if (isAdmin(caller)) return true
  if (account.createdBy === null || account.createdBy !== makerOf(caller)) return false
  return caller.kind === 'user' || account.scopes.every((scope) => covers(caller.grants, scope))
}

/** The person behind a caller; nobody behind a service account's key. */
function makerOf(caller: Principal): string | null {
  const owner = ownerOf(caller)
  return owner.type === 'user' ? owner.id : null
}

function readPatch(patch: ServiceAccountPatch): ServiceAccountChange {
  const change: ServiceAccountChange = {}
  if (patch.name !== undefined) change.name = patch.name
  if (patch.description !== undefined) change.description = patch.description
  if (patch.scopes !== undefined) change.scopes = requireScopes('/scopes', patch.scopes)
  if (patch.is_active !== undefined) change.isActive = patch.is_active
  return change
}

function describeChange(before: ServiceAccountRow, after: ServiceAccountRow) {
  const events: { action: AuditAction; details: Record<string, unknown> }[] = []
  const shown = ({ name, description, scopes }: ServiceAccountRow) => ({ name, description, scopes })
  if (JSON.stringify(shown(before)) !== JSON.stringify(shown(after))) {
    events.push({
      action: 'service_account.updated',
      details: { before: shown(before), after: shown(after) },
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
