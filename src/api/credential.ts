import type { Context } from '../core/context.ts'
import type { Principal, UserPrincipal } from '../core/principal.ts'
import { recallAgain, recallCredential, verifyCredential } from '../core/verify/verify-credential.ts'
import { fail, Problem } from '../lib/errors.ts'
import { isAccessToken } from '../lib/tokens.ts'
import type { RequestState } from './request-state.ts'

/**
 * Finds out whose credential a request shows, before its route is entered: at once where it is known, so that its way
 * through the route waits for nothing, else by asking the database, if it goes to a route that needs one. What comes out
 * is left in the state; `requireShown` makes an answer of it.
 */
export function recogniseCredential(
  context: Context,
  isGuarded: (request: Request) => boolean,
  state: RequestState,
): Promise<void> | undefined {
  const token = readShown(state)
  if (token === null) return
  state.shown = recallCredential(context, token)
  if (state.shown !== null || !isGuarded(state.request)) return
  return verify(context, state, token)
}

/**
 * The principal of a request once its body is there. A body may be held back: whoever lost the credential, the role or a
 * scope meanwhile acts without it. Costs one look-up in memory where nothing changed.
 * @throws Problem invalid_token, or why the credential could not be verified
 */
export async function recogniseAgain(context: Context, state: RequestState): Promise<Principal> {
  const token = readShown(state)
  const known = token === null ? null : recallAgain(context, token)
  if (known !== null) return known
  state.shown = null
  if (token !== null) await verify(context, state, token)
  return requireShown(state)
}

/**
 * The user whose access token a request carries, on a route that takes one and does not need it; null where there is none.
 * @throws Problem invalid_token for a credential that is dead, wrong_credential_kind for a key
 */
export async function findUser(context: Context, state: RequestState): Promise<UserPrincipal | null> {
  const token = readCredential(state.request)
  if (token === null) return null
  if (state.shown === null) await verify(context, state, token)
  const principal = requireShown(state)
  if (principal.kind !== 'user') fail('wrong_credential_kind')
  state.principal = principal
  return principal
}

function readShown(state: RequestState): string | null {
  try {
    return readCredential(state.request)
  } catch (problem) {
    state.refusal = problem
    return null
  }
}

async function verify(context: Context, state: RequestState, token: string): Promise<void> {
  try {
    const verdict = await verifyCredential(context, token)
    if (verdict.kind !== 'refused') {
      state.shown = verdict
      return
    }
    if (verdict.code !== 'NOT_FOUND' && verdict.keyId !== undefined)
      context.usage.count(verdict.keyId, verdict.code)
    state.refusal = new Problem('invalid_token')
  } catch (failure) {
    state.refusal = failure
  }
}

/**
 * The principal of the request's one credential.
 * @throws Problem missing_credential, invalid_token, ambiguous_credentials, or why it could not be verified
 */
export function requireShown(state: RequestState): Principal {
  if (state.shown === null) throw state.refusal ?? new Problem('missing_credential')
  return state.shown
}

const BEARER = /^bearer +(\S+) *$/i

/**
 * The credential that a request carries: null for none, an unusable one as an empty string.
 * @throws Problem ambiguous_credentials for two, or a repeated header (which arrives joined by a comma)
 */
export function readCredential(request: Request): string | null {
  const authorization = request.headers.get('authorization')
  const apiKey = request.headers.get('x-api-key')
  if (authorization === null && apiKey === null) return null
  if (authorization !== null && apiKey !== null) fail('ambiguous_credentials')
  if ((authorization ?? apiKey)?.includes(',')) fail('ambiguous_credentials')
  if (apiKey !== null) return isAccessToken(apiKey) ? '' : apiKey
  return tokenOf(authorization ?? '')
}

/** Of a bearer's header; nearly every client writes the scheme like this, and the expression costs more than the rest. */
function tokenOf(authorization: string): string {
  const isPlain = authorization.startsWith('Bearer ') && !authorization.includes(' ', 7)
  return isPlain ? authorization.slice(7) : (BEARER.exec(authorization)?.[1] ?? '')
}
