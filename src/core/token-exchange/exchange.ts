import { fail } from '../../lib/errors.ts'
import { parseScopes } from '../../lib/scopes.ts'
import { SECOND_MS } from '../../lib/time.ts'
import type { Origin } from '../audit/audit.ts'
import { countEvent } from '../audit/counted-events.ts'
import type { Context } from '../context.ts'
import { isAuthorizationServer } from '../oauth/authorization-server.ts'
import type { OAuthTokens, TokenForm } from '../oauth/model.ts'
import type { KeyPrincipal } from '../principal.ts'
import { identifierOf, lifetimeMs } from '../resources/audience.ts'
import { findResourceByIdentifier, type ResourceRow } from '../resources/rows.ts'
import { verifyCredential } from '../verify/verify-credential.ts'

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const API_KEY_TYPE = 'urn:latchkey:token-type:api_key'
const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token'

/** The parameters of an exchange (RFC 8693, section 2.1). */
type ExchangeForm = Pick<
  TokenForm,
  | 'subject_token'
  | 'subject_token_type'
  | 'actor_token'
  | 'requested_token_type'
  | 'resource'
  | 'audience'
  | 'scope'
>

/**
 * The API key that is to be exchanged. Every other credential is refused, a token that stands for a key too: else a token could
 * be exchanged for one that lives longer.
 * @throws Problem invalid_request; unsupported_grant_type where tokens have no public keys
 */
export async function readSubject(context: Context, form: ExchangeForm): Promise<KeyPrincipal> {
  if (!isAuthorizationServer(context.config)) fail('unsupported_grant_type')
  const { subject_token: token, subject_token_type: type, requested_token_type: wanted } = form
  if (token === undefined) fail('invalid_request', { detail: 'The parameter subject_token is missing.' })
  if (type !== API_KEY_TYPE)
    fail('invalid_request', { detail: `The subject_token_type must be ${API_KEY_TYPE}.` })
  if (form.actor_token !== undefined) fail('invalid_request', { detail: 'No actor_token is taken.' })
  if (wanted !== undefined && wanted !== ACCESS_TOKEN_TYPE)
    fail('invalid_request', { detail: `The requested_token_type must be ${ACCESS_TOKEN_TYPE}.` })
  const principal = await verifyCredential(context, token)
  if (principal.kind === 'key' && principal.claims === null) return principal
  const keyId = 'keyId' in principal ? principal.keyId : undefined
  return fail('invalid_request', {
    detail: 'The subject_token is no valid API key.',
    audit: { reason: 'invalid_key', ...(keyId !== undefined && { key_id: keyId }) },
  })
}

/**
 * Exchanges a key for a short token for one resource (RFC 8693; oauth.md, section 9). The token is verified as the key: it dies
 * with the key's secret, and holds what key, token and resource have in common at each use.
 * @param key from `readSubject`, whose use from the address of the request was allowed
 * @throws Problem invalid_target, invalid_scope, access_denied
 */
export async function exchangeKey(
  context: Context,
  origin: Origin,
  form: ExchangeForm,
  key: KeyPrincipal,
): Promise<OAuthTokens> {
  const resource = await findTarget(context, form)
  const scopes = scopesFor(key, resource, form.scope)
  const now = context.clock()
  const expiresAtMs = Math.min(now + lifetimeMs(context.config, resource), key.endsAt?.getTime() ?? Infinity)
  const access = await context.signing.sign({
    subject: key.owner.id,
    audience: resource.identifier,
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
    target: { type: 'key', id: key.keyId },
    details: { scopes, resource: resource.identifier },
  })
  return {
    access_token: access,
    issued_token_type: ACCESS_TOKEN_TYPE,
    token_type: 'bearer',
    expires_in: Math.max(0, Math.floor((expiresAtMs - now) / SECOND_MS)),
    scope: scopes.join(' '),
  }
}

/** An audience of Latchkey itself is no target: its own API would take the token for a credential of its own. */
async function findTarget(
  { config, db }: Pick<Context, 'config' | 'db'>,
  { resource: identifier, audience }: ExchangeForm,
): Promise<ResourceRow> {
  if (identifier === undefined)
    fail('invalid_target', { detail: 'Name the resource for which the token shall be.' })
  if (audience !== undefined) fail('invalid_target', { detail: 'Name a resource, and no audience.' })
  const own = (['users', 'latchkey', 'userinfo'] as const).map((each) =>
    identifierOf(config, { audience: each, resource: null }),
  )
  if (own.includes(identifier)) fail('invalid_target')
  const resource = await findResourceByIdentifier(db, identifier)
  return resource?.isActive ? resource : fail('invalid_target')
}

/** Key ∩ resource ∩ what was asked for; without `scope`, all that key and resource have in common. */
function scopesFor(key: KeyPrincipal, { scopes: named }: ResourceRow, scope: string | undefined): string[] {
  const asked = parseScopes(scope)
  if ('fault' in asked) return fail('invalid_scope', { detail: asked.fault })
  const names = new Set(named.map(({ name }) => name))
  if (!asked.every((each) => names.has(each)))
    fail('invalid_scope', { detail: 'The resource does not name such a scope.' })
  const scopes = key.scopes.filter((each) => names.has(each) && (asked.length === 0 || asked.includes(each)))
  if (scopes.length === 0 && names.size > 0)
    fail('access_denied', { detail: 'The key holds no such scope of this resource.' })
  return scopes
}
