import type { Context } from '../context.ts'
import type { Principal } from '../features/verify/principal.ts'
import { recallCredential, verifyCredential } from '../features/verify/service.ts'
import { type ErrorCode, fail } from '../lib/errors.ts'
import type { Limits } from './rate-limit.ts'
import type { RequestState } from './request-state.ts'

/**
 * The principal of the request's one credential; where it is known, at once. Failures are counted by address; a good
 * credential never is.
 * @throws Problem missing_credential, invalid_token, ambiguous_credentials; rate_limited after too many failures
 */
export function authenticate(
  context: Context,
  limits: Limits,
  request: Request,
  state: RequestState,
): Principal | Promise<Principal> {
  const token = readCredential(request)
  if (token === null) return refuse(limits, state, 'missing_credential')
  return recallCredential(context, token) ?? verify(context, limits, state, token)
}

async function verify(
  context: Context,
  limits: Limits,
  state: RequestState,
  token: string,
): Promise<Principal> {
  const verdict = await verifyCredential(context, token)
  if (verdict.kind !== 'refused') return verdict
  if (verdict.code !== 'NOT_FOUND' && verdict.keyId !== undefined)
    context.usage.count(verdict.keyId, verdict.code)
  return refuse(limits, state, 'invalid_token')
}

async function refuse(limits: Limits, state: RequestState, code: ErrorCode): Promise<never> {
  await limits.consume('unknown_credential', state)
  return fail(code)
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
  if (apiKey !== null) return apiKey.startsWith('eyJ') ? '' : apiKey
  return tokenOf(authorization ?? '')
}

/** Of a bearer's header; nearly every client writes the scheme like this, and the expression costs more than the rest. */
function tokenOf(authorization: string): string {
  const isPlain = authorization.startsWith('Bearer ') && !authorization.includes(' ', 7)
  return isPlain ? authorization.slice(7) : (BEARER.exec(authorization)?.[1] ?? '')
}
