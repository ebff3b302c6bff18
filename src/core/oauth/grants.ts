import { type ErrorCode, fail, failToken, type Problem } from '../../lib/errors.ts'
import { ceilingOfUser, covers, parseScopes } from '../../lib/scopes.ts'
import { MINUTE_MS, SECOND_MS } from '../../lib/time.ts'
import type { AuditEvent, Origin } from '../audit/audit.ts'
import { countEvent } from '../audit/counted-events.ts'
import { nameClient } from '../authorization/client-authentication.ts'
import { tradeCode } from '../authorization/codes.ts'
import { DEVICE_GRANT, pollDevice } from '../authorization/device.ts'
import { refreshClientSession } from '../authorization/refresh.ts'
import { DOCS_CLIENT } from '../clients/docs-client.ts'
import type { ClientRow } from '../clients/rows.ts'
import type { Context } from '../context.ts'
import { logIn } from '../login/log-in.ts'
import { grantOf } from '../login/sign-in.ts'
import type { KeyPrincipal } from '../principal.ts'
import { findLiveRefresh, findSessionOfRefresh, type Grant, refreshSession } from '../sessions/sessions.ts'
import { TOKEN_EXCHANGE } from '../token-exchange/exchange.ts'
import { findUserById } from '../users/accounts.ts'
import { isAuthorizationServer } from './authorization-server.ts'
import { failClient } from './client.ts'
import type { OAuthTokens } from './model.ts'

/** The parameters of a token request that are read (RFC 6749). */
export type TokenRequest = { grant_type: string } & Record<
  | 'username'
  | 'password'
  | 'refresh_token'
  | 'scope'
  | 'code'
  | 'redirect_uri'
  | 'code_verifier'
  | 'resource'
  | 'device_code',
  string | undefined
>

/** The grants of the token endpoint. */
const GRANTS: readonly string[] = [
  'authorization_code',
  'client_credentials',
  'password',
  'refresh_token',
  DEVICE_GRANT,
  TOKEN_EXCHANGE,
]

/** Who asks for tokens: the key with which a service account authenticated, or an app; null: a request that names neither. */
export type TokenClient = { kind: 'key'; key: KeyPrincipal } | { kind: 'app'; app: ClientRow } | null

/**
 * The token endpoint (RFC 6749, section 3.2): the same log-ins and refreshes as under /auth, access tokens for service
 * accounts, and the tokens of apps.
 * @throws Problem unsupported_grant_type, unauthorized_client, invalid_request, invalid_client, invalid_scope, and the errors of logging in
 * and refreshing
 */
export async function grantTokens(
  context: Context,
  origin: Origin,
  request: TokenRequest,
  client: TokenClient,
): Promise<OAuthTokens> {
  if (client?.kind === 'app') requireOpenToApps(context, client.app, request.grant_type)
  if (request.grant_type === 'client_credentials') {
    return grantClientCredentials(
      context,
      origin,
      request,
      client?.kind === 'key' ? client.key : failClient(),
    )
  }
  if (request.grant_type === 'authorization_code') return grantByCode(context, origin, request, client)
  if (request.grant_type === DEVICE_GRANT) return grantToDevice(context, origin, request, client)
  const ofApp =
    request.grant_type === 'refresh_token' && (await refreshOfApp(context, origin, request, client))
  if (ofApp) return ofApp
  // The other grants for users are for Latchkey's own clients, which do not authenticate.
  const { tokens, scopes } = await grantUserTokens(context, origin, request)
  return { ...tokens, scope: scopes.join(' ') }
}

/**
 * An app gets no token by a person's password, nor one of its own (oauth.md, section 3, rule 1). The API documentation, which is
 * built in, names itself beside the password.
 * @throws Problem unauthorized_client
 */
function requireOpenToApps({ config }: Context, { clientId }: ClientRow, grantType: string): void {
  const isPassword = grantType === 'password' && config.oauthPasswordGrant && clientId !== DOCS_CLIENT
  if (isPassword || grantType === 'client_credentials') fail('unauthorized_client')
}

async function grantByCode(
  context: Context,
  origin: Origin,
  request: TokenRequest,
  client: TokenClient,
): Promise<OAuthTokens> {
  if (!isAuthorizationServer(context.config)) fail('unsupported_grant_type')
  const presented = {
    code: requireParameter(request, 'code'),
    redirectUri: requireParameter(request, 'redirect_uri'),
    codeVerifier: requireParameter(request, 'code_verifier'),
    resource: request.resource ?? null,
  }
  return tradeCode(context, origin, client?.kind === 'app' ? client.app : failClient(), presented)
}

async function grantToDevice(
  context: Context,
  origin: Origin,
  request: TokenRequest,
  client: TokenClient,
): Promise<OAuthTokens> {
  if (!isAuthorizationServer(context.config)) fail('unsupported_grant_type')
  const code = requireParameter(request, 'device_code')
  return pollDevice(context, origin, client?.kind === 'app' ? client.app : failClient(), code)
}

/**
 * The refresh of an app's session; null where the token is no app's. An app refreshes its own sessions alone.
 * @throws Problem invalid_client where the session is an app's, and the request names none
 */
async function refreshOfApp(
  context: Context,
  origin: Origin,
  request: TokenRequest,
  client: TokenClient,
): Promise<OAuthTokens | null> {
  const token = requireParameter(request, 'refresh_token')
  const session = await findSessionOfRefresh(context, token)
  if (session?.kind !== 'client') return client?.kind === 'app' ? failToken() : null
  if (!isAuthorizationServer(context.config)) failToken()
  const app = client?.kind === 'app' ? client.app : failClient()
  const presented = { token, scope: request.scope, resource: request.resource ?? null }
  return refreshClientSession(context, origin, app, session.id, presented)
}

async function grantUserTokens(context: Context, origin: Origin, request: TokenRequest): Promise<Grant> {
  switch (request.grant_type) {
    case 'password': {
      if (!context.config.oauthPasswordGrant) fail('unsupported_grant_type')
      const email = requireParameter(request, 'username')
      const password = requireParameter(request, 'password')
      const scopes = readScopes(request.scope)
      return grantOf(context, await logIn(context, origin, { email, password }, { kind: 'api', scopes }))
    }
    case 'refresh_token': {
      const token = requireParameter(request, 'refresh_token')
      const asked = readScopes(request.scope)
      await requireScopesOfHolder(context, token, asked)
      return refreshSession(context, origin, token, asked.length === 0 ? null : asked)
    }
    default:
      return fail('unsupported_grant_type')
  }
}

/**
 * Checks the requested scopes before the refresh token is exchanged, so that a refusal does not use the token up. An
 * invalid token is refused later, by the exchange.
 * @throws Problem invalid_scope
 */
async function requireScopesOfHolder(
  context: Context,
  token: string,
  asked: readonly string[],
): Promise<void> {
  const holder = asked.length === 0 ? null : await findLiveRefresh(context, token)
  const user = holder && (await findUserById(context.db, holder.userId))
  if (!user) return
  const ceiling = ceilingOfUser(user, context.config.userScopes)
  const isHeld = (scope: string) => covers(ceiling, scope) && (holder.scopes?.includes(scope) ?? true)
  if (!asked.every(isHeld)) fail('invalid_scope')
}

/**
 * The client credentials grant (RFC 6749, section 4.4). Wherever the token is verified, it stands for the key with
 * which it was obtained.
 */
async function grantClientCredentials(
  context: Context,
  origin: Origin,
  request: TokenRequest,
  key: KeyPrincipal,
): Promise<OAuthTokens> {
  const asked = readScopes(request.scope)
  if (!asked.every((scope) => covers(key.grants, scope))) fail('invalid_scope')
  const scopes = asked.length === 0 ? key.scopes : asked
  const now = context.clock()
  const lastsMs = context.config.accessTokenExpireMinutes * MINUTE_MS
  const expiresAtMs = Math.min(now + lastsMs, key.endsAt?.getTime() ?? Infinity)
  const access = await context.signing.sign({
    subject: key.owner.id,
    audience: context.config.jwtAudience,
    clientId: key.owner.id,
    sessionId: key.secretId,
    role: null,
    scopes,
    isNarrowed: false,
    authentication: null,
    expiresAtMs,
  })
  await countEvent(context, origin, {
    action: 'token.granted',
    target: { type: 'service_account', id: key.owner.id },
    details: { scopes },
  })
  return {
    access_token: access,
    token_type: 'bearer',
    expires_in: Math.max(0, Math.floor((expiresAtMs - now) / SECOND_MS)),
    scope: scopes.join(' '),
  }
}

/** Answers to a device that waits for its person. */
const PENDING: readonly ErrorCode[] = ['authorization_pending', 'slow_down']

/**
 * Records that a client was refused tokens: which client asked, by which grant, and whose grant it is about. Names the key of
 * a service account where the presented one is known and no longer valid.
 * @param origin of the client, where it authenticated
 * @param app where one authenticated
 */
export async function recordRefusedGrant(
  context: Context,
  origin: Origin,
  { problem, extra }: Problem,
  grantType: string,
  app: ClientRow | null,
): Promise<void> {
  if (problem === 'unavailable' || PENDING.includes(problem)) return
  const details = {
    ...extra.audit,
    reason: problem,
    // Any other text is the sender's.
    ...(GRANTS.includes(grantType) && { grant_type: grantType }),
    ...(app && nameClient(app)),
  }
  // Each app, and each grant, has rows of its own: both are known here, so a stranger cannot fill the trail.
  const target = targetOf(details)
  const by: Origin = app ? { ...origin, actor: { type: 'client', id: app.id } } : origin
  await countEvent(context, by, {
    action: 'token.refused',
    outcome: 'refused',
    ...(target && { target }),
    details,
  })
}

function targetOf(details: { grant_id?: unknown; client_id?: unknown }): AuditEvent['target'] | null {
  if (typeof details.grant_id === 'string') return { type: 'grant', id: details.grant_id }
  return typeof details.client_id === 'string' ? { type: 'client', id: details.client_id } : null
}

function readScopes(scope: string | undefined): string[] {
  const scopes = parseScopes(scope)
  return 'fault' in scopes ? fail('invalid_scope', { detail: scopes.fault }) : scopes
}

function requireParameter(request: TokenRequest, name: Exclude<keyof TokenRequest, 'grant_type'>): string {
  return request[name] || fail('invalid_request', { detail: `The parameter ${name} is missing.` })
}
