import { type Static, Type } from '@sinclair/typebox'
import { Id, Instant, nullable, pageOf } from '../../lib/model.ts'

/** A pair of tokens (RFC 6749, section 5.1), with `bearer` in lower case as the seed answered it. */
export const Tokens = Type.Object(
  {
    access_token: Type.String(),
    refresh_token: Type.String(),
    token_type: Type.Literal('bearer'),
    expires_in: Type.Integer({ description: 'Seconds' }),
  },
  { $id: 'Tokens' },
)
export type Tokens = Static<typeof Tokens>

/** The same without a refresh token: a browser session continues by its cookie. */
export const AccessToken = Type.Omit(Tokens, ['refresh_token'], { $id: 'AccessToken' })
export type AccessToken = Static<typeof AccessToken>

export const RefreshRequest = Type.Object(
  { refresh_token: Type.Optional(Type.String({ maxLength: 4096 })) },
  { $id: 'RefreshRequest', additionalProperties: false },
)
export type RefreshRequest = Static<typeof RefreshRequest>

export const Session = Type.Object(
  {
    id: Id,
    kind: Type.Union([Type.Literal('api'), Type.Literal('browser'), Type.Literal('client')]),
    auth_time: Type.String({
      format: 'date-time',
      description: 'When its person last proved who they are: by the log-in, or by re-authentication',
    }),
    amr: Type.Array(Type.String(), {
      description: 'How they proved it (RFC 8176), sorted',
      examples: [['mfa', 'otp', 'pwd']],
    }),
    created_at: Instant,
    last_used_at: Instant,
    expires_at: Instant,
    ip: nullable(Type.String(), 'Of the last use'),
    user_agent: nullable(Type.String(), 'Of the last use'),
    login_ip: nullable(Type.String()),
    login_user_agent: nullable(Type.String()),
    current: Type.Boolean({ description: 'The one that asks' }),
  },
  { $id: 'Session' },
)
export type Session = Static<typeof Session>

export const SessionPage = pageOf(Session, 'SessionPage')
export type SessionPage = Static<typeof SessionPage>
