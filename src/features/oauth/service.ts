import type { Context } from '../../context.ts'
import { fail } from '../../lib/errors.ts'
import { covers, parseScopes } from '../../lib/scopes.ts'
import { MINUTE_MS, SECOND_MS } from '../../lib/time.ts'
import type { Origin } from '../audit/service.ts'
import { logIn } from '../auth/service.ts'
import { refreshSession } from '../sessions/service.ts'
import { authenticateClient, type ClientCredentials, failClient } from './client.ts'

/** The parameters of a token request that are understood (RFC 6749). */
export type TokenRequest = {
  grant_type: string
  username?: string
  password?: string
  refresh_token?: string
  scope?: string
}

/** RFC 6749, section 5.1. */
export type TokenAnswer = {
  access_token: string
  token_type: 'bearer'
  expires_in: number
  refresh_token?: string
  scope: string
}

/**
 * RFC 6749, section 3.2: the same logins and refreshes as under /auth, and access tokens for service accounts.
 * @throws Problem unsupported_grant_type, invalid_request, invalid_client, invalid_scope, and what logging in and
 * refreshing throw
 */
export async function grantTokens(
  context: Context,
  origin: Origin,
  request: TokenRequest,
  client: ClientCredentials | null,
): Promise<TokenAnswer> {
  // Users' grants are for first-party clients, which are nobody in particular: whoever says who it is must be it.
  if (request.grant_type === 'client_credentials') return grantClientCredentials(context, request, client)
  if (client) await authenticateClient(context, client)
  const { tokens, scopes } = await grantUserTokens(context, origin, request)
  return { ...tokens, scope: scopes.join(' ') }
}

function grantUserTokens(context: Context, origin: Origin, request: TokenRequest) {
  switch (request.grant_type) {
    case 'password': {
      if (!context.config.oauthPasswordGrant) fail('unsupported_grant_type')
      const email = requireParameter(request, 'username')
      const password = requireParameter(request, 'password')
      return logIn(context, origin, { email, password, scopes: readScopes(request.scope) })
    }
    case 'refresh_token':
      return refreshSession(context, origin, requireParameter(request, 'refresh_token'))
    default:
      return fail('unsupported_grant_type')
  }
}

/** RFC 6749, section 4.4: an access token that is, everywhere, the principal of the key that was shown. */
async function grantClientCredentials(
  context: Context,
  request: TokenRequest,
  client: ClientCredentials | null,
): Promise<TokenAnswer> {
  if (!client) return failClient(false)
  const key = await authenticateClient(context, client)
  const asked = readScopes(request.scope)
  if (!asked.every((scope) => covers(key.grants, scope))) fail('invalid_scope')
  const scopes = asked.length === 0 ? key.scopes : asked
  const now = context.clock()
  const lastsMs = context.config.accessTokenExpireMinutes * MINUTE_MS
  const expiresAtMs = Math.min(now + lastsMs, key.secretExpiresAt?.getTime() ?? Infinity)
  const access = await context.signing.sign({
    subject: key.owner.id,
    sessionId: key.secretId,
    role: null,
    scopes,
    expiresAtMs,
  })
  return {
    access_token: access,
    token_type: 'bearer',
    expires_in: Math.max(0, Math.floor((expiresAtMs - now) / SECOND_MS)),
    scope: scopes.join(' '),
  }
}

function readScopes(scope: string | undefined): string[] {
  const scopes = parseScopes(scope)
  return 'fault' in scopes ? fail('invalid_scope', { detail: scopes.fault }) : scopes
}

function requireParameter(request: TokenRequest, name: 'username' | 'password' | 'refresh_token'): string {
  return request[name] || fail('invalid_request', { detail: `The parameter ${name} is missing.` })
}
