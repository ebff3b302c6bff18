import { violatedConstraint } from '../../db/errors.ts'
import { findRows, type SearchPage } from '../../db/search.ts'
import { fail } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import { type PageQuery, type PageRows, readPage } from '../../lib/page.ts'
import { presentRate, rateColumns } from '../../lib/rate.ts'
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
import { type ChangedCredits, changeOwnerCredits } from '../credits/owner-credits.ts'
import { sendVerification } from '../email/send-verification.ts'
import { deleteManyKeys } from '../keys/steps.ts'
import { voidTokens } from '../one-time-tokens/one-time-tokens.ts'
import type { Operator, Principal } from '../principal.ts'
import { endPendingSteps } from '../second-factors/pending-steps.ts'
import { disableAccounts, managedAloneBy } from '../service-accounts/service-accounts.ts'
import { endSessionsOfUser } from '../sessions/sessions.ts'
import { requireEmail } from './email.ts'
import type { ManagedAccount, UserPatch } from './model.ts'
import {
  countActiveAdmins,
  deleteUser,
  findUserByEmail,
  findUserById,
  listUsers,
  searchUsers,
  type UserChange,
  type UserRow,
  updateUser,
} from './queries.ts'

/**
 * The advisory lock of every change that takes away an active admin. Without it, two such changes at once could each
 * count the other's admin, and none would remain.
 */
const LAST_ADMIN: Lock = ['advisory', 'last_admin']

/** A caller that administers users. */
type Administrator = Principal | Operator

/**
 * A page of users, newest first.
 * @param text only users whose address contains this text
 */
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

/** Whether a user's service accounts are disabled, when the user who alone manages them is disabled or deleted. */
export type Ending = { disablesAccounts: boolean }

/** A condition of a deletion, besides the power over the user. */
type Condition = {
  /** Checked under the locks, in every step of the deletion. */
  requireStill?(change: Change<Administrator>): void
}

/**
 * Changes a user's role, state, scopes, limits, address or whether the address is verified. `scopes: null` restores USER_SCOPES.
 * Disabling a user ends the user's sessions; the user's keys are refused until the user is enabled again. A new address
 * is told to the old one by mail.
 * @returns the user. Where the change disables the user, also the service accounts that no other user manages.
 * @throws Problem not_found, last_admin, forbidden, insufficient_scope, reauthentication_required, validation_failed,
 * email_taken
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
  requirePowerToChange(context, caller, change, patch)
  const takesAdmin = change.role === 'user' || change.isActive === false
  const isDisabling = change.isActive === false
  const locks = async (): Promise<Lock[]> => [
    ...(await findLocks(context, id, 'no key update', takesAdmin)),
    ...(isDisabling ? locksOfEnding(id, 'no key update') : []),
  ]
  const work = recordChange(context, origin, caller, locks, async (work) => {
    const before = work.held.users.get(id) ?? fail('not_found')
    const isMoved = change.email !== undefined && change.email !== before.email
    // A new address is not proven yet.
    const changed = isMoved ? { emailVerified: false, ...change } : change
    const after = { ...before, ...changed }
    requirePowerToChange(context, work.caller, change, patch)
    const lockedSettings = requirePower(context, work.caller, before, after)
    if (isMoved) await requireAddress(context, work, before, after)
    if (takesAdmin) await requireOtherAdmin(work, before)
    if (Object.keys(changed).length > 0) await updateUser(work.tx, id, { ...changed, lockedSettings })
    const credits =
      patch.credits === undefined ? null : await changeOwnerCredits(work, { type: 'user', id }, patch.credits)
    if (isMoved || isDisabling) await voidTokens(work.tx, id, work.now)
    if (isMoved) await endPendingSteps(work.tx, id)
    if (isMoved) await tellOfAddress(context, work, before, after)
    const accounts = isDisabling ? await managedAloneBy(work, id) : []
    if (disablesAccounts) await disableAccounts(work, accounts)
    if (isDisabling) await endSessionsOfUser(work.tx, id, work.now, 'user_disabled')
    const target = { type: 'user' as const, id }
    await work.record(describeChange(before, after, credits).map((event) => ({ ...event, target })))
    return { user: after, accounts: isDisabling ? accounts.map(nameAccount) : null }
  })
  return work.catch((error: unknown) => {
    // Somebody else took the address in the same moment.
    if (violatedConstraint(error) === 'users_email_key') fail('email_taken')
    throw error
  })
}

/** @throws Problem email_taken; forbidden where it is another admin's address, unless ADMIN_RESETS_ADMIN */
async function requireAddress(
  { config }: Context,
  { tx, caller }: Change<Administrator>,
  before: UserRow,
  after: UserRow,
): Promise<void> {
  const isAnotherAdmins = before.role === 'admin' && caller.kind === 'user' && caller.userId !== before.id
  if (isAnotherAdmins && !config.adminResetsAdmin) {
    fail('forbidden', { detail: 'Admins do not change the address of another admin.' })
  }
  if (await findUserByEmail(tx, after.email)) fail('email_taken')
}

/** Tells the old address of the new one, and mails the new one its link. */
async function tellOfAddress(
  context: Context,
  work: Change<Administrator>,
  before: UserRow,
  after: UserRow,
): Promise<void> {
  const parameters = { new_email: after.email }
  await work.queueMail({ kind: 'email_changed', to: before.email, userId: before.id, parameters })
  if (!after.emailVerified && context.config.emailVerification !== 'off') {
    await sendVerification(context, work, after)
  }
}

/**
 * Deletes a user with all sessions and keys. The user's rows in the audit trail stay.
 * @returns the service accounts that no other user manages. They stay active unless `disablesAccounts`.
 * @throws Problem not_found, last_admin, forbidden, and what `requireStill` throws
 */
export async function removeUser(
  context: Context,
  origin: Origin,
  caller: Administrator,
  id: string,
  { disablesAccounts, requireStill }: Ending & Condition = { disablesAccounts: false },
): Promise<ManagedAccount[]> {
  if (!isId(id)) fail('not_found')
  const requireEnding = async (work: Change<Administrator>) => {
    requireStill?.(work)
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
    const accounts = await managedAloneBy(work, id)
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

/** Locks of the rows that end or may be disabled with a user. */
const locksOfEnding = (id: string, mode: LockMode): Lock[] => [
  ['accountsOfUser', id, 'no key update'],
  ['sessionsOfUser', id, mode],
]

const nameAccount = ({ id, name }: ManagedAccount): ManagedAccount => ({ id, name })

const isActiveAdmin = (user: UserRow) => user.role === 'admin' && user.isActive

/**
 * Checks that an active admin remains.
 * @throws Problem last_admin; `changedMeanwhile` where the user became an admin after the locks were chosen
 */
async function requireOtherAdmin({ tx, locks }: Change<Administrator>, user: UserRow): Promise<void> {
  if (!isActiveAdmin(user)) return
  if (!locks.includes(LAST_ADMIN)) throw changedMeanwhile()
  if ((await countActiveAdmins(tx)) === 1) fail('last_admin')
}

/** The settings that bound a user, besides the role. Scopes are compared as the ceiling that they give now. */
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
 * Decides whether a caller may change a user from one state to another. Roles, admins and verified addresses are for
 * admins only. Other callers create, enable and widen only users whose whole ceiling they could grant.
 * @param before null: the user is new
 * @returns the settings that are locked after the change
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
 * The members that only admins set take an admin who has just proved who they are, even with their present value. A
 * caller whom support alone lets in disables, and changes nothing else.
 * @throws Problem forbidden, reauthentication_required
 */
function requirePowerToChange(
  context: Pick<Context, 'clock'>,
  caller: Administrator,
  change: UserChange,
  { credits }: UserPatch,
): void {
  if (caller.kind !== 'operator' && !covers(caller.grants, USERS_WRITE)) requireDisabling(change)
  if (change.rateLimit !== undefined || credits !== undefined) requireAdmin(caller)
  const isNamed = [change.role, change.email, change.emailVerified].some((value) => value !== undefined)
  if (!isNamed) return
  requireAdmin(caller)
  requireRecent(context, caller)
}

/**
 * Only admins set the limits of a user.
 * @throws Problem forbidden where the caller is neither an admin nor the operator
 */
export function requireAdmin(caller: Administrator): void {
  if (!isByAdmin(caller)) fail('forbidden', { detail: ADMINS_ONLY })
}

/** @throws Problem insufficient_scope where the user would hold a scope that the caller cannot grant */
function requireCeiling(caller: Principal, ceiling: Ceiling): void {
  const isGrantable = (scope: string) =>
    scope === KEYS_READ || scope === KEYS_WRITE || covers(caller.grants, scope)
  if ((!ceiling.everything || caller.grants.everything) && ceiling.scopes.every(isGrantable)) return
  fail('insufficient_scope', { detail: 'You cannot grant a scope that you do not hold.' })
}

function readPatch(patch: UserPatch): UserChange {
  const change: UserChange = {}
  if (patch.email !== undefined) change.email = requireEmail(patch.email)
  if (patch.role !== undefined) change.role = patch.role
  if (patch.is_active !== undefined) change.isActive = patch.is_active
  if (patch.email_verified !== undefined) change.emailVerified = patch.email_verified
  if (patch.scopes !== undefined) {
    change.scopes = patch.scopes === null ? null : requireScopes('/scopes', patch.scopes)
  }
  if (patch.rate_limit !== undefined) Object.assign(change, rateColumns(patch.rate_limit))
  return change
}

/** One audit event for each setting that changed. */
function describeChange(before: UserRow, after: UserRow, credits: ChangedCredits | null) {
  const events: { action: AuditAction; details: Record<string, unknown> }[] = []
  const compare = (action: AuditAction, from: unknown, to: unknown) => {
    if (JSON.stringify(from) !== JSON.stringify(to))
      events.push({ action, details: { before: from, after: to } })
  }
  compare('user.role_changed', before.role, after.role)
  compare('user.scopes_changed', before.scopes, after.scopes)
  const limitsOf = (user: UserRow, side: keyof ChangedCredits) => ({
    rate_limit: presentRate(user),
    ...(credits && { credits: credits[side] }),
  })
  compare('user.limits_changed', limitsOf(before, 'before'), limitsOf(after, 'after'))
  compare(after.isActive ? 'user.enabled' : 'user.disabled', before.isActive, after.isActive)
  compare('user.email_changed', before.email, after.email)
  compare('user.email_verified', before.emailVerified, after.emailVerified)
  return events
}
