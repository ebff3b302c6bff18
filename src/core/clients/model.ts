import { type Static, Type } from '@sinclair/typebox'
import { Id, Instant, Name, nullable, pageOf, ScopeInput, ScopeList, wordOf } from '../../lib/model.ts'
import { MAX_REDIRECT_URI_LENGTH, MAX_REDIRECT_URIS } from './redirect-uris.ts'

/** The grants that an app may be registered for. */
export const CLIENT_GRANTS = [
  'authorization_code',
  'refresh_token',
  'urn:ietf:params:oauth:grant-type:device_code',
] as const

const Kind = wordOf(
  ['public', 'confidential'],
  '`public`: runs where its users could read a secret, as in a browser, on a phone, on a command line',
)
export const ClientSource = wordOf(['registered', 'metadata', 'dynamic'])

const ClientSecret = Type.Object(
  {
    id: Id,
    start: Type.String({ description: 'By which people recognise it' }),
    created_at: Instant,
    expires_at: nullable(Instant, 'The end of the overlap with a newer one; null: none'),
    last_used_at: nullable(Instant),
  },
  { $id: 'ClientSecret' },
)

const members = {
  id: Id,
  client_id: Type.String({
    description: 'As the app names itself: its id, or the URL of its metadata document',
  }),
  name: Type.String(),
  kind: Kind,
  source: ClientSource,
  redirect_uris: Type.Array(Type.String()),
  post_logout_redirect_uris: Type.Array(Type.String()),
  grants: Type.Array(Type.String()),
  scopes: nullable(ScopeList, 'The most that it gets; null: no limit, and no `latchkey:*`'),
  first_party: Type.Boolean(),
  is_active: Type.Boolean(),
  created_at: Instant,
  created_by: nullable(Id, 'The admin who made it; null: that user is gone, or no user made it'),
  last_used_at: nullable(Instant),
  secrets: Type.Array(ClientSecret, { description: 'Those that are live, newest first' }),
}

export const OAuthClient = Type.Object(members, { $id: 'OAuthClient' })
export type OAuthClient = Static<typeof OAuthClient>

export const OAuthClientPage = pageOf(OAuthClient, 'OAuthClientPage')
export type OAuthClientPage = Static<typeof OAuthClientPage>

export const OAuthClientWithSecret = Type.Object(
  {
    ...members,
    secret: Type.Optional(
      Type.String({ description: 'Shown this once. Not there for a client without one' }),
    ),
  },
  { $id: 'OAuthClientWithSecret' },
)
export type OAuthClientWithSecret = Static<typeof OAuthClientWithSecret>

const Uris = Type.Array(Type.String({ maxLength: MAX_REDIRECT_URI_LENGTH }), { maxItems: MAX_REDIRECT_URIS })
const Grants = Type.Array(wordOf(CLIENT_GRANTS), { minItems: 1, maxItems: CLIENT_GRANTS.length })

/** A public key (RFC 7517). `readKeys` says which kinds are taken. */
const Jwk = Type.Object({ kty: Type.String({ maxLength: 16 }) }, { additionalProperties: true })
const Jwks = Type.Object(
  { keys: Type.Array(Jwk, { minItems: 1, maxItems: 10 }) },
  { additionalProperties: false, description: 'Its public keys, for `private_key_jwt`' },
)
const JwksUri = Type.String({ maxLength: 500, description: 'Where its public keys are: an https URL' })

export const NewOAuthClient = Type.Object(
  {
    name: Name,
    kind: Kind,
    redirect_uris: Uris,
    post_logout_redirect_uris: Type.Optional(Uris),
    grants: Grants,
    scopes: Type.Optional(nullable(ScopeInput)),
    first_party: Type.Optional(Type.Boolean()),
    jwks: Type.Optional(Jwks),
    jwks_uri: Type.Optional(JwksUri),
  },
  { $id: 'NewOAuthClient', additionalProperties: false },
)
export type NewOAuthClient = Static<typeof NewOAuthClient>

export const OAuthClientPatch = Type.Object(
  {
    name: Type.Optional(Name),
    redirect_uris: Type.Optional(Uris),
    post_logout_redirect_uris: Type.Optional(Uris),
    grants: Type.Optional(Grants),
    scopes: Type.Optional(nullable(ScopeInput)),
    first_party: Type.Optional(Type.Boolean()),
    jwks: Type.Optional(nullable(Jwks)),
    jwks_uri: Type.Optional(nullable(JwksUri)),
    is_active: Type.Optional(Type.Boolean()),
  },
  { $id: 'OAuthClientPatch', additionalProperties: false },
)
export type OAuthClientPatch = Static<typeof OAuthClientPatch>

export const NewClientSecret = Type.Object(
  {
    overlap_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 2_592_000,
        description: 'How long the present secret still works; 86400 unless given',
      }),
    ),
  },
  { $id: 'NewClientSecret', additionalProperties: false },
)
export type NewClientSecret = Static<typeof NewClientSecret>
