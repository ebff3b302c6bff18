import { type Origin, onBehalfOf } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import {
  type CheckedUser,
  type Grant,
  issueTokens,
  type NewSession,
  type OpenedSession,
  startSession,
} from '../sessions/sessions.ts'

/** What a log-in is to become. */
export type WantedSession = Omit<NewSession, 'amr'>

/** A log-in that is complete. Its credential is the caller's to make: `grantOf`, or a cookie. */
export type SignIn = {
  user: CheckedUser
  session: OpenedSession
  /** All that the session may do; null: it is all of the user. */
  scopes: readonly string[] | null
}

/** The first pair of tokens of an API session. */
export const grantOf = (context: Context, { user, session, scopes }: SignIn): Promise<Grant> =>
  issueTokens(context, user, session, session, scopes)

/**
 * Signs a person in whose password was right.
 * @throws Problem invalid_login where the user was disabled or chose another password since it was checked
 */
export async function signIn(
  context: Context,
  origin: Origin,
  user: CheckedUser,
  wanted: WantedSession,
): Promise<SignIn> {
  const by = onBehalfOf(origin, user.id)
  const session = await startSession(context, by, user, { ...wanted, amr: ['pwd'] })
  return { user, session, scopes: wanted.scopes }
}
