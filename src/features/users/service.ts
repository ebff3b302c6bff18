import type { Context } from '../../context.ts'
import type { Transaction } from '../../db/open.ts'
import { fail } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { type Origin, onBehalfOf, type RecordEvent, recordChange, SYSTEM } from '../audit/service.ts'
import { requirePassword } from '../auth/password-policy.ts'
import { normaliseEmail, requireEmail } from './email.ts'
import {
  countActiveAdmins,
  findUserByEmail,
  findUserById,
  insertUser,
  lockActiveAdmins,
  type UserRow,
  updatePasswordHash,
  updateRole,
} from './queries.ts'

export type { UserRow }
export { findUserByEmail, updatePasswordHash }

/** What may be shown of a user. */
export function presentUser(user: UserRow) {
  return {
    id: user.id,
    email: user.email,
    role: user.role,
    is_active: user.isActive,
    created_at: user.createdAt.toISOString(),
  }
}

type NewUser = { email: string; password: string }

/**
 * Sign-up: a person makes their own account, always with the role `user`.
 * @throws Problem validation_failed, email_taken, signup_closed, unavailable
 */
export async function signUp(context: Context, origin: Origin, input: NewUser): Promise<UserRow> {
  if (context.config.signup === 'closed') fail('signup_closed')
  const { email, passwordHash } = await prepareUser(context, input)
  return recordChange(context, origin, async (tx, record) => {
    const user = await addUser(tx, context, { email, passwordHash, role: 'user' })
    if (!user) fail('email_taken')
    await record(
      { action: 'user.signup', target: { type: 'user', id: user.id } },
      onBehalfOf(origin, user.id),
    )
    return user
  })
}

/**
 * Makes an admin, from the command line.
 * @throws Problem validation_failed, email_taken
 */
export async function createAdmin(context: Context, origin: Origin, input: NewUser): Promise<UserRow> {
  const { email, passwordHash } = await prepareUser(context, input)
  return recordChange(context, origin, (tx, record) => insertAdmin(tx, context, record, email, passwordHash))
}

/**
 * ADMIN_EMAIL and ADMIN_PASSWORD: the first admin, if there is none. Of many servers that start at once, one makes it.
 * @returns the user that was made, or null where there is nothing to do
 * @throws Problem email_taken where the address belongs to somebody who is no admin
 */
export async function ensureFirstAdmin(context: Context): Promise<UserRow | null> {
  const { adminEmail, adminPassword } = context.config
  if (adminEmail === null || adminPassword === null || (await hasAdmin(context))) return null
  const input = { email: adminEmail, password: adminPassword.reveal() }
  const email = requireEmail(input.email)
  const passwordHash = await context.passwords.hash(
    await requirePassword(context.config, email, input.password),
  )
  return recordChange(context, SYSTEM, async (tx, record) => {
    const user = await addUser(tx, context, { email, passwordHash, role: 'admin' })
    if (user) {
      await record({
        action: 'user.created',
        target: { type: 'user', id: user.id },
        details: { role: 'admin' },
      })
      return user
    }
    const holder = await findUserByEmail(tx, email)
    return holder?.role === 'admin'
      ? null
      : fail('email_taken', { detail: 'ADMIN_EMAIL belongs to a user who is not an admin.' })
  })
}

/** Whether anybody can administer this service. */
export async function hasAdmin(context: Context): Promise<boolean> {
  return (await countActiveAdmins(context.db)) > 0
}

/**
 * Gives a user another role.
 * @param who the id or the e-mail
 * @throws Problem not_found, last_admin
 */
export async function setRole(
  context: Context,
  origin: Origin,
  who: string,
  role: UserRow['role'],
): Promise<UserRow> {
  return recordChange(context, origin, async (tx, record) => {
    const admins = await lockActiveAdmins(tx)
    const user = await findUser(tx, who)
    if (!user) fail('not_found', { detail: 'There is no such user.' })
    if (user.role === role) return user
    if (role !== 'admin' && admins.every((admin) => admin.id === user.id) && admins.length > 0)
      fail('last_admin')
    await updateRole(tx, user.id, role)
    await record({
      action: 'user.role_changed',
      target: { type: 'user', id: user.id },
      details: { before: user.role, after: role },
    })
    return { ...user, role }
  })
}

async function findUser(tx: Transaction, who: string): Promise<UserRow | null> {
  if (isId(who)) return findUserById(tx, who)
  const email = normaliseEmail(who)
  return email === null ? null : findUserByEmail(tx, email)
}

/** Checks the input and hashes the password; an address that is taken is refused before the costly part. */
async function prepareUser(context: Context, input: NewUser) {
  const email = requireEmail(input.email)
  const password = await requirePassword(context.config, email, input.password)
  if (await findUserByEmail(context.db, email)) fail('email_taken')
  return { email, passwordHash: await context.passwords.hash(password) }
}

async function insertAdmin(
  tx: Transaction,
  context: Context,
  record: RecordEvent,
  email: string,
  passwordHash: string,
): Promise<UserRow> {
  const user = await addUser(tx, context, { email, passwordHash, role: 'admin' })
  if (!user) fail('email_taken')
  await record({ action: 'user.created', target: { type: 'user', id: user.id }, details: { role: 'admin' } })
  return user
}

function addUser(
  tx: Transaction,
  context: Context,
  user: Pick<UserRow, 'email' | 'role'> & { passwordHash: string },
) {
  return insertUser(tx, { ...user, id: newId(), createdAt: new Date(context.clock()) })
}
