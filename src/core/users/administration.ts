import type { Transaction } from '../../db/database.ts'
import { fail } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import type { Role } from '../../lib/model.ts'
import { type Page, type PageQuery, readPage } from '../../lib/page.ts'
import { covers, requireScopes } from '../../lib/scopes.ts'
import { type AuditAction, type Origin, recordChange } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { isAdmin, type Principal } from '../principal.ts'
import { endSessionsOfUser } from '../sessions/sessions.ts'
import type { UserPatch } from './model.ts'
import {
  deleteUser,
  listUsers,
  lockWithActiveAdmins,
  type UserChange,
  type UserRow,
  updateUser,
} from './queries.ts'

const ADMINS_ONLY = "This takes an admin's own access token."

/** A page of users, newest first. */
export async function listAllUsers(
  context: Context,
  { text, ...page }: PageQuery & { text: string | undefined },
): Promise<Page<UserRow>> {
  const wanted = text === undefined ? null : text.normalize('NFC').toLowerCase()
  return readPage(context.keys.cursor, `users ${text ?? ''}`, page, (rows) =>
    listUsers(context.db, { text: wanted, ...rows }),
  )
}

/**
 * Changes a user's role, state, ceiling or verified address; `scopes: null` gives them USER_SCOPES again. Disabling ends their sessions; their keys rest with them.
 * @param caller null: an operator at the command line, who may do everything
 * @throws Problem not_found, last_admin, forbidden, insufficient_scope, validation_failed
 */
export async function changeUser(
  context: Context,
  origin: Origin,
  caller: Principal | null,
  id: string,
  patch: UserPatch,
): Promise<UserRow> {
  const change = readPatch(patch)
  return recordChange(context, origin, async (tx, record) => {
    const { user, isLastAdmin } = await lockForChange(tx, id)
    requirePower(caller, user, change)
    if (isLastAdmin && (change.role === 'user' || change.isActive === false)) fail('last_admin')
    if (Object.keys(change).length === 0) return user
    const changed = await updateUser(tx, user.id, change)
    if (user.isActive && !changed.isActive) {
      await endSessionsOfUser(tx, user.id, new Date(context.clock()), 'user_disabled')
    }
    for (const event of describeChange(user, changed)) {
      await record({ ...event, target: { type: 'user', id: user.id } })
    }
    return changed
  })
}

/**
 * Deletes a user with their sessions and keys. What the audit trail says of them stays.
 * @throws Problem not_found, last_admin, forbidden
 */
export async function removeUser(
  context: Context,
  origin: Origin,
  caller: Principal | null,
  id: string,
): Promise<void> {
  await recordChange(context, origin, async (tx, record) => {
    const { user, isLastAdmin } = await lockForChange(tx, id)
    requirePower(caller, user, {})
    if (isLastAdmin) fail('last_admin')
    await deleteUser(tx, user.id)
    const details = { email: user.email, role: user.role }
    await record({ action: 'user.deleted', target: { type: 'user', id: user.id }, details })
  })
}

/** The user, locked with the admins: whoever changes an admin has seen who else is one. */
async function lockForChange(tx: Transaction, id: string) {
  const rows = isId(id) ? await lockWithActiveAdmins(tx, id) : []
  const user = rows.find((row) => row.id === id)
  if (!user) fail('not_found')
  const hasOthers = rows.some((row) => row.id !== id)
  return { user, isLastAdmin: !hasOthers && user.role === 'admin' && user.isActive }
}

/** Roles are changed, and admins touched, by admins alone; a ceiling is raised only to what the caller could grant. */
function requirePower(caller: Principal | null, user: UserRow, change: UserChange): void {
  if (caller === null || isAdmin(caller)) return
  if (change.role !== undefined || user.role === 'admin') {
    fail('forbidden', { detail: ADMINS_ONLY })
  }
  const isRaised = change.scopes === null || change.scopes?.some((scope) => !covers(caller.grants, scope))
  if (change.scopes !== undefined && isRaised) {
    fail('insufficient_scope', { detail: 'You cannot grant a scope that you do not hold.' })
  }
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

/**
 * Whether a caller may make or act on somebody with a role.
 * @throws Problem forbidden where the role is admin, and the caller is not an admin
 */
export function requireUserPower(caller: Principal, role: Role): void {
  if (role === 'admin' && !isAdmin(caller)) fail('forbidden', { detail: ADMINS_ONLY })
}
