import { fail, Problem } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { type Origin, onBehalfOf, SYSTEM } from '../audit/audit.ts'
import { type Caller, type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { requirePassword } from '../passwords/policy.ts'
import { OPERATOR, type Operator, type Principal } from '../principal.ts'
import { requirePower } from './administration.ts'
import { normaliseEmail, requireEmail } from './email.ts'
import type { AdministeredUser, Credentials, NewUser, User } from './model.ts'
import {
  countActiveAdmins,
  findUserByEmail,
  findUserById,
  insertUser,
  type UserRow,
  updatePassword,
} from './queries.ts'

export { changeUser, type Ending, listAllUsers, removeUser } from './administration.ts'
export { findUserByEmail, findUserById, updatePasswordHash } from './queries.ts'
export type { UserRow }

/** A user in the form in which the API answers that user. */
export function presentUser(user: UserRow): User {
  return {
    id: user.id,
    email: user.email,
    role: user.role,
    is_active: user.isActive,
    created_at: user.createdAt.toISOString(),
  }
}

/** A user in the form in which the API answers admins. */
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
 * Sign-up: a person creates an account, always with the role `user`. The body may have any other members, such as a
 * role; they are not read.
 * @throws Problem validation_failed, email_taken, signup_closed, unavailable
 */
export function signUp(context: Context, origin: Origin, { email, password }: Credentials): Promise<UserRow> {
  if (context.config.signup === 'closed') fail('signup_closed')
  return addUser(context, origin, null, { email, password }, 'user.signup')
}

/**
 * Creates an account for another person. An admin may, a key within its own scopes, and an operator at the command
 * line. Without a password the user cannot log in until one is set.
 * @throws Problem validation_failed, email_taken, forbidden, insufficient_scope, unavailable
 */
export function createUser(
  context: Context,
  origin: Origin,
  caller: Principal | Operator,
  input: NewUser,
): Promise<UserRow> {
  // Checked here so that a caller without the power causes no hashing, and checked again within the change.
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
}

/**
 * Creates an admin, from the command line.
 * @throws Problem validation_failed, email_taken
 */
export function createAdmin(context: Context, origin: Origin, input: Credentials): Promise<UserRow> {
  return createUser(context, origin, OPERATOR, { ...input, role: 'admin' })
}

/**
 * Creates the first admin from ADMIN_EMAIL and ADMIN_PASSWORD, if there is no admin yet. Of several servers that start
 * at once, one creates it.
 * @returns the created user; null where nothing had to be done
 * @throws Problem email_taken where the address belongs to a user who is not an admin
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
    // Another server was first, with this address or another.
    if (await hasAdmin(context)) return null
    const holder = await findUserByEmail(context.db, requireEmail(adminEmail))
    if (holder?.role === 'admin') return null
    return fail('email_taken', { detail: 'ADMIN_EMAIL belongs to a user who is not an admin.' })
  }
}

async function requireNoAdmin({ tx }: Change<Caller>): Promise<void> {
  if ((await countActiveAdmins(tx)) > 0) fail('conflict')
}

/** Whether there is an active admin, who can administer this service. */
export async function hasAdmin(context: Context): Promise<boolean> {
  return (await countActiveAdmins(context.db)) > 0
}

/**
 * The id of a user whom an operator names by id or e-mail.
 * @throws Problem not_found
 */
export async function requireUserId(context: Context, who: string): Promise<string> {
  const email = normaliseEmail(who)
  const byId = isId(who) ? await findUserById(context.db, who) : null
  const user = byId ?? (email === null ? null : await findUserByEmail(context.db, email))
  return user?.id ?? fail('not_found', { detail: 'There is no such user.' })
}

/** Stores a chosen password as part of another change. That change ends the sessions and resets of the old password. */
export function setPassword(tx: Change<Caller>['tx'], id: string, hash: string, now: Date): Promise<void> {
  return updatePassword(tx, id, hash, now)
}

/** Conditions of a new user, besides the input. */
type Conditions<C extends Caller> = {
  locks?: readonly Lock[]
  /** Checked under the locks, when the user is created. */
  requireStill?(change: Change<C>): Promise<void>
}

/** Creates a user. An address that is taken is refused before the password is hashed, because hashing is costly. */
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
