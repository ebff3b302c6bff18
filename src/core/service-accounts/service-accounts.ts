import { fail } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { type Page, type PageQuery, readPage } from '../../lib/page.ts'
import { covers, requireScopes } from '../../lib/scopes.ts'
import { type AuditAction, type Origin, recordChange } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { ownerOf } from '../owners.ts'
import { isAdmin, type Principal } from '../principal.ts'
import { requireGrants } from '../verify/refusals.ts'
import type { NewServiceAccount, ServiceAccountPatch } from './model.ts'
import {
  deleteServiceAccount,
  findServiceAccount,
  insertServiceAccount,
  listServiceAccounts,
  lockServiceAccount,
  type ServiceAccountChange,
  type ServiceAccountRow,
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
  return recordChange(context, origin, async (tx, record) => {
    const account = await insertServiceAccount(tx, {
      id: newId(),
      name: input.name,
      description: input.description ?? null,
      scopes,
      createdBy: makerOf(caller),
      createdAt: new Date(context.clock()),
    })
    const target = { type: 'service_account' as const, id: account.id }
    await record({ action: 'service_account.created', target, details: { name: account.name, scopes } })
    return account
  })
}

/** A page of the service accounts that the caller manages, newest first. */
export async function listManagedAccounts(
  context: Context,
  caller: Principal,
  page: PageQuery,
): Promise<Page<ServiceAccountRow>> {
  const maker = isAdmin(caller) ? null : makerOf(caller)
  // Nobody is behind a service account's key: it manages none.
  if (maker === null && !isAdmin(caller)) return { rows: [], nextCursor: null }
  const within = caller.kind === 'key' ? caller.scopes : null
  return readPage(context.keys.cursor, `service-accounts ${maker ?? ''}`, page, (rows) =>
    listServiceAccounts(context.db, { maker, within, ...rows }),
  )
}

/** @throws Problem not_found */
export async function findAccount(context: Context, id: string): Promise<ServiceAccountRow> {
  const account = isId(id) ? await findServiceAccount(context.db, id) : null
  return account ?? fail('not_found')
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
  await requireManagedAccount(context, caller, id)
  const change = readPatch(patch)
  return recordChange(context, origin, async (tx, record) => {
    const before = await lockServiceAccount(tx, id)
    if (!before) fail('not_found')
    if (Object.keys(change).length === 0) return before
    const widens = change.scopes?.filter((scope) => !before.scopes.includes(scope)) ?? []
    const revives = change.isActive === true && !before.isActive
    requireGrants(caller, revives ? (change.scopes ?? before.scopes) : widens)
    const after = await updateServiceAccount(tx, id, change)
    for (const event of describeChange(before, after)) {
      await record({ ...event, target: { type: 'service_account', id } })
    }
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
  const account = await requireManagedAccount(context, caller, id)
  await recordChange(context, origin, async (tx, record) => {
    // Of two at once, one finds it.
    if (!(await deleteServiceAccount(tx, id))) fail('not_found')
    const target = { type: 'service_account' as const, id }
    await record({ action: 'service_account.deleted', target, details: { name: account.name } })
  })
}

/** Makers manage their own, admins all; a key manages those of its owner that hold no more than it could grant. */
function manages(caller: Principal, account: ServiceAccountRow): boolean {
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
