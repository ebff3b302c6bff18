import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { RateLimitName } from '../../config/rate-limits.ts'
import type { Context } from '../../core/context.ts'
import { authenticateClient, readClient } from '../../core/oauth/client.ts'
import { grantTokens, recordRefusedGrant } from '../../core/oauth/grants.ts'
import { introspectToken, revokeToken } from '../../core/oauth/introspection.ts'
import {
  type ClientForm,
  Introspection,
  OAuthTokens,
  TokenForm,
  TokenOfForm,
} from '../../core/oauth/model.ts'
import type { KeyPrincipal, Principal } from '../../core/principal.ts'
import { verifyCredential } from '../../core/verify/verify-credential.ts'
import { BASIC_CHALLENGE, BEARER_CHALLENGE, fail, Problem } from '../../lib/errors.ts'
import { INTROSPECT } from '../../lib/scopes.ts'
import type { Guard } from '../auth.ts'
import { permit } from '../auth.ts'
import { readForm } from '../body.ts'
import { readCredential } from '../credential.ts'
import type { Limits } from '../rate-limit.ts'
import { originOf, type RequestState } from '../request-state.ts'

/** The limit that each grant shares with its twin under /auth. */
const POLICY_OF_GRANT = new Map<string, RateLimitName>([
  ['password', 'login'],
  ['refresh_token', 'refresh'],
])

type Seen = { request: Request; state: RequestState }

/** The standard doors (RFC 6749, 7662, 7009), with the standards' own errors. */
export const oauthRoutes = (context: Context, guard: Guard, limits: Limits) => {
  /** A wrong client is a guess like any other: counted, and never a reason to refuse a right one. */
  const countingGuesses = async <T>(state: RequestState, work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      if (error instanceof Problem && error.problem === 'invalid_client') {
        await limits.consume('unknown_credential', state)
      }
      throw error
    }
  }
  /** A client that gets no token of its own leaves an audit row, whatever the reason. */
  const auditingRefusal = async <T>(state: RequestState, grant: () => Promise<T>): Promise<T> => {
    try {
      return await grant()
    } catch (error) {
      if (error instanceof Problem && error.problem !== 'unavailable')
        await recordRefusedGrant(context, originOf(state), error)
      throw error
    }
  }
  /** The client that a request shows, as the key that it is; null where it shows none. */
  const admitClient = async (seen: Seen, form: ClientForm): Promise<KeyPrincipal | null> => {
    const shown = readClient(seen.request.headers.get('authorization'), form)
    if (shown === null) return null
    const key = await authenticateClient(context, shown)
    await admit(seen.state, key, [])
    return key
  }
  /** Who introspects: a bearer credential, or a client by its own; either needs the scope. */
  const admitIntrospector = async ({ request, state }: Seen, form: ClientForm): Promise<void> => {
    const client = readClient(request.headers.get('authorization'), form)
    const principal = client
      ? await authenticateClient(context, client)
      : await authenticateBearer(context, request)
    await admit(state, principal, [INTROSPECT])
  }
  /** A key is bound to its addresses, scopes and rate, here as everywhere. */
  const admit = async (state: RequestState, principal: Principal, scopes: readonly string[]) => {
    state.principal = principal
    const anyone = { allows: () => true, refusal: () => 'forbidden' as const, whole: false, enrolling: false }
    await permit(context, state, principal, { ...anyone, userScopes: scopes, keyScopes: scopes })
  }

  return new Elysia({ prefix: '/oauth', tags: ['OAuth'] })
    .use(guard)
    .post(
      '/token',
      async ({ body, request, state }) => {
        const policy = POLICY_OF_GRANT.get(body.grant_type)
        if (policy) await limits.consume(policy, state)
        const { grant_type, username, password, refresh_token, scope } = body
        const asked = { grant_type, username, password, refresh_token, scope }
        const grant = async () => {
          const client = await admitClient({ request, state }, body)
          return grantTokens(context, originOf(state), asked, client)
        }
        return countingGuesses(state, () =>
          grant_type === 'client_credentials' ? auditingRefusal(state, grant) : grant(),
        )
      },
      {
        parse: ({ request }) => readForm(request),
        body: TokenForm,
        response: { 200: OAuthTokens },
        detail: {
          operationId: 'getToken',
          summary: 'The token endpoint (RFC 6749)',
          description:
            'Grants `client_credentials`, `refresh_token` and `password`. Clients are service accounts.',
          'x-errors': [
            'invalid_login',
            'invalid_client',
            'ip_not_allowed',
            'unsupported_grant_type',
            'invalid_scope',
            'mfa_required',
            'email_not_verified',
            'too_many_attempts',
          ],
        },
      },
    )
    .post(
      '/introspect',
      async ({ body, request, state }) => {
        await countingGuesses(state, () => admitIntrospector({ request, state }, body))
        return introspectToken(context, body.token)
      },
      {
        parse: ({ request }) => readForm(request),
        body: TokenOfForm,
        response: { 200: Introspection },
        detail: {
          operationId: 'introspectToken',
          summary: 'What a token is, now (RFC 7662)',
          description: `Needs the scope \`${INTROSPECT}\`, by a bearer credential or by a client's own.`,
          'x-errors': ['invalid_client', 'ip_not_allowed', 'insufficient_scope'],
        },
      },
    )
    .post(
      '/revoke',
      async ({ body, request, state }) => {
        await countingGuesses(state, () => admitClient({ request, state }, body))
        await revokeToken(context, originOf(state), body.token)
        return {}
      },
      {
        parse: ({ request }) => readForm(request),
        body: TokenOfForm,
        response: { 200: Type.Object({}, { $id: 'Revoked' }) },
        detail: {
          operationId: 'revokeToken',
          summary: 'End what stands on a token (RFC 7009); holding it is the authority',
          'x-errors': ['invalid_client', 'ip_not_allowed'],
        },
      },
    )
}

/** RFC 7662, section 2.1, by RFC 6750. */
async function authenticateBearer(context: Context, request: Request): Promise<Principal> {
  const token = readCredential(request)
  const verdict = token === null ? null : await verifyCredential(context, token)
  if (verdict && verdict.kind !== 'refused') return verdict
  const bearer = `${BEARER_CHALLENGE}${token === null ? '' : ', error="invalid_token"'}`
  return fail('invalid_client', { headers: { 'WWW-Authenticate': `${bearer}, ${BASIC_CHALLENGE}` } })
}

const Metadata = Type.Object(
  { issuer: Type.String() },
  { $id: 'AuthorizationServer', additionalProperties: true },
)

/** RFC 8414: where the standard doors are. */
export const metadataRoute = ({ config }: Context) =>
  new Elysia({ tags: ['OAuth'] }).get(
    '/.well-known/oauth-authorization-server',
    ({ set }) => {
      set.headers['cache-control'] = 'public, max-age=300'
      const issuer = config.publicUrl
      const methods = ['client_secret_basic', 'client_secret_post']
      return {
        issuer,
        token_endpoint: `${issuer}/oauth/token`,
        introspection_endpoint: `${issuer}/oauth/introspect`,
        revocation_endpoint: `${issuer}/oauth/revoke`,
        jwks_uri: `${issuer}/.well-known/jwks.json`,
        response_types_supported: [],
        grant_types_supported: [
          'client_credentials',
          'refresh_token',
          ...(config.oauthPasswordGrant ? ['password'] : []),
        ],
        token_endpoint_auth_methods_supported: [...methods, 'none'],
        introspection_endpoint_auth_methods_supported: methods,
        revocation_endpoint_auth_methods_supported: [...methods, 'none'],
        ...(config.docs ? { service_documentation: `${issuer}/docs` } : {}),
      }
    },
    {
      response: { 200: Metadata },
      detail: { operationId: 'getAuthorizationServer', summary: 'Where the standard doors are (RFC 8414)' },
    },
  )
