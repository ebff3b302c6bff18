import { fail, failToken, Problem } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { presentRate, rateColumns } from '../../lib/rate.ts'
import { formatInstant } from '../../lib/time.ts'
import { type Origin, onBehalfOf, SYSTEM } from '../audit/audit.ts'
import { requireRecent } from '../change/recent.ts'
import { type Caller, type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { changeOwnerCredits, listOwnerCredits } from '../credits/owner-credits.ts'
import type { Credits } from '../credits/refills.ts'
import { presentCredits } from '../credits/settings.ts'
import { issueVerification, sendVerification } from '../email/send-verification.ts'
import { inEqualTime } from '../mail/link.ts'
import { mayMail } from '../mail/mailbox.ts'
import { isSetupTokenLive, issueSetupToken, useSetupToken } from '../one-time-tokens/one-time-tokens.ts'
import { requirePassword } from '../passwords/policy.ts'
import { OPERATOR, type Operator, type Principal } from '../principal.ts'
import { countFactors } from '../second-factors/methods.ts'
import { requireAdmin, requirePower } from './administration.ts'
import { normaliseEmail, requireEmail } from './email.ts'
import { requireInvitable, sendInvitation } from './invite.ts'
import type { AdministeredUser, Credentials, NewUser, User, UserDetail } from './model.ts'
import {
  countActiveAdmins,
  findActivity,
  findUserByEmail,
  findUserById,
  insertUser,
  type UserRow,
  updatePassword,
  updateUser,
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
export async function presentForAdmins(
  context: Pick<Context, 'db' | 'clock'>,
  user: UserRow,
): Promise<AdministeredUser> {
  return (await presentAllForAdmins(context, [user]))[0] ?? fail('not_found')
}

/** Users in the same form. */
export async function presentAllForAdmins(
  { db, clock }: Pick<Context, 'db' | 'clock'>,
  users: readonly UserRow[],
): Promise<AdministeredUser[]> {
  const ids = users.map(({ id }) => id)
  const credits = await listOwnerCredits(db, ids)
  return users.map((user) => presentWith(user, credits.get(user.id) ?? null, clock()))
}

function presentWith(user: UserRow, credits: Credits | null, nowMs: number): AdministeredUser {
  return {
    id: user.id,
    email: user.email,
    email_verified: user.emailVerified,
    role: user.role,
    is_active: user.isActive,
    scopes: user.scopes,
    rate_limit: presentRate(user),
    credits: credits && presentCredits(credits, nowMs),
    created_at: user.createdAt.toISOString(),
  }
}

/**
 * One user with what is theirs now.
 * @throws Problem not_found
 */
export async function describeUser(context: Context, id: string): Promise<UserDetail> {
  const user = (isId(id) ? await findUserById(context.db, id) : null) ?? fail('not_found')
  const [activity, mfa] = await Promise.all([
    findActivity(context.db, id, new Date(context.clock())),
    countFactors(context.db, id),
  ])
  const { keys, serviceAccounts, sessions, lastLoginAt } = activity
  return {
    ...(await presentForAdmins(context, user)),
    last_login_at: formatInstant(lastLoginAt),
    mfa,
    counts: { keys, service_accounts: serviceAccounts, sessions },
  }
}

/**
 * Sign-up: a person makes their own account, always with the role `user`: of a request's body, which may have any other
 * members, a role among them, nothing else is read.
 * @throws Problem validation_failed, email_taken, signup_closed, unavailable
 */
export async function signUp(
  context: Context,
  origin: Origin,
  { email, password }: Credentials,
): Promise<UserRow | null> {
  const { signup, emailVerification } = context.config
  if (signup === 'closed') fail('signup_closed')
  if (emailVerification === 'required') {
    await signUpUnseen(context, origin, { email, password })
    return null
  }
  return addUser(context, origin, null, { email, password }, 'user.signup', {
    finish: async (change, user) => {
      if (emailVerification === 'off') return
      await sendVerification(context, change, user, onBehalfOf(origin, user.id))
    },
  })
}

/**
 * The sign-up that answers the same, at the same time, whether or not the address is known: the password is hashed and the
 * mailbox's counter is written either way. Who has the address is told that there is an account; nothing of it changes.
 */
async function signUpUnseen(context: Context, origin: Origin, input: Credentials): Promise<void> {
  const email = requireEmail(input.email)
  const password = await requirePassword(context.config, email, input.password)
  const passwordHash = await context.passwords.hash(password, { address: origin.ip, account: email })
  const id = newId()
  await inEqualTime(() =>
    recordChange(context, origin, null, [], async (change) => {
      const { tx, now, record, queueMail } = change
      const mayBeMailed = await mayMail(tx, context, email, now)
      const user = await insertUser(tx, { id, email, passwordHash, createdAt: now, isSignUp: true })
      if (user) {
        const by = onBehalfOf(origin, id)
        await record(
          { action: 'user.signup', target: { type: 'user', id }, details: { role: user.role } },
          by,
        )
        if (mayBeMailed) await issueVerification(change, user, by)
        return
      }
      const holder = await findUserByEmail(tx, email)
      if (!holder) return
      const target = { type: 'user', id: holder.id } as const
      await record({ action: 'user.signup', outcome: 'refused', target })
      if (mayBeMailed) await queueMail({ kind: 'account_exists', to: email, userId: holder.id })
    }),
  )
}

/**
 * Creates an account for another person. An admin may, a key within its own scopes, and an operator at the command
 * line. Without a password the user cannot log in until one is set; `invite` mails them a link to set one.
 * @throws Problem validation_failed, email_taken, forbidden, insufficient_scope, reauthentication_required, unavailable
 */
export function createUser(
  context: Context,
  origin: Origin,
  caller: Principal | Operator,
  input: NewUser,
): Promise<UserRow> {
  const { invite = false } = input
  if (invite) requireInvitable(context, caller, input)
  // Checked here so that a caller without the power causes no hashing, and checked again within the change.
  requirePowerToMake(context, caller, input)
  return addUser(context, origin, caller, input, 'user.created', {
    async requireStill(change) {
      if (invite) requireInvitable(context, change.caller, input)
      requirePowerToMake(context, change.caller, input)
    },
    finish: async (change, user) => {
      if (invite) await sendInvitation(context, change, user)
    },
  })
}

function requirePowerToMake(
  context: Context,
  caller: Principal | Operator,
  { role = 'user', email_verified: emailVerified = false, rate_limit: rateLimit, credits }: NewUser,
): void {
  if (rateLimit !== undefined || credits !== undefined) requireAdmin(caller)
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
 * Creates an admin, from the command line.
 * @throws Problem validation_failed, email_taken
 */
export function createAdmin(context: Context, origin: Origin, input: Credentials): Promise<UserRow> {
  return createUser(context, origin, OPERATOR, { ...input, role: 'admin', email_verified: true })
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
  const password = adminPassword.reveal()
  const admin: NewUser = { email: adminEmail, password, role: 'admin', email_verified: true }
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

/**
 * Makes a token by which the first admin can be made in a browser within an hour.
 * @returns the link with the token, which cannot be read again; null with SETUP_PAGE=false, and where an admin exists
 */
export async function issueSetupLink(context: Context): Promise<string | null> {
  if (!(await isSetupOpen(context))) return null
  const now = new Date(context.clock())
  const token = await context.db.transaction((tx) => issueSetupToken(tx, now))
  return `${context.config.publicUrl}/setup?token=${token}`
}

/** Whether the first admin may be made in a browser. */
export const isSetupOpen = async (context: Context): Promise<boolean> =>
  context.config.setupPage && !(await hasAdmin(context))

/**
 * Makes the first admin, by a set-up token. Of two at once, on any servers, one is made.
 * @throws Problem invalid_token where the token is unknown, used or over; not_found where there is an admin;
 * validation_failed and email_taken, which leave the token usable
 */
export async function setUpAdmin(
  context: Context,
  origin: Origin,
  { token, email, password }: Credentials & { token: string },
): Promise<UserRow> {
  if (!(await isSetupOpen(context))) fail('not_found')
  // Before anything is hashed.
  if (!(await isSetupTokenLive(context.db, token, new Date(context.clock())))) failToken()
  const admin: NewUser = { email, password, role: 'admin', email_verified: true }
  return addUser(context, origin, OPERATOR, admin, 'user.created', {
    locks: [['advisory', 'first_admin']],
    async requireStill({ tx, now }) {
      if ((await countActiveAdmins(tx)) > 0) fail('not_found')
      if (!(await useSetupToken(tx, token, now))) failToken()
    },
  })
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

/** A user's address, proven, as part of another change. */
export function setVerifiedEmail(tx: Change<Caller>['tx'], id: string, email: string): Promise<void> {
  return updateUser(tx, id, { email, emailVerified: true })
}

/** Conditions of a new user, besides the input. */
type Conditions<C extends Caller> = {
  locks?: readonly Lock[]
  /** Checked under the locks, when the user is created. */
  requireStill?(change: Change<C>): Promise<void>
  /** What else is done in the same transaction. */
  finish?(change: Change<C>, user: UserRow): Promise<void>
}

/** Creates a user. An address that is taken is refused before the password is hashed, because hashing is costly. */
async function addUser<C extends Caller>(
  context: Context,
  origin: Origin,
  caller: C,
  { email: typed, password: chosen, role = 'user', email_verified: emailVerified = false, ...more }: NewUser,
  action: 'user.signup' | 'user.created',
  { locks = [], requireStill, finish }: Conditions<C> = {},
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
    const isSignUp = action === 'user.signup'
    const user = await insertUser(tx, {
      id,
      email,
      passwordHash,
      role,
      emailVerified,
      createdAt: now,
      isSignUp,
      ...rateColumns(more.rate_limit ?? null),
    })
    if (!user) fail('email_taken')
    const by = isSignUp ? onBehalfOf(origin, user.id) : origin
    if (more.credits) await changeOwnerCredits({ tx, now }, { type: 'user', id }, more.credits)
    const limits = {
      ...(more.rate_limit && { rate_limit: more.rate_limit }),
      ...(more.credits && { credits: more.credits }),
    }
    await record({ action, target: { type: 'user', id }, details: { role, ...limits } }, by)
    await finish?.(change, user)
    return user
  })
}
