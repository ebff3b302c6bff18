import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import { DEVICE_GRANT } from '../../core/authorization/device.ts'
import { IDENTITY_SCOPES } from '../../core/authorization/target.ts'
import type { Context } from '../../core/context.ts'
import { isAuthorizationServer } from '../../core/oauth/authorization-server.ts'
import { TOKEN_EXCHANGE } from '../../core/token-exchange/exchange.ts'
import { fail } from '../../lib/errors.ts'
import { pathOf, withoutSlash } from '../elysia.ts'
import { describe } from '../openapi/describe.ts'

const Metadata = Type.Object(
  { issuer: Type.String() },
  { $id: 'AuthorizationServer', additionalProperties: true },
)

const METADATA_PATH = '/.well-known/oauth-authorization-server'
const OPENID_PATH = '/.well-known/openid-configuration'

/** Which endpoints there are, and what they take. */
function metadataOf({ config }: Context) {
  const issuer = config.publicUrl
  const methods = ['client_secret_basic', 'client_secret_post']
  const service = config.docs ? { service_documentation: `${issuer}/docs` } : {}
  const common = {
    issuer,
    token_endpoint: `${issuer}/oauth/token`,
    introspection_endpoint: `${issuer}/oauth/introspect`,
    revocation_endpoint: `${issuer}/oauth/revoke`,
    jwks_uri: `${issuer}/.well-known/jwks.json`,
  }
  const password = config.oauthPasswordGrant ? ['password'] : []
  if (!isAuthorizationServer(config)) {
    return {
      ...common,
      response_types_supported: [],
      grant_types_supported: ['client_credentials', 'refresh_token', ...password],
      token_endpoint_auth_methods_supported: [...methods, 'none'],
      introspection_endpoint_auth_methods_supported: methods,
      revocation_endpoint_auth_methods_supported: [...methods, 'none'],
      ...service,
    }
  }
  return {
    ...common,
    authorization_endpoint: `${issuer}/oauth/authorize`,
    userinfo_endpoint: `${issuer}/oauth/userinfo`,
    device_authorization_endpoint: `${issuer}/oauth/device_authorization`,
    end_session_endpoint: `${issuer}/oauth/logout`,
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    code_challenge_methods_supported: ['S256'],
    authorization_response_iss_parameter_supported: true,
    scopes_supported: [...IDENTITY_SCOPES, 'offline_access'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: [config.algorithm],
    grant_types_supported: [
      'authorization_code',
      'client_credentials',
      'refresh_token',
      DEVICE_GRANT,
      TOKEN_EXCHANGE,
      ...password,
    ],
    ...(config.oauthRegistration === 'off' ? {} : { registration_endpoint: `${issuer}/oauth/register` }),
    client_id_metadata_document_supported: config.oauthClientMetadata === 'on',
    token_endpoint_auth_methods_supported: [...methods, 'private_key_jwt', 'none'],
    token_endpoint_auth_signing_alg_values_supported: ['ES256', 'RS256', 'EdDSA'],
    introspection_endpoint_auth_methods_supported: methods,
    revocation_endpoint_auth_methods_supported: [...methods, 'private_key_jwt', 'none'],
    ...service,
  }
}

/**
 * The metadata of the authorization server (RFC 8414) and of the OpenID provider (OpenID Connect Discovery). RFC 8414
 * puts the metadata of an issuer with a path at the root of its host, with that path at the end (section 3.1); also below
 * the path, for clients that append it.
 */
export const metadataRoute = (context: Context) => {
  const { publicUrl } = context.config
  const answer = ({ set }: { set: { headers: Record<string, string | number> } }) => {
    set.headers['cache-control'] = 'public, max-age=300'
    return metadataOf(context)
  }
  const app = new Elysia({ tags: ['OAuth'] }).get(METADATA_PATH, answer, {
    response: { 200: Metadata },
    detail: describe('getAuthorizationServer', 'Where the OAuth endpoints are (RFC 8414)'),
  })
  if (isAuthorizationServer(context.config)) {
    app.get(OPENID_PATH, answer, {
      response: { 200: Metadata },
      detail: describe('getOpenIdConfiguration', 'The same for OpenID Connect (Discovery, section 4)'),
    })
  }
  const inserted = METADATA_PATH + new URL(publicUrl).pathname
  if (inserted === `${METADATA_PATH}/`) return app
  // A wildcard, because the issuer's path may hold characters that a router reads as a parameter. Hidden, because the paths
  // of the document are below PUBLIC_URL.
  app.get(
    `${METADATA_PATH}/*`,
    (at) => (withoutSlash(pathOf(at.request)) === inserted ? answer(at) : fail('not_found')),
    { response: { 200: Metadata }, detail: { hide: true } },
  )
  return app
}
