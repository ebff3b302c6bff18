import { fail, Problem } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { formatInstant } from '../../lib/time.ts'
import { type Origin, onBehalfOf, SYSTEM } from '../audit/audit.ts'
import { requireRecent } from '../change/recent.ts'
import { type Caller, type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { requirePassword } from '../passwords/policy.ts'
import { OPERATOR, type Operator, type Principal } from '../principal.ts'
import { requirePower } from './administration.ts'
import { normaliseEmail, requireEmail } from './email.ts'
import type { AdministeredUser, Credentials, NewUser, User, UserDetail } from './model.ts'
import {
  countActiveAdmins,
  findActivity,
  findUserByEmail,
  findUserById,
  insertUser,
  type UserRow,
  updatePassword,
} from './queries.ts'

export { changeUser, type Ending, listAllUsers, removeUser } from './administration.ts'
export { findUserByEmail, findUserById, updatePasswordHash } from './queries.ts'
export type { UserRow }

/** What may be shown of a user to themselves. */
export function presentUser(user: UserRow): User {
  return {
    id: user.id,
    email: user.email,
    role: user.role,
    is_active: user.isActive,
    created_at: user.createdAt.toISOString(),
  }
}

/** What admins see of a user. */
export function presentForAdmins(user: UserRow): AdministeredUser {
  return {
    id: user.id,
    email: user.email,
    email_verified: user.emailVerified,
    role: user.role,
    is_active: user.isActive,
    scopes: user.scopes,
    created_at: user.createdAt.toISOString(),
  }
}

/**
 * One user with what is theirs now.
 * @throws Problem not_found
 */
export async function describeUser(context: Context, id: string): Promise<UserDetail> {
  const user = (isId(id) ? await findUserById(context.db, id) : null) ?? fail('not_found')
  const activity = await findActivity(context.db, id, new Date(context.clock()))
  const { keys, serviceAccounts, sessions, lastLoginAt } = activity
  return {
    ...presentForAdmins(user),
    last_login_at: formatInstant(lastLoginAt),
    counts: { keys, service_accounts: serviceAccounts, sessions },
  }
}

/**
 * Sign-up: a person makes their own account, always with the role `user`: of a request's body, which may have any other
 * members, a role among them, nothing else is read.
 * @throws Problem validation_failed, email_taken, signup_closed, unavailable
 */
export function signUp(context: Context, origin: Origin, { email, password }: Credentials): Promise<UserRow> {
  if (context.config.signup === 'closed') fail('signup_closed')
  return addUser(context, origin, null, { email, password }, 'user.signup')
}

/**
 * Makes an account for somebody else: an admin does, a key within its own scopes, or an operator at the command line.
 * Without a password the user cannot log in until one is set.
 * @throws Problem validation_failed, email_taken, forbidden, insufficient_scope, reauthentication_required, unavailable
 */
export function createUser(
  context: Context,
  origin: Origin,
  caller: Principal | Operator,
  input: NewUser,
): Promise<UserRow> {
  // Asked before the costly part, and again within the change.
  requirePowerToMake(context, caller, input)
  return addUser(context, origin, caller, input, 'user.created', {
    requireStill: async (change) => requirePowerToMake(context, change.caller, input),
  })
}

function requirePowerToMake(
  context: Context,
  caller: Principal | Operator,
  { role = 'user', email_verified: emailVerified = false }: NewUser,
): void {
  requirePower(context, caller, null, {
    id: '',
    isActive: true,
    scopes: null,
    lockedSettings: {},
    role,
    emailVerified,
  })
  if (role === 'admin') requireRecent(context, caller)
}

/**
 * Makes an admin, from the command line.
 * @throws Problem validation_failed, email_taken
 */
export function createAdmin(context: Context, origin: Origin, input: Credentials): Promise<UserRow> {
  return createUser(context, origin, OPERATOR, { ...input, role: 'admin' })
}

/**
 * ADMIN_EMAIL and ADMIN_PASSWORD: the first admin, if there is none. Of many servers that start at once, one makes it.
 * @returns the user that was made, or null where there is nothing to do
 * @throws Problem email_taken where the address belongs to somebody who is no admin
 */
export async function ensureFirstAdmin(context: Context): Promise<UserRow | null> {
  const { adminEmail, adminPassword } = context.config
  if (adminEmail === null || adminPassword === null || (await hasAdmin(context))) return null
  const admin: NewUser = { email: adminEmail, password: adminPassword.reveal(), role: 'admin' }
  try {
    const options = { locks: [['advisory', 'first_admin']], requireStill: requireNoAdmin } as const
    return await addUser(context, SYSTEM, OPERATOR, admin, 'user.created', options)
  } catch (error) {
    if (!(error instanceof Problem) || !['email_taken', 'conflict'].includes(error.problem)) throw error
    // Another server, with this address or another, was first.
    if (await hasAdmin(context)) return null
    const holder = await findUserByEmail(context.db, requireEmail(adminEmail))
    if (holder?.role === 'admin') return null
    return fail('email_taken', { detail: 'ADMIN_EMAIL belongs to a user who is not an admin.' })
  }
}

async function requireNoAdmin({ tx }: Change<Caller>): Promise<void> {
  if ((await countActiveAdmins(tx)) > 0) fail('conflict')
}

/** Whether anybody can administer this service. */
export async function hasAdmin(context: Context): Promise<boolean> {
  return (await countActiveAdmins(context.db)) > 0
}

/**
 * The id of a user by their id or e-mail, as an operator names them.
 * @throws Problem not_found
 */
export async function requireUserId(context: Context, who: string): Promise<string> {
  const email = normaliseEmail(who)
  const byId = isId(who) ? await findUserById(context.db, who) : null
  const user = byId ?? (email === null ? null : await findUserByEmail(context.db, email))
  return user?.id ?? fail('not_found', { detail: 'There is no such user.' })
}

/** Sets a chosen password as part of another change, which ends what stood on the old one. */
export function setPassword(tx: Change<Caller>['tx'], id: string, hash: string, now: Date): Promise<void> {
  return updatePassword(tx, id, hash, now)
}

/** What a new user depends on, besides the input. */
type Conditions<C extends Caller> = {
  locks?: readonly Lock[]
  /** Must hold in the moment that the user is made. */
  requireStill?(change: Change<C>): Promise<void>
}

/** Checks the input and hashes the password; an address that is taken is refused before the costly part. */
async function addUser<C extends Caller>(
  context: Context,
  origin: Origin,
  caller: C,
  { email: typed, password: chosen, role = 'user', email_verified: emailVerified = false }: NewUser,
  action: 'user.signup' | 'user.created',
  { locks = [], requireStill }: Conditions<C> = {},
): Promise<UserRow> {
  const email = requireEmail(typed)
  const password = chosen === undefined ? null : await requirePassword(context.config, email, chosen)
  if (await findUserByEmail(context.db, email)) fail('email_taken')
  const passwordHash =
    password === null ? null : await context.passwords.hash(password, { address: origin.ip, account: email })
  const id = newId()
  return recordChange(context, origin, caller, locks, async (change) => {
    await requireStill?.(change)
    const { tx, now, record } = change
    const user = await insertUser(tx, { id, email, passwordHash, role, emailVerified, createdAt: now })
    if (!user) fail('email_taken')
    const by = action === 'user.signup' ? onBehalfOf(origin, user.id) : origin
    await record({ action, target: { type: 'user', id }, details: { role } }, by)
    return user
  })
}
