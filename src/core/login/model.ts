import { type Static, Type } from '@sinclair/typebox'
import { Id, Instant, nullable, pageOf, Role, ScopeList } from '../../lib/model.ts'
import { AuthenticationResponse } from '../second-factors/model.ts'
import { Credentials } from '../users/model.ts'

const authType = Type.Union([Type.Literal('jwt'), Type.Literal('api_key')])

export const Me = Type.Union(
  [
    Type.Object({
      type: Type.Literal('user'),
      id: Id,
      email: Type.String(),
      email_verified: Type.Boolean(),
      role: Role,
      is_active: Type.Boolean(),
      created_at: Instant,
      auth_type: authType,
      scopes: ScopeList,
    }),
    Type.Object({
      type: Type.Literal('service_account'),
      id: Id,
      name: Type.String(),
      auth_type: authType,
      scopes: ScopeList,
    }),
  ],
  { $id: 'Me' },
)
export type Me = Static<typeof Me>

/** A log-in in a browser. `remember`: the cookie outlives the browser's window; ignored for admins. */
export const BrowserCredentials = Type.Object(
  { ...Credentials.properties, remember: Type.Optional(Type.Boolean()) },
  { $id: 'BrowserCredentials', additionalProperties: false },
)
export type BrowserCredentials = Static<typeof BrowserCredentials>

/** What a passkey answers, for a log-in in a browser. */
export const BrowserPasskeyLogin = Type.Object(
  { response: AuthenticationResponse, remember: Type.Optional(Type.Boolean()) },
  { $id: 'BrowserPasskeyLogin', additionalProperties: false },
)

const chosenPassword = Type.String({ maxLength: 8192 })

export const PasswordChange = Type.Object(
  {
    current_password: Type.Optional(
      Type.String({ maxLength: 8192, description: 'Left out where the account has no password' }),
    ),
    new_password: chosenPassword,
    revoke_keys: Type.Optional(Type.Boolean({ description: "End the user's API keys too" })),
  },
  { $id: 'PasswordChange', additionalProperties: false },
)
export type PasswordChange = Static<typeof PasswordChange>

export const PasswordReset = Type.Object(
  {
    token: Type.String({ maxLength: 4096 }),
    new_password: chosenPassword,
    revoke_keys: Type.Optional(Type.Boolean()),
  },
  { $id: 'PasswordReset', additionalProperties: false },
)
export type PasswordReset = Static<typeof PasswordReset>

export const PasswordResetToken = Type.Object(
  { token: Type.String(), expires_at: Instant },
  { $id: 'PasswordResetToken' },
)
export type PasswordResetToken = Static<typeof PasswordResetToken>

/** A one-time token that is not used yet, without the token. */
const PendingReset = Type.Object({
  id: Id,
  created_by: nullable(Id, 'The admin who made it'),
  created_at: Instant,
  expires_at: Instant,
})
export type PendingReset = Static<typeof PendingReset>

export const PasswordResetPage = pageOf(PendingReset, 'PasswordResetPage')
