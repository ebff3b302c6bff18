import { Type } from '@sinclair/typebox'
import { Id, Instant, Role, ScopeList } from '../../lib/model.ts'

/** Sign-up and login ignore other members, as the seed did: a `role` has no effect. */
export const Credentials = Type.Object(
  {
    email: Type.String({ maxLength: 1024, examples: ['user@example.com'] }),
    password: Type.String({ maxLength: 8192, examples: ['securepassword'] }),
  },
  { $id: 'Credentials', additionalProperties: true },
)

export const User = Type.Object(
  { id: Id, email: Type.String(), role: Role, is_active: Type.Boolean(), created_at: Instant },
  { $id: 'User' },
)

export const Tokens = Type.Object(
  {
    access_token: Type.String(),
    refresh_token: Type.String(),
    token_type: Type.Literal('bearer'),
    expires_in: Type.Integer({ description: 'Seconds' }),
  },
  { $id: 'Tokens' },
)

const authType = Type.Union([Type.Literal('jwt'), Type.Literal('api_key')])

export const Me = Type.Union(
  [
    Type.Object({
      type: Type.Literal('user'),
      id: Id,
      email: Type.String(),
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

const chosenPassword = Type.String({ maxLength: 8192 })

export const PasswordChangeBody = Type.Object(
  {
    current_password: chosenPassword,
    new_password: chosenPassword,
    revoke_keys: Type.Optional(Type.Boolean({ description: "End the user's API keys too" })),
  },
  { $id: 'PasswordChange', additionalProperties: false },
)

export const PasswordResetBody = Type.Object(
  { token: Type.String({ maxLength: 4096 }), new_password: chosenPassword },
  { $id: 'PasswordReset', additionalProperties: false },
)
