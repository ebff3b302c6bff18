import type { Transaction } from '../../db/database.ts'
import { violatedConstraint } from '../../db/errors.ts'
import { findRows, type SearchPage } from '../../db/search.ts'
import { fail } from '../../lib/errors.ts'
import { readExternalId } from '../../lib/external-id.ts'
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
import { type Caller, type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { deleteManyKeys } from '../keys/steps.ts'
import { ownerOf } from '../owners.ts'
import { type Holder, isAdmin, readsAll } from '../principal.ts'
import { requireQuota } from '../quota.ts'
import { lackOfScopes, requireGrants } from '../verify/problems.ts'
import { heldAccount, locksOfAccount, manages, managesAlone, type WholeAccount } from './managers.ts'
import type { NewServiceAccount, ServiceAccountPatch } from './model.ts'
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
 * @throws Problem insufficient_scope, validation_failed, quota_exceeded, conflict where the external id is taken
 */
export async function createServiceAccount(
  context: Context,
  origin: Origin,
  caller: Holder,
  input: NewServiceAccount,
  externalId: string | null = null,
): Promise<WholeAccount> {
  const scopes = input.scopes === undefined ? [...caller.scopes] : requireScopes('/scopes', input.scopes)
  requireGrants(caller, scopes)
  const [id, managerId] = [newId(), newId()]
  const manager = ownerOf(caller)
  const createdBy = manager.type === 'user' ? manager.id : null
  // The creator's row is locked, so that two creations at once are counted one after the other, and the quota holds.
  const locks: Lock[] = caller.kind === 'user' ? [['users', caller.userId, 'no key update']] : []
  const work = recordChange(context, origin, caller, locks, async ({ tx, caller, now, record }) => {
    requireGrants(caller, scopes)
    const countsFor = caller.kind === 'user' && !isAdmin(caller) ? caller.userId : null
    if (countsFor !== null) await requireAccountQuota(context, tx, countsFor)
    const account = await insertServiceAccount(tx, {
      id,
      name: input.name,
      description: input.description ?? null,
      externalId,
      scopes,
      createdBy,
      countsFor,
      createdAt: now,
    })
    await insertManager(tx, {
      id: managerId,
      serviceAccountId: id,
      ...managerColumns(manager),
      createdAt: now,
    })
    const target = { type: 'service_account' as const, id }
    await record({
      action: 'service_account.created',
      target,
      details: { name: account.name, external_id: externalId, scopes },
    })
    return { ...account, managers: [manager] }
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

/** A page of the service accounts that the caller manages, newest first; the one page of a search, where there is a text. */
export async function listManagedAccounts(
  context: Context,
  caller: Holder,
  {
    text,
    externalId: named,
    ...page
  }: PageQuery & { text: string | undefined; externalId: string | undefined },
): Promise<SearchPage<WholeAccount>> {
  const manager = readsAll(caller) ? null : ownerOf(caller)
  const externalId = named === undefined ? null : readExternalId('?external_id', named)
  const within = caller.kind === 'key' && !readsAll(caller) ? caller.scopes : null
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
  caller: Holder,
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
  caller: Holder,
  id: string,
): Promise<WholeAccount> {
  return readsAll(caller) ? findAccount(context, id) : requireManagedAccount(context, caller, id)
}

/** Whether a caller of the routes of service accounts has more than support's power over an account. */
function maySetAccount(caller: Holder, account: WholeAccount): boolean {
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
  caller: Holder,
  id: string,
  patch: ServiceAccountPatch,
): Promise<WholeAccount> {
  await requireVisibleAccount(context, caller, id)
  const change = readPatch(patch)
  const locks = locksOfAccount(id, 'no key update')
  const work = recordChange(context, origin, caller, locks, async ({ tx, held, caller, record }) => {
    const before = heldAccount(held, id) ?? fail('not_found')
    if (!maySetAccount(caller, before)) {
      if (!readsAll(caller)) fail('not_found')
      requireDisabling(change)
    }
    if (Object.keys(change).length === 0) return before
    const after = { ...before, ...change }
    requireLabelPower(caller, before, after)
    const lockedSettings = requireAccountPower(caller, before, after)
    await updateServiceAccount(tx, id, { ...change, lockedSettings })
    const target = { type: 'service_account' as const, id }
    await record(describeChange(before, after).map((event) => ({ ...event, target })))
    return after
  })
  return work.catch(failTaken)
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
  caller: Holder,
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
function requireHeld(account: WholeAccount | undefined, caller: Holder): WholeAccount {
  return account && manages(caller, account) ? account : fail('not_found')
}

/**
 * An external id says to the product whose customer presents a key: who could choose it freely could pose as another
 * customer, or take a customer's id before the product does.
 * @throws Problem insufficient_scope
 */
function requireLabelPower(caller: Holder, before: WholeAccount, after: WholeAccount): void {
  const isKept = after.externalId === before.externalId
  if (!isKept && !covers(caller.grants, SERVICE_ACCOUNTS_WRITE)) throw lackOfScopes([SERVICE_ACCOUNTS_WRITE])
}

/** The settings that bound what an account may do. */
const SETTINGS: Settings<ServiceAccountRow> = {
  scopes: setting((account) => account.scopes, areScopesWithin),
  is_active: setting((account) => account.isActive, isActiveWithin),
}

/**
 * A change that gives an account more needs a caller who could grant all scopes that the account then holds.
 * @returns the settings that are locked after the change
 * @throws Problem forbidden, insufficient_scope
 */
function requireAccountPower(
  caller: Holder,
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
 * A key with an expiry, a rate limit, credits or address limits widens and enables no account, and adds no manager. An account has no such
 * bounds, so the account's keys could do more than the key that widened it.
 * @throws Problem forbidden
 */
export function requireUnbounded(caller: Holder): void {
  if (caller.kind !== 'key') return
  const { endsAt, rateLimit, allowedIps, hasCredits } = caller
  if (endsAt === null && rateLimit === null && allowedIps === null && !hasCredits) return
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
  return change
}

function describeChange(before: ServiceAccountRow, after: ServiceAccountRow) {
  const events: { action: AuditAction; details: Record<string, unknown> }[] = []
  const describe = ({ name, description, externalId, scopes }: ServiceAccountRow) => ({
    name,
    description,
    external_id: externalId,
    scopes,
  })
  if (JSON.stringify(describe(before)) !== JSON.stringify(describe(after))) {
    events.push({
      action: 'service_account.updated',
      details: { before: describe(before), after: describe(after) },
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
