import type { Config } from '../config/config.ts'
import type { Context } from '../core/context.ts'
import type { Principal, UserPrincipal } from '../core/principal.ts'
import { recallAgain, recallCredential, verifyCredential } from '../core/verify/verify-credential.ts'
import { fail, Problem } from '../lib/errors.ts'
import { isAccessToken } from '../lib/tokens.ts'
import { pathOf } from './elysia.ts'
import { isOAuthPath } from './oauth-path.ts'
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
  const token = readInto(context, state)
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
  const token = readCredential(context.config, request) ?? fail('missing_credential')
  return recallAgain(context, token) ?? principalOf(await lookUp(context, token, address))
}

/**
 * The user whose access token a request carries, on a route that takes one and does not need it.
 * @returns null where the request carries no credential
 * @throws Problem invalid_token for a credential that is not valid, wrong_credential_kind for a key
 */
export async function findUser(context: Context, state: RequestState): Promise<UserPrincipal | null> {
  const token = readCredential(context.config, state.request)
  if (token === null) return null
  if (state.credential.kind === 'none') state.credential = await lookUp(context, token, state.address)
  const principal = requirePrincipal(state)
  if (principal.kind !== 'user') fail('wrong_credential_kind')
  state.credential = { kind: 'accepted', principal }
  return principal
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

/**
 * The presented credential; null where the request presents no credential. Where it cannot be read, the state keeps the
 * reason.
 */
function readInto({ config }: Context, state: RequestState): string | null {
  try {
    return readCredential(config, state.request)
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

/** The settings that name further ways to present a key. */
type KeyNames = Pick<Config, 'apiKeyHeaders' | 'apiKeySchemes'>

/**
 * The credential that a request presents, unverified: null for none, an empty string for one that cannot be valid.
 * @throws Problem ambiguous_credentials for two, or for a repeated header, which Bun joins by a comma: another reader of
 * the same request might take the other one
 */
export function readCredential(names: KeyNames, request: Request): string | null {
  const authorization = request.headers.get('authorization')
  let apiKey = request.headers.get('x-api-key')
  for (const name of names.apiKeyHeaders) {
    const found = request.headers.get(name)
    if (found !== null && apiKey !== null) fail('ambiguous_credentials')
    apiKey ??= found
  }
  if (authorization === null && apiKey === null) return null
  if (authorization !== null && apiKey !== null) fail('ambiguous_credentials')
  if ((authorization ?? apiKey)?.includes(',')) fail('ambiguous_credentials')
  if (apiKey !== null) return isAccessToken(apiKey) ? '' : apiKey
  return tokenOf(names, authorization ?? '', request)
}

/** Bearer is the one scheme that carries access tokens too. */
const WITH_TOKEN = /^([a-z0-9-]+) +(\S+) *$/i

/** The token of an Authorization header. Nearly every client writes `Bearer ` alone, which needs no regular expression. */
function tokenOf(names: KeyNames, authorization: string, request: Request): string {
  const isPlain = authorization.startsWith('Bearer ') && !authorization.includes(' ', 7)
  if (isPlain) return authorization.slice(7)
  const [, scheme = '', token = ''] = WITH_TOKEN.exec(authorization) ?? []
  const name = scheme.toLowerCase()
  if (name === 'bearer') return token
  const key = name === 'basic' ? keyOfBasic(token, request) : names.apiKeySchemes.includes(name) ? token : ''
  return isAccessToken(key) ? '' : key
}

const MAX_BASIC_LENGTH = 512
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/
const utf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * The key that is the user name of HTTP Basic, whose password is empty: `curl -u sk_…:`. Below /oauth/ Basic authenticates
 * a client alone (RFC 6749, section 2.3.1).
 */
function keyOfBasic(encoded: string, request: Request): string {
  if (encoded.length > MAX_BASIC_LENGTH || !BASE64.test(encoded) || isOAuthPath(pathOf(request))) return ''
  try {
    const text = utf8.decode(Buffer.from(encoded, 'base64'))
    // A colon at the end, and no other, is an empty password.
    return text.indexOf(':') === text.length - 1 ? text.slice(0, -1) : ''
  } catch {
    return ''
  }
}
