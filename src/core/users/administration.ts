import { findRows, type SearchPage } from '../../db/search.ts'
import { fail } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import { type PageQuery, type PageRows, readPage } from '../../lib/page.ts'
import {
  type Ceiling,
  ceilingOfUser,
  covers,
  KEYS_READ,
  KEYS_WRITE,
  requireScopes,
  USERS_WRITE,
} from '../../lib/scopes.ts'
import { readSearch } from '../../lib/search.ts'
import type { AuditAction, Origin } from '../audit/audit.ts'
import {
  ADMINS_ONLY,
  findRaised,
  isActiveWithin,
  isByAdmin,
  lowersAs,
  relock,
  requireDisabling,
  requirePowerOver,
  type Settings,
  setting,
} from '../change/power.ts'
import { requireRecent } from '../change/recent.ts'
import {
  type Change,
  changedMeanwhile,
  type Lock,
  type LockMode,
  recordChange,
} from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { deleteManyKeys } from '../keys/steps.ts'
import type { Operator, Principal } from '../principal.ts'
import { disableAccounts } from '../service-accounts/service-accounts.ts'
import { endSessionsOfUser } from '../sessions/sessions.ts'
import type { ManagedAccount, UserPatch } from './model.ts'
import {
  countActiveAdmins,
  deleteUser,
  findUserById,
  listUsers,
  searchUsers,
  type UserChange,
  type UserRow,
  updateUser,
} from './queries.ts'

/** The advisory lock of every change that takes an active admin away: of two at once, the second counts after the first. */
const LAST_ADMIN: Lock = ['advisory', 'last_admin']

/** Who administers users. */
type Administrator = Principal | Operator

/** A page of users, newest first; the one page of those that a search finds, where there is a text. */
export async function listAllUsers(
  context: Context,
  { text, ...page }: PageQuery & { text: string | undefined },
): Promise<SearchPage<UserRow>> {
  const { db } = context
  if (text === undefined) {
    const list = (rows: PageRows) => listUsers(db, { ids: null, ...rows })
    return { ...(await readPage(context.keys.cursor, 'users', page, list)), isTruncated: false }
  }
  const search = readSearch(text, page)
  const found = await findRows(await searchUsers(db, search), search.limit, (ids, limit) =>
    listUsers(db, { ids, limit, after: null }),
  )
  return { ...found, nextCursor: null }
}

/** What becomes of the service accounts that a user alone manages, when the user is disabled or deleted. */
export type Ending = { disablesAccounts: boolean }

/**
 * Changes a user's role, state, ceiling or verified address; `scopes: null` gives them USER_SCOPES again. Disabling ends
 * their sessions; their keys rest with them.
 * @returns the user, and where they are disabled now, the service accounts that they alone manage
 * @throws Problem not_found, last_admin, forbidden, insufficient_scope, reauthentication_required, validation_failed
 */
export async function changeUser(
  context: Context,
  origin: Origin,
  caller: Administrator,
  id: string,
  patch: UserPatch,
  { disablesAccounts }: Ending = { disablesAccounts: false },
): Promise<{ user: UserRow; accounts: ManagedAccount[] | null }> {
  const change = readPatch(patch)
  requirePowerToName(context, caller, change)
  if (caller.kind !== 'operator' && !covers(caller.grants, USERS_WRITE)) requireDisabling(change)
  const takesAdmin = change.role === 'user' || change.isActive === false
  const isDisabling = change.isActive === false
  const locks = async (): Promise<Lock[]> => [
    ...(await findLocks(context, id, 'no key update', takesAdmin)),
    ...(isDisabling ? locksOfEnding(id, 'no key update') : []),
  ]
  return recordChange(context, origin, caller, locks, async (work) => {
    const before = work.held.users.get(id) ?? fail('not_found')
    const after = { ...before, ...change }
    requirePowerToName(context, work.caller, change)
    const lockedSettings = requirePower(context, work.caller, before, after)
    if (takesAdmin) await requireOtherAdmin(work, before)
    if (Object.keys(change).length > 0) await updateUser(work.tx, id, { ...change, lockedSettings })
    const accounts = isDisabling ? managedAloneBy(work, id) : []
    if (disablesAccounts) await disableAccounts(work, accounts)
    if (isDisabling) await endSessionsOfUser(work.tx, id, work.now, 'user_disabled')
    const target = { type: 'user' as const, id }
    await work.record(describeChange(before, after).map((event) => ({ ...event, target })))
    return { user: after, accounts: isDisabling ? accounts.map(nameAccount) : null }
  })
}

/**
 * Deletes a user with their sessions and keys. What the audit trail says of them stays.
 * @returns the service accounts that they alone managed, which go on unless `disablesAccounts`
 * @throws Problem not_found, last_admin, forbidden
 */
export async function removeUser(
  context: Context,
  origin: Origin,
  caller: Administrator,
  id: string,
  { disablesAccounts }: Ending = { disablesAccounts: false },
): Promise<ManagedAccount[]> {
  if (!isId(id)) fail('not_found')
  const requireEnding = async (work: Change<Administrator>) => {
    const user = work.held.users.get(id) ?? fail('not_found')
    requirePowerOver(work.caller, user.role)
    await requireOtherAdmin(work, user)
    return user
  }
  const owned = { type: 'user', id } as const
  const ending = () => findLocks(context, id, 'no key update', true)
  await deleteManyKeys(context, origin, caller, owned, ending, async (work) => {
    await requireEnding(work)
  })
  const locks = async (): Promise<Lock[]> => [
    ...(await findLocks(context, id, 'update', true)),
    ...locksOfEnding(id, 'update'),
    ['keysOfUser', id, 'update'],
  ]
  return recordChange(context, origin, caller, locks, async (work) => {
    const user = await requireEnding(work)
    const accounts = managedAloneBy(work, id)
    if (disablesAccounts) await disableAccounts(work, accounts)
    await deleteUser(work.tx, id)
    const details = { email: user.email, role: user.role }
    await work.record({ action: 'user.deleted', target: { type: 'user', id }, details })
    return accounts.map(nameAccount)
  })
}

async function findLocks({ db }: Context, id: string, mode: LockMode, takesAdmin: boolean): Promise<Lock[]> {
  const user = (isId(id) ? await findUserById(db, id) : null) ?? fail('not_found')
  return [...(takesAdmin && isActiveAdmin(user) ? [LAST_ADMIN] : []), ['users', id, mode]]
}

/** What ends with a user, and what may be switched off with them. */
const locksOfEnding = (id: string, mode: LockMode): Lock[] => [
  ['accountsOfUser', id, 'no key update'],
  ['sessionsOfUser', id, mode],
]

/** The service accounts that a user alone manages, of those that are locked. */
const managedAloneBy = ({ held }: Change<Administrator>, id: string) =>
  [...held.serviceAccounts.values()].filter((account) => account.createdBy === id)

const nameAccount = ({ id, name }: ManagedAccount): ManagedAccount => ({ id, name })

const isActiveAdmin = (user: UserRow) => user.role === 'admin' && user.isActive

/** @throws Problem last_admin; `changedMeanwhile` where the user became an admin after the locks were chosen */
async function requireOtherAdmin({ tx, locks }: Change<Administrator>, user: UserRow): Promise<void> {
  if (!isActiveAdmin(user)) return
  if (!locks.includes(LAST_ADMIN)) throw changedMeanwhile()
  if ((await countActiveAdmins(tx)) === 1) fail('last_admin')
}

/** What bounds a user, besides the role. A ceiling is compared as it is in force. */
const settingsOf = (context: Pick<Context, 'config'>): Settings<UserRow> => ({
  is_active: setting((user) => user.isActive, isActiveWithin),
  scopes: setting(
    (user) => user.scopes,
    (inner, outer) => isCeilingWithin(ceilingOf(context, inner), ceilingOf(context, outer)),
  ),
})

const ceilingOf = ({ config }: Pick<Context, 'config'>, scopes: string[] | null): Ceiling =>
  ceilingOfUser({ role: 'user', scopes }, config.userScopes)

function isCeilingWithin(inner: Ceiling, outer: Ceiling): boolean {
  return (!inner.everything || outer.everything) && inner.scopes.every((scope) => covers(outer, scope))
}

/**
 * Roles, admins and proofs of an address are an admin's own business. Anybody else makes, enables and widens only users
 * whose whole ceiling they could grant.
 * @param before null: the user is new
 * @returns what is locked afterwards
 * @throws Problem forbidden, insufficient_scope
 */
export function requirePower(
  context: Pick<Context, 'config'>,
  caller: Administrator,
  before: UserRow | null,
  after: Pick<UserRow, 'id' | 'role' | 'isActive' | 'scopes' | 'emailVerified' | 'lockedSettings'>,
): UserRow['lockedSettings'] {
  const settings = settingsOf(context)
  const isOwn = caller.kind === 'user' && caller.userId === after.id
  if (!isByAdmin(caller)) {
    requirePowerOver(caller, before?.role ?? after.role)
    const changesProof = (before?.emailVerified ?? false) !== after.emailVerified
    if (changesProof || (before && before.role !== after.role)) fail('forbidden', { detail: ADMINS_ONLY })
    const isRaised = before === null || findRaised(settings, before, after as UserRow).length > 0
    if (isRaised) requireCeiling(caller as Principal, ceilingOf(context, after.scopes))
  }
  if (before === null) return after.lockedSettings
  const by = { ...lowersAs(caller), isOwn }
  return relock(settings, before.lockedSettings, before, after as UserRow, by)
}

/**
 * What only admins set takes an admin who has just proved who they are, whatever value it has now.
 * @throws Problem forbidden, reauthentication_required
 */
function requirePowerToName(
  context: Pick<Context, 'clock'>,
  caller: Administrator,
  change: UserChange,
): void {
  if (change.role === undefined && change.emailVerified === undefined) return
  if (!isByAdmin(caller)) fail('forbidden', { detail: ADMINS_ONLY })
  requireRecent(context, caller)
}

/** @throws Problem insufficient_scope where a user would hold what the caller could not grant */
function requireCeiling(caller: Principal, ceiling: Ceiling): void {
  const isGrantable = (scope: string) =>
    scope === KEYS_READ || scope === KEYS_WRITE || covers(caller.grants, scope)
  if ((!ceiling.everything || caller.grants.everything) && ceiling.scopes.every(isGrantable)) return
  fail('insufficient_scope', { detail: 'You cannot grant a scope that you do not hold.' })
}

function readPatch(patch: UserPatch): UserChange {
  const change: UserChange = {}
  if (patch.role !== undefined) change.role = patch.role
  if (patch.is_active !== undefined) change.isActive = patch.is_active
  if (patch.email_verified !== undefined) change.emailVerified = patch.email_verified
  if (patch.scopes !== undefined) {
    change.scopes = patch.scopes === null ? null : requireScopes('/scopes', patch.scopes)
  }
  return change
}

/** One audit event for each thing that is not as it was. */
function describeChange(before: UserRow, after: UserRow) {
  const events: { action: AuditAction; details: Record<string, unknown> }[] = []
  const compare = (action: AuditAction, from: unknown, to: unknown) => {
    if (JSON.stringify(from) !== JSON.stringify(to))
      events.push({ action, details: { before: from, after: to } })
  }
  compare('user.role_changed', before.role, after.role)
  compare('user.scopes_changed', before.scopes, after.scopes)
  compare(after.isActive ? 'user.enabled' : 'user.disabled', before.isActive, after.isActive)
  compare('user.email_verified', before.emailVerified, after.emailVerified)
  return events
}
