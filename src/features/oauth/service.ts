import type { Context } from '../../context.ts'
import { fail } from '../../lib/errors.ts'
import { parseScopes } from '../../lib/scopes.ts'
import type { Origin } from '../audit/service.ts'
import { logIn } from '../auth/service.ts'
import { type Grant, refreshSession } from '../sessions/service.ts'

/** The parameters of a token request that are understood (RFC 6749). */
export type TokenRequest = {
  grant_type: string
  username?: string
  password?: string
  refresh_token?: string
  scope?: string
  client_id?: string
  client_secret?: string
}

/**
 * RFC 6749, section 3.2, for first-party clients: the same logins and refreshes as under /auth, in the standard's words.
 * @throws Problem unsupported_grant_type, invalid_request, invalid_client, invalid_scope, and what logging in and
 * refreshing throw
 */
export async function grantTokens(context: Context, origin: Origin, request: TokenRequest) {
  // Swagger UI sends an empty client id and secret: no client.
  if (request.client_id || request.client_secret) fail('invalid_client')
  const { tokens, scopes } = await chooseGrant(context, origin, request)
  return { ...tokens, scope: scopes.join(' ') }
}

function chooseGrant(context: Context, origin: Origin, request: TokenRequest): Promise<Grant> {
  switch (request.grant_type) {
    case 'password': {
      if (!context.config.oauthPasswordGrant) fail('unsupported_grant_type')
      const scopes = parseScopes(request.scope)
      if ('fault' in scopes) fail('invalid_scope', { detail: scopes.fault })
      const email = requireParameter(request, 'username')
      return logIn(context, origin, { email, password: requireParameter(request, 'password'), scopes })
    }
    case 'refresh_token':
      return refreshSession(context, origin, requireParameter(request, 'refresh_token'))
    default:
      return fail('unsupported_grant_type')
  }
}

function requireParameter(request: TokenRequest, name: 'username' | 'password' | 'refresh_token'): string {
  return request[name] || fail('invalid_request', { detail: `The parameter ${name} is missing.` })
}
