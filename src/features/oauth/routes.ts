import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { RateLimitName } from '../../config.ts'
import type { Context } from '../../context.ts'
import type { Guard } from '../../http/auth.ts'
import { readForm } from '../../http/body.ts'
import { readCredential } from '../../http/credential.ts'
import type { Limits } from '../../http/rate-limit.ts'
import { originOf, type RequestState } from '../../http/request-state.ts'
import { fail, Problem } from '../../lib/errors.ts'
import { covers, INTROSPECT } from '../../lib/scopes.ts'
import type { Principal } from '../verify/principal.ts'
import { verifyCredential } from '../verify/service.ts'
import { authenticateClient, type ClientForm, readClient } from './client.ts'
import { introspectToken, revokeToken } from './introspection.ts'
import { Introspection, OAuthTokens, TokenForm, TokenOfForm } from './model.ts'
import { grantTokens } from './service.ts'

/** The limit that each grant shares with its twin under /auth. */
const POLICY_OF_GRANT: Record<string, RateLimitName> = { password: 'login', refresh_token: 'refresh' }

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
  const clientOf = (request: Request, form: ClientForm) =>
    readClient(request.headers.get('authorization'), form)

  /** Who introspects: a bearer credential, or a client by its own; either needs the scope. */
  const requireIntrospector = async (
    request: Request,
    form: ClientForm,
    state: RequestState,
  ): Promise<void> => {
    const client = clientOf(request, form)
    const principal = client
      ? await authenticateClient(context, client)
      : await authenticateBearer(request, state)
    state.principal = principal
    if (!covers(principal.grants, INTROSPECT)) {
      await limits.consume('other', state)
      const challenge = `Bearer realm="latchkey", error="insufficient_scope", scope="${INTROSPECT}"`
      fail('insufficient_scope', {
        headers: { 'WWW-Authenticate': challenge },
        audit: { missing_scopes: [INTROSPECT] },
      })
    }
  }
  const authenticateBearer = async (request: Request, state: RequestState): Promise<Principal> => {
    const token = readCredential(request)
    const verdict = token === null ? null : await verifyCredential(context, token)
    if (verdict && verdict.kind !== 'refused') return verdict
    await limits.consume('unknown_credential', state)
    return fail('invalid_client', {
      headers: { 'WWW-Authenticate': 'Bearer realm="latchkey", Basic realm="latchkey"' },
    })
  }

  return new Elysia({ prefix: '/oauth', tags: ['OAuth'] })
    .use(guard)
    .post(
      '/token',
      async ({ body, request, state }) => {
        const policy = POLICY_OF_GRANT[body.grant_type]
        if (policy) await limits.consume(policy, state)
        const client = () => clientOf(request, body)
        return countingGuesses(state, async () => grantTokens(context, originOf(state), body, client()))
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
            'unsupported_grant_type',
            'invalid_scope',
            'too_many_attempts',
          ],
        },
      },
    )
    .post(
      '/introspect',
      async ({ body, request, state }) => {
        await countingGuesses(state, () => requireIntrospector(request, body, state))
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
          'x-errors': ['invalid_client', 'insufficient_scope'],
        },
      },
    )
    .post(
      '/revoke',
      async ({ body, request, state }) => {
        const client = clientOf(request, body)
        if (client) await countingGuesses(state, () => authenticateClient(context, client))
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
          'x-errors': ['invalid_client', 'unsupported_token_type'],
        },
      },
    )
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
