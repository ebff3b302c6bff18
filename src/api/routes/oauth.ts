import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { RateLimitName } from '../../config/rate-limits.ts'
import { authenticateApp } from '../../core/authorization/client-authentication.ts'
import { DEVICE_GRANT } from '../../core/authorization/device.ts'
import { ADMINS_ONLY } from '../../core/change/power.ts'
import { RegisteredApp, Registration } from '../../core/client-registration/model.ts'
import { registerApp } from '../../core/client-registration/register.ts'
import type { Context } from '../../core/context.ts'
import { isAuthorizationServer } from '../../core/oauth/authorization-server.ts'
import { authenticateClient, readClient } from '../../core/oauth/client.ts'
import { grantTokens, recordRefusedGrant, type TokenClient } from '../../core/oauth/grants.ts'
import { introspectToken, revokeToken } from '../../core/oauth/introspection.ts'
import {
  type ClientForm,
  Introspection,
  OAuthTokens,
  TokenForm,
  TokenOfForm,
} from '../../core/oauth/model.ts'
import { type AdminPrincipal, isAdmin, type Principal } from '../../core/principal.ts'
import { exchangeKey, readSubject, TOKEN_EXCHANGE } from '../../core/token-exchange/exchange.ts'
import { verifyCredential } from '../../core/verify/verify-credential.ts'
import { BASIC_CHALLENGE, BEARER_CHALLENGE, type ErrorCode, fail, Problem } from '../../lib/errors.ts'
import { covers, INTROSPECT, REGION } from '../../lib/scopes.ts'
import { isRefreshToken } from '../../lib/tokens.ts'
import type { Guard } from '../auth.ts'
import { permit } from '../auth.ts'
import { readForm, readJson } from '../body.ts'
import { findUser, readCredential } from '../credential.ts'
import { describe } from '../openapi/describe.ts'
import type { Limits } from '../rate-limit.ts'
import { originOf, type RequestState } from '../request-state.ts'

/** The rate limit that a grant shares with the route under /auth that does the same. */
const LIMIT_OF_GRANT = new Map<string, RateLimitName>([
  ['password', 'login'],
  ['refresh_token', 'refresh'],
])

/** The grants by a code. */
const TAKES_CODE = ['authorization_code', DEVICE_GRANT]

/**
 * How a client authenticates, in words: OpenAPI has no security scheme for a client that may send its secret in the body.
 */
const CLIENTS =
  'A client is a service account: its id and one of its keys, by HTTP Basic or as `client_id` and `client_secret`.'

type Seen = { request: Request; state: RequestState }

/** The OAuth endpoints (RFC 6749, 7662, 7009), with the errors of those standards. */
export const oauthRoutes = (context: Context, guard: Guard, limits: Limits) => {
  const countingGuesses = countGuesses(limits)
  /** Audits every refused `client_credentials` grant, whatever the reason. */
  const auditingRefusal = async <T>(state: RequestState, grant: () => Promise<T>): Promise<T> => {
    try {
      return await grant()
    } catch (error) {
      if (error instanceof Problem && error.problem !== 'unavailable')
        await recordRefusedGrant(context, originOf(state), error)
      throw error
    }
  }
  /** The client that asks: an app, or the key that is a service account's secret; null where the request names neither. */
  const acceptClient = async (seen: Seen, form: ClientForm): Promise<TokenClient> => {
    const client = readClient(seen.request.headers.get('authorization'), form)
    const app = await authenticateApp(context, client, form)
    if (app) return { kind: 'app', app }
    if (client === null) return null
    const key = await authenticateClient(context, client)
    await accept(context, seen.state, key, [])
    return { kind: 'key', key }
  }
  /**
   * Exchanges a key. A failure counts as a guess, since a key is presented outside of the headers. The key's use is bound to
   * its addresses and its rate, as on every other route.
   */
  const grantExchange = ({ request, state }: Seen, body: TokenForm) =>
    auditingRefusal(state, async () => {
      if (readClient(request.headers.get('authorization'), body) !== null)
        fail('invalid_request', { detail: 'The key is the credential: authenticate no client.' })
      try {
        const key = await readSubject(context, body)
        await accept(context, state, key, [])
        return await exchangeKey(context, originOf(state), body, key)
      } catch (error) {
        if (error instanceof Problem && error.extra.audit?.reason === 'invalid_key')
          await limits.consume('unknown_credential', state)
        throw error
      }
    })
  /** Who may register apps now: an admin; null: any caller. @throws Problem not_found where it is off, or the guard's */
  const acceptRegistrar = async (state: RequestState): Promise<AdminPrincipal | null> => {
    const { oauthRegistration: who } = context.config
    if (who === 'off' || !isAuthorizationServer(context.config)) fail('not_found')
    if (who === 'open') return null
    const user = (await findUser(context, state)) ?? fail('missing_credential')
    requireAdmin(user)
    state.authorize = requireAdmin
    return user
  }

  return new Elysia({ prefix: '/oauth', tags: ['OAuth'] })
    .use(guard)
    .post(
      '/token',
      async ({ body, request, state }) => {
        const limit = LIMIT_OF_GRANT.get(body.grant_type)
        if (limit) await limits.consume(limit, state)
        const { grant_type, username, password, refresh_token, scope } = body
        if (grant_type === TOKEN_EXCHANGE) return grantExchange({ request, state }, body)
        const { code, redirect_uri, code_verifier, resource, device_code } = body
        const ofCode = { code, redirect_uri, code_verifier, resource, device_code }
        const asked = { grant_type, username, password, refresh_token, scope, ...ofCode }
        const grant = async () => {
          const client = await acceptClient({ request, state }, body)
          return grantTokens(context, originOf(state), asked, client)
        }
        return countingGuesses(
          state,
          () => (grant_type === 'client_credentials' ? auditingRefusal(state, grant) : grant()),
          // A code is guessed at too.
          TAKES_CODE.includes(grant_type) ? ['invalid_client', 'invalid_token'] : ['invalid_client'],
        )
      },
      {
        parse: ({ request }) => readForm(request),
        body: TokenForm,
        response: { 200: OAuthTokens },
        detail: describe('getToken', 'The token endpoint (RFC 6749)', {
          description: `Grants \`authorization_code\`, \`client_credentials\`, \`refresh_token\`, \`password\`, \`${DEVICE_GRANT}\` and token exchange (RFC 8693: a key for a short token for one \`resource\`). ${CLIENTS} An app that has a secret authenticates in the same ways; one that has none sends its \`client_id\`.`,
          errors: [
            'invalid_login',
            'invalid_client',
            'ip_not_allowed',
            'unsupported_grant_type',
            'unauthorized_client',
            'invalid_token',
            'invalid_target',
            'invalid_scope',
            'access_denied',
            'authorization_pending',
            'slow_down',
            'expired_token',
            'mfa_required',
            'email_not_verified',
            'too_many_attempts',
          ],
        }),
      },
    )
    .post(
      '/register',
      async ({ body, state, set }) => {
        const admin = await acceptRegistrar(state)
        set.status = 201
        return registerApp(context, originOf(state), admin, body)
      },
      {
        parse: async ({ request, state }) => {
          await acceptRegistrar(state)
          return readJson(request)
        },
        transform: async ({ state }: Seen) => {
          await acceptRegistrar(state)
        },
        body: Registration,
        response: { 201: RegisteredApp },
        detail: describe('registerApp', 'Register an app as a public client (RFC 7591)', {
          description:
            "404 unless `OAUTH_REGISTRATION` is `token`, which asks for an admin's access token, or `open`.",
          errors: [
            'invalid_redirect_uri',
            'invalid_client_metadata',
            'missing_credential',
            'invalid_token',
            'forbidden',
            'not_found',
          ],
        }),
      },
    )
    .post(
      '/revoke',
      async ({ body, request, state }) => {
        await countingGuesses(state, () => acceptClient({ request, state }, body))
        await revokeToken(context, originOf(state), body.token)
        return {}
      },
      {
        parse: ({ request }) => readForm(request),
        body: TokenOfForm,
        response: { 200: Type.Object({}, { $id: 'Revoked' }) },
        detail: describe(
          'revokeToken',
          'End what stands on a token (RFC 7009); holding it is the authority',
          {
            description: `${CLIENTS} A client need not authenticate; a wrong one is refused.`,
            errors: ['invalid_client', 'ip_not_allowed'],
          },
        ),
      },
    )
}

/** Introspection (RFC 7662): the one endpoint that a verifier in a region has too. */
export const introspectionRoutes = (context: Context, guard: Guard, limits: Limits) =>
  new Elysia({ prefix: '/oauth', tags: ['OAuth'] }).use(guard).post(
    '/introspect',
    async ({ body, request, state }) => {
      await countGuesses(limits)(state, () => acceptIntrospector(context, { request, state }, body))
      return introspectToken(context, body.token)
    },
    {
      parse: ({ request }) => readForm(request),
      body: TokenOfForm,
      response: { 200: Introspection },
      detail: describe('introspectToken', 'What a token is, now (RFC 7662)', {
        description: `${CLIENTS} Without a bearer credential, the client authenticates.`,
        credentials: [{ bearer: [INTROSPECT] }],
        errors: ['invalid_client', 'ip_not_allowed', 'insufficient_scope'],
      }),
    },
  )

/** Takes a principal for the caller. A key is bound to its addresses, scopes and rate, as on every other route. */
async function accept(
  context: Context,
  state: RequestState,
  principal: Principal,
  scopes: readonly string[],
): Promise<void> {
  state.credential = { kind: 'accepted', principal }
  const anyone = {
    allows: () => true,
    refusal: () => 'forbidden' as const,
    support: false,
    labels: false,
    whole: false,
    enrolling: false,
    portal: null,
  }
  await permit(context, state, principal, { ...anyone, userScopes: scopes, keyScopes: scopes })
}

/**
 * Authenticates who introspects, by a bearer credential or as a client. Either one needs the scope. A verifier asks about
 * refresh tokens with its own scope.
 */
async function acceptIntrospector(
  context: Context,
  { request, state }: Seen,
  form: TokenOfForm,
): Promise<void> {
  const client = readClient(request.headers.get('authorization'), form)
  const principal = client
    ? await authenticateClient(context, client)
    : await authenticateBearer(context, request)
  const isOfRegion = isRefreshToken(form.token) && covers(principal.grants, REGION)
  await accept(context, state, principal, [isOfRegion ? REGION : INTROSPECT])
}

/** @throws Problem forbidden, insufficient_scope where the token was narrowed, which leaves an admin no role */
function requireAdmin(principal: Principal): asserts principal is AdminPrincipal {
  if (!isAdmin(principal)) fail('forbidden', { detail: ADMINS_ONLY })
  if (principal.isEnrolmentDue) fail('mfa_enrolment_required')
}

/**
 * Counts a failed client authentication as a guess, or else client secrets could be guessed without limit. A right
 * secret is never refused for the guesses of others at its address.
 */
export const countGuesses =
  (limits: Limits) =>
  async <T>(
    state: RequestState,
    work: () => Promise<T>,
    guesses: readonly ErrorCode[] = ['invalid_client'],
  ): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      if (error instanceof Problem && guesses.includes(error.problem)) {
        await limits.consume('unknown_credential', state)
      }
      throw error
    }
  }

/**
 * Authenticates by a bearer credential (RFC 7662, section 2.1; RFC 6750).
 * @throws Problem invalid_client, with the challenges of both ways to authenticate
 */
async function authenticateBearer(context: Context, request: Request): Promise<Principal> {
  const token = readCredential(context.config, request)
  const verdict = token === null ? null : await verifyCredential(context, token)
  if (verdict && verdict.kind !== 'refused') return verdict
  const bearer = `${BEARER_CHALLENGE}${token === null ? '' : ', error="invalid_token"'}`
  return fail('invalid_client', { headers: { 'WWW-Authenticate': `${bearer}, ${BASIC_CHALLENGE}` } })
}
