import { fail } from '../../lib/errors.ts'
import { type Origin, onBehalfOf } from '../audit/audit.ts'
import { type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { sendVerification } from '../email/send-verification.ts'
import { listMethods } from '../second-factors/methods.ts'
import { makeStepToken, openPendingStep, type WantedSession } from '../second-factors/pending-steps.ts'
import { noticeSignIn } from '../sessions/notice-sign-in.ts'
import { type Grant, issueTokens, type OpenedSession, openSession } from '../sessions/sessions.ts'
import type { UserRow } from '../users/accounts.ts'

/** A user whose password has just been checked. */
export type CheckedUser = Pick<UserRow, 'id' | 'passwordChangedAt'>

/** A complete log-in. The caller makes its credential: `grantOf`, or a cookie. */
export type SignIn = {
  user: Pick<UserRow, 'id' | 'role' | 'scopes' | 'hasSecondFactor'>
  session: OpenedSession
  /** The scopes to which the session is limited; null: all of the user's. */
  scopes: readonly string[] | null
}

/** The first pair of tokens of an API session. */
export const grantOf = (context: Context, { user, session, scopes }: SignIn): Promise<Grant> =>
  issueTokens(context, user, session, session, scopes)

/**
 * Signs a person in after their password was checked. If they have a second factor, begins the second step instead.
 * @throws Problem mfa_required with `mfa_token` and `methods`; invalid_login where the user was disabled or chose
 * another password since it was checked; what `openSignIn` throws
 */
export async function signIn(
  context: Context,
  origin: Origin,
  user: CheckedUser,
  wanted: WantedSession,
): Promise<SignIn> {
  const token = makeStepToken()
  const by = onBehalfOf(origin, user.id)
  const locks: Lock[] = [['users', user.id, 'no key update']]
  const outcome = await recordChange(context, by, null, locks, async (change) => {
    const now = change.held.users.get(user.id)
    if (!now?.isActive || now.passwordChangedAt?.getTime() !== user.passwordChangedAt?.getTime()) {
      fail('invalid_login')
    }
    // Asked of the locked row: a factor may have been added since the password was checked.
    if (!now.hasSecondFactor) return openSignIn(context, change, by, now, wanted, ['pwd'])
    await openPendingStep(change, now.id, token, wanted)
    return { methods: await listMethods(context, change.tx, now.id) }
  })
  if ('methods' in outcome) fail('mfa_required', { members: { mfa_token: token, methods: outcome.methods } })
  return requireVerified(outcome)
}

/** Everything that was presented is right, but the user has to verify their address first. The link is mailed. */
type Unverified = { isUnverified: true }

/**
 * A log-in that is complete.
 * @throws Problem email_not_verified
 */
export function requireVerified(outcome: SignIn | Unverified): SignIn {
  if ('isUnverified' in outcome) fail('email_not_verified')
  return outcome
}

/**
 * The last step of every log-in, after everything that the user had to prove was right. Part of a change that has locked
 * the user's row. With EMAIL_VERIFICATION=required an address that is not verified gets its link again; the caller commits
 * that, and refuses the log-in by `requireVerified`.
 */
export async function openSignIn(
  context: Context,
  change: Change<null>,
  origin: Origin,
  user: UserRow,
  wanted: WantedSession,
  amr: readonly string[],
): Promise<SignIn | Unverified> {
  if (context.config.emailVerification === 'required' && !user.emailVerified) {
    await sendVerification(context, change, user, origin)
    return { isUnverified: true }
  }
  await noticeSignIn(context, change, origin, user)
  const session = await openSession(context, change, origin, user, { ...wanted, amr })
  return { user, session, scopes: wanted.scopes }
}
