import { fail, Problem } from '../../lib/errors.ts'
import { ceilingOfUser, covers } from '../../lib/scopes.ts'
import { type Origin, recordEvent } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { normalisePassword } from '../passwords/policy.ts'
import type { Holder, LogInKind, UserOwner } from '../principal.ts'
import { findUserByEmail, type UserRow, updatePasswordHash } from '../users/accounts.ts'
import { normaliseEmail } from '../users/email.ts'
import type { Credentials } from '../users/model.ts'
import type { Me } from './model.ts'
import { type SignIn, signIn } from './sign-in.ts'
import { guardGuess } from './throttle.ts'

/** The session that a log-in begins. `scopes` are those that an OAuth client requests; the user must hold them. Empty: all. */
export type LogInAs = { kind: LogInKind; scopes?: readonly string[]; remember?: boolean }

/**
 * Logs a user in by e-mail and password. An unknown address, a wrong password and a disabled user get one answer, in
 * the same time. Otherwise the answer would tell which addresses have accounts.
 * @param input the body of a request. Its other members are not read.
 * @throws Problem invalid_login, too_many_attempts, unavailable, invalid_scope, mfa_required, email_not_verified
 */
export async function logIn(
  context: Context,
  origin: Origin,
  input: Credentials,
  { kind, scopes = [], remember = false }: LogInAs,
): Promise<SignIn> {
  const email = normaliseEmail(input.email)
  if (email === null) fail('invalid_login')
  const user = await requireLogin(context, origin, email, input.password)
  await replaceOutdatedHash(context, origin, user, input.password)
  const ceiling = ceilingOfUser(user, context.config.userScopes)
  if (!scopes.every((scope) => covers(ceiling, scope))) {
    // The answer confirms that the password is right, so the audit trail must show it.
    await recordFailure(context, origin, user, { reason: 'invalid_scope' })
    fail('invalid_scope')
  }
  return signIn(context, origin, user, { kind, scopes: scopes.length > 0 ? scopes : null, remember })
}

/**
 * Finds the active user with this e-mail and password. A failure counts as a failed log-in.
 * @throws Problem invalid_login, too_many_attempts, unavailable
 */
export async function requireLogin(
  context: Context,
  origin: Origin,
  email: string,
  password: string,
): Promise<UserRow> {
  const check = () => checkPassword(context, origin, email, password)
  return (await guardGuess(context, origin, email, check)) ?? fail('invalid_login')
}

/** The active user whose password this is; null where the check failed, which is audited. */
async function checkPassword(
  context: Context,
  origin: Origin,
  email: string,
  password: string,
): Promise<UserRow | null> {
  const user = await findUserByEmail(context.db, email)
  const caller = { address: origin.ip, account: email, isLogin: true }
  const mayEnter = await context.passwords.verify(password, user, caller)
  if (user && mayEnter) return user
  await recordFailure(context, origin, user)
  return null
}

function recordFailure(
  context: Context,
  origin: Origin,
  user: UserRow | null,
  details: { reason?: string } = {},
): Promise<void> {
  return recordEvent(context.db, context, origin, {
    action: 'user.login_failed',
    outcome: 'refused',
    ...(user ? { target: { type: 'user', id: user.id } } : {}),
    details,
  })
}

/**
 * Replaces a password hash of an outdated kind by one of today's kind. Where the hashing queue is full, the next log-in
 * does it.
 */
async function replaceOutdatedHash(
  context: Context,
  origin: Origin,
  user: UserRow,
  password: string,
): Promise<void> {
  if (user.passwordHash === null || !context.passwords.isOutdated(user.passwordHash)) return
  try {
    const caller = { address: origin.ip, account: user.email }
    const hash = await context.passwords.hash(normalisePassword(password), caller)
    await updatePasswordHash(context.db, user.id, user.passwordHash, hash)
  } catch (error) {
    if (!(error instanceof Problem && error.problem === 'unavailable')) throw error
  }
}

/** The answer of `/auth/me` about the caller. */
export function describePrincipal(principal: Holder): Me {
  const scopes = [...principal.scopes]
  if (principal.kind === 'user') {
    return { ...describeUser({ ...principal, id: principal.userId }), auth_type: 'jwt' as const, scopes }
  }
  const { owner } = principal
  const auth_type = 'api_key' as const
  if (owner.type === 'user') return { ...describeUser(owner), auth_type, scopes }
  return { type: owner.type, id: owner.id, name: owner.name, auth_type, scopes }
}

function describeUser({ id, email, emailVerified, role, createdAt }: Omit<UserOwner, 'type'>) {
  // A disabled user is never a principal, so `is_active` is always true here.
  return {
    type: 'user' as const,
    id,
    email,
    email_verified: emailVerified,
    role,
    is_active: true,
    created_at: createdAt.toISOString(),
  }
}
