import type { Context } from '../core/context.ts'
import type { Principal } from '../core/principal.ts'
import { recallAgain, recallCredential, verifyCredential } from '../core/verify/verify-credential.ts'
import { fail, Problem } from '../lib/errors.ts'
import { isAccessToken } from '../lib/tokens.ts'
import type { Credential, RequestState } from './request-state.ts'

/**
 * Verifies the credential of a request before the request enters its route, and leaves the result in the state
 * (docs/decisions/0008). A credential in the cache is known at once, so that its request waits for nothing. Any other is
 * looked up in the database, and only for a route that needs one: other routes stay usable while the database is away.
 * Throws nothing: a route that needs a credential gets the reason from `requirePrincipal`.
 * @returns a promise only where the database has to be asked
 */
export function recogniseCredential(
  context: Context,
  isGuarded: (request: Request) => boolean,
  state: RequestState,
): Promise<void> | undefined {
  const token = readInto(state)
  if (token === null) return
  const principal = recallCredential(context, token)
  if (principal !== null) {
    state.credential = { kind: 'verified', principal }
    return
  }
  if (!isGuarded(state.request)) return
  return lookUp(context, token, state.address).then((credential) => {
    state.credential = credential
  })
}

/**
 * The principal of a request once its body is there. A client may hold its body back, and lose the credential, a role or
 * a scope meanwhile; without this check it would act with what it has lost. Costs one look-up in memory where nothing
 * changed.
 * @throws Problem invalid_token, or the reason why the credential could not be verified
 */
export async function recogniseAgain(
  context: Context,
  { request, address }: RequestState,
): Promise<Principal> {
  const token = readCredential(request) ?? fail('missing_credential')
  return recallAgain(context, token) ?? principalOf(await lookUp(context, token, address))
}

/**
 * The principal of the request's one valid credential.
 * @throws Problem missing_credential, invalid_token, ambiguous_credentials, or the reason why the credential could not be
 * verified
 */
export function requirePrincipal({ credential }: RequestState): Principal {
  return principalOf(credential)
}

function principalOf(credential: Credential): Principal {
  if (credential.kind === 'none') fail('missing_credential')
  if (credential.kind === 'refused') throw credential.reason
  return credential.principal
}

/** The presented credential; null where there is none. Of one that cannot be read, the state keeps the reason. */
function readInto(state: RequestState): string | null {
  try {
    return readCredential(state.request)
  } catch (reason) {
    state.credential = { kind: 'refused', reason }
    return null
  }
}

async function lookUp(context: Context, token: string, address: string | null): Promise<Credential> {
  try {
    const verdict = await verifyCredential(context, token)
    if (verdict.kind !== 'refused') return { kind: 'verified', principal: verdict }
    if (verdict.code !== 'NOT_FOUND' && verdict.keyId !== undefined)
      context.usage.refuse(verdict.keyId, verdict.code, address)
    return { kind: 'refused', reason: new Problem('invalid_token') }
  } catch (reason) {
    return { kind: 'refused', reason }
  }
}

const BEARER = /^bearer +(\S+) *$/i

/**
 * The credential that a request presents, unverified: null for none, an empty string for one that cannot be valid.
 * @throws Problem ambiguous_credentials for two, or for a repeated header, which Bun joins by a comma: another reader of
 * the same request might take the other one
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

/** The token of an Authorization header. Nearly every client writes `Bearer ` alone, which needs no regular expression. */
function tokenOf(authorization: string): string {
  const isPlain = authorization.startsWith('Bearer ') && !authorization.includes(' ', 7)
  return isPlain ? authorization.slice(7) : (BEARER.exec(authorization)?.[1] ?? '')
}
