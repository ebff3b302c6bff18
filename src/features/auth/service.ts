import type { Context } from '../../context.ts'
import { fail } from '../../lib/errors.ts'
import { ceilingOfUser, covers } from '../../lib/scopes.ts'
import { type Origin, onBehalfOf, recordEvent } from '../audit/service.ts'
import { type Grant, startSession } from '../sessions/service.ts'
import { normaliseEmail } from '../users/email.ts'
import { findUserByEmail, updatePasswordHash } from '../users/service.ts'
import type { Principal, UserOwner } from '../verify/principal.ts'
import { reserveLogin } from './throttle.ts'

/** What a person logs in with; `scopes` are those that an OAuth client asks for. */
export type Login = { email: string; password: string; scopes?: readonly string[] }

/**
 * Log in with e-mail and password. Unknown, wrong and disabled are one answer, in the same time.
 * @throws Problem invalid_login, too_many_attempts, unavailable, invalid_scope
 */
export async function logIn(context: Context, origin: Origin, input: Login): Promise<Grant> {
  const email = normaliseEmail(input.email)
  if (email === null) fail('invalid_login')
  const releaseAttempt = await reserveLogin(context, origin, email)
  const user = await findUserByEmail(context.db, email)
  const fits = await context.passwords
    .verify(input.password, user?.passwordHash ?? null)
    .catch(async (error: unknown) => {
      await releaseAttempt()
      throw error
    })
  if (!user || !fits || !user.isActive) {
    const target = user ? { target: { type: 'user' as const, id: user.id } } : {}
    await recordEvent(context.db, context, origin, {
      action: 'user.login_failed',
      outcome: 'refused',
      ...target,
    })
    fail('invalid_login')
  }
  await releaseAttempt()
  if (user.passwordHash !== null && context.passwords.isOutdated(user.passwordHash)) {
    const hash = await context.passwords.hash(input.password.normalize('NFC'))
    await updatePasswordHash(context.db, user.id, user.passwordHash, hash)
  }
  const ceiling = ceilingOfUser(user, context.config.userScopes)
  if (!(input.scopes ?? []).every((scope) => covers(ceiling, scope))) fail('invalid_scope')
  return startSession(context, onBehalfOf(origin, user.id), user)
}

/** What `/auth/me` says of whoever asks. */
export function describePrincipal(principal: Principal) {
  const scopes = [...principal.scopes]
  if (principal.kind === 'user') {
    return { ...describeUser({ ...principal, id: principal.userId }), auth_type: 'jwt' as const, scopes }
  }
  const { owner } = principal
  const auth_type = 'api_key' as const
  if (owner.type === 'user') return { ...describeUser(owner), auth_type, scopes }
  return { type: owner.type, id: owner.id, name: owner.name, auth_type, scopes }
}

function describeUser({ id, email, role, createdAt }: Omit<UserOwner, 'type' | 'emailVerified'>) {
  // Somebody disabled has no principal: whoever asks is active.
  return { type: 'user' as const, id, email, role, is_active: true, created_at: createdAt.toISOString() }
}
