import { type Static, Type } from '@sinclair/typebox'
import { AsOf } from '../../lib/model.ts'

const value = Type.String({ maxLength: 8192 })
const client = {
  client_id: Type.Optional(
    Type.String({ maxLength: 8192, description: "A service account's id, or an app's `client_id`" }),
  ),
  client_secret: Type.Optional(
    Type.String({ maxLength: 8192, description: 'One of its keys, or of its secrets' }),
  ),
  client_assertion: Type.Optional(
    Type.String({ maxLength: 8192, description: 'Of an app that signs with its own key (RFC 7523)' }),
  ),
  client_assertion_type: Type.Optional(Type.String({ maxLength: 128 })),
}

/**
 * The form of the token endpoint (RFC 6749, sections 4.1.3, 4.3.2, 4.4.2 and 6; RFC 8628, section 3.4).
 * Unknown parameters are ignored (section 3.2).
 */
export const TokenForm = Type.Object(
  {
    grant_type: Type.String({
      maxLength: 64,
      examples: [
        'authorization_code',
        'client_credentials',
        'password',
        'refresh_token',
        'urn:ietf:params:oauth:grant-type:device_code',
        'urn:ietf:params:oauth:grant-type:token-exchange',
      ],
    }),
    username: Type.Optional(value),
    password: Type.Optional(value),
    refresh_token: Type.Optional(value),
    scope: Type.Optional(value),
    code: Type.Optional(value),
    redirect_uri: Type.Optional(value),
    code_verifier: Type.Optional(value),
    subject_token: Type.Optional(Type.String({ maxLength: 8192, description: 'An API key, to exchange' })),
    subject_token_type: Type.Optional(
      Type.String({ maxLength: 8192, examples: ['urn:latchkey:token-type:api_key'] }),
    ),
    requested_token_type: Type.Optional(value),
    actor_token: Type.Optional(value),
    resource: Type.Optional(Type.String({ maxLength: 8192, description: "A resource's identifier" })),
    audience: Type.Optional(value),
    device_code: Type.Optional(value),
    ...client,
  },
  { $id: 'TokenForm', additionalProperties: true },
)
export type TokenForm = Static<typeof TokenForm>

/** The form with which a device begins (RFC 8628, section 3.1). */
export const DeviceForm = Type.Object(
  { scope: Type.Optional(value), resource: Type.Optional(value), ...client },
  { $id: 'DeviceForm', additionalProperties: true },
)
export type DeviceForm = Static<typeof DeviceForm>

/** What a device shows to its person, and the code with which it polls (RFC 8628, section 3.2). */
export const DeviceAuthorization = Type.Object(
  {
    device_code: Type.String({ description: 'The device polls with it, and keeps it to itself' }),
    user_code: Type.String({ description: 'The person types it at `verification_uri`' }),
    verification_uri: Type.String(),
    verification_uri_complete: Type.String({
      description: 'The same page with the code filled in, for a QR code',
    }),
    expires_in: Type.Integer({ description: 'Seconds' }),
    interval: Type.Integer({ description: 'Seconds from one poll to the next' }),
  },
  { $id: 'DeviceAuthorization' },
)
export type DeviceAuthorization = Static<typeof DeviceAuthorization>

/** The members of a form that name a client. */
export type ClientForm = Pick<TokenForm, keyof typeof client>

/**
 * The answer of the token endpoint (RFC 6749, section 5.1). A service account gets no refresh token (section 4.4.3).
 */
export const OAuthTokens = Type.Object(
  {
    access_token: Type.String(),
    issued_token_type: Type.Optional(Type.String({ description: 'Of an exchange (RFC 8693)' })),
    token_type: Type.Literal('bearer'),
    expires_in: Type.Integer({ description: 'Seconds' }),
    refresh_token: Type.Optional(Type.String()),
    id_token: Type.Optional(Type.String({ description: 'Of OpenID Connect, with the scope `openid`' })),
    scope: Type.String(),
  },
  { $id: 'OAuthTokens' },
)
export type OAuthTokens = Static<typeof OAuthTokens>

/**
 * The form of introspection and revocation (RFC 7662, section 2.1; RFC 7009, section 2.1). A token may have any length;
 * one that is too long is unknown.
 */
export const TokenOfForm = Type.Object(
  { token: Type.String(), token_type_hint: Type.Optional(value), ...client },
  { $id: 'TokenOfForm', additionalProperties: true },
)
export type TokenOfForm = Static<typeof TokenOfForm>

/**
 * The answer of introspection (RFC 7662, section 2.2). `active: false` comes without other members, so that a guess
 * learns nothing.
 */
export const Introspection = Type.Object(
  {
    active: Type.Boolean(),
    scope: Type.Optional(Type.String()),
    client_id: Type.Optional(Type.String()),
    username: Type.Optional(Type.String()),
    email_verified: Type.Optional(Type.Boolean({ description: 'Whether `username` was proven' })),
    token_type: Type.Optional(Type.String({ examples: ['Bearer'] })),
    token_kind: Type.Optional(Type.String({ description: '`access_token`, `refresh_token` or `api_key`' })),
    exp: Type.Optional(Type.Integer()),
    iat: Type.Optional(Type.Integer()),
    sub: Type.Optional(Type.String()),
    aud: Type.Optional(Type.String()),
    iss: Type.Optional(Type.String()),
    jti: Type.Optional(Type.String()),
    role: Type.Optional(Type.String()),
    auth_time: Type.Optional(Type.Integer({ description: 'When a person last proved who they are' })),
    amr: Type.Optional(Type.Array(Type.String(), { description: 'How they proved it (RFC 8176), sorted' })),
    key_id: Type.Optional(Type.String()),
    grant_id: Type.Optional(Type.String({ description: 'What the person allowed the app' })),
    as_of: Type.Optional(AsOf),
  },
  { $id: 'Introspection' },
)
export type Introspection = Static<typeof Introspection>
