import { Type } from '@sinclair/typebox'
import { Id, Instant, nullable, pageOf, Role, ScopeInput, ScopeList } from '../../lib/model.ts'

/** A user as admins see them. */
export const AdministeredUser = Type.Object(
  {
    id: Id,
    email: Type.String(),
    email_verified: Type.Boolean(),
    role: Role,
    is_active: Type.Boolean(),
    scopes: nullable(ScopeList, "The user's own ceiling; null: USER_SCOPES"),
    created_at: Instant,
  },
  { $id: 'AdministeredUser' },
)

export const UserPage = pageOf(AdministeredUser, 'UserPage')

export const NewUserBody = Type.Object(
  {
    email: Type.String({ maxLength: 1024, examples: ['user@example.com'] }),
    password: Type.Optional(Type.String({ maxLength: 8192 })),
    role: Type.Optional(Role),
    email_verified: Type.Optional(Type.Boolean()),
  },
  { $id: 'NewUser', additionalProperties: false },
)

export const UserPatchBody = Type.Object(
  {
    role: Type.Optional(Role),
    is_active: Type.Optional(Type.Boolean()),
    scopes: Type.Optional(nullable(ScopeInput)),
    email_verified: Type.Optional(Type.Boolean()),
  },
  { $id: 'UserPatch', additionalProperties: false },
)

export const PasswordResetToken = Type.Object(
  { token: Type.String(), expires_at: Instant },
  { $id: 'PasswordResetToken' },
)
