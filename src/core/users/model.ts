import { type Static, Type } from '@sinclair/typebox'
import {
  Id,
  Instant,
  nullable,
  OwnerRate,
  pageOf,
  RateLimit,
  Role,
  ScopeInput,
  ScopeList,
} from '../../lib/model.ts'
import { Credits, CreditsPatch, OwnerCredits } from '../credits/model.ts'

/** An address as a person types it. */
const TypedEmail = Type.String({ maxLength: 1024, examples: ['user@example.com'] })

/**
 * The body of sign-up and log-in. Other members are ignored, as the seed did, so a `role` has no effect. Routes must
 * pick the two known members: a body that is handed on whole could set parameters that are not meant for the sender.
 */
export const Credentials = Type.Object(
  {
    email: TypedEmail,
    password: Type.String({ maxLength: 8192, examples: ['securepassword'] }),
  },
  { $id: 'Credentials', additionalProperties: true },
)
export type Credentials = Static<typeof Credentials>

export const User = Type.Object(
  { id: Id, email: Type.String(), role: Role, is_active: Type.Boolean(), created_at: Instant },
  { $id: 'User' },
)
export type User = Static<typeof User>

/** A user, as the API answers admins. */
export const AdministeredUser = Type.Object(
  {
    id: Id,
    email: Type.String(),
    email_verified: Type.Boolean(),
    role: Role,
    is_active: Type.Boolean(),
    scopes: nullable(ScopeList, "The user's own ceiling; null: USER_SCOPES"),
    rate_limit: OwnerRate,
    credits: OwnerCredits,
    created_at: Instant,
  },
  { $id: 'AdministeredUser' },
)
export type AdministeredUser = Static<typeof AdministeredUser>

/** One user as admins see them, with what is theirs now. */
export const UserDetail = Type.Object(
  {
    ...AdministeredUser.properties,
    last_login_at: nullable(Instant, 'As far as the audit trail reaches back'),
    mfa: Type.Object(
      { totp: Type.Boolean(), passkeys: Type.Integer(), recovery_codes_left: Type.Integer() },
      { description: 'The second factors of the user' },
    ),
    counts: Type.Object(
      { keys: Type.Integer(), service_accounts: Type.Integer(), sessions: Type.Integer() },
      { description: 'Live keys, the service accounts that the user manages, live sessions' },
    ),
  },
  { $id: 'UserDetail' },
)
export type UserDetail = Static<typeof UserDetail>

/** A service account, as far as it is named where its manager ends. */
export const ManagedAccount = Type.Object({ id: Id, name: Type.String() })
export type ManagedAccount = Static<typeof ManagedAccount>

const managedAlone = Type.Array(ManagedAccount, {
  description: 'The service accounts that this user alone manages',
})

/** A changed user, with `service_accounts` where the change disabled the user. */
export const ChangedUser = Type.Object(
  { ...AdministeredUser.properties, service_accounts: Type.Optional(managedAlone) },
  { $id: 'ChangedUser' },
)

export const DeletedUser = Type.Object({ service_accounts: managedAlone }, { $id: 'DeletedUser' })

export const UserPage = pageOf(AdministeredUser, 'UserPage')
export type UserPage = Static<typeof UserPage>

export const NewUser = Type.Object(
  {
    email: TypedEmail,
    password: Type.Optional(Type.String({ maxLength: 8192 })),
    role: Type.Optional(Role),
    email_verified: Type.Optional(Type.Boolean()),
    rate_limit: Type.Optional(RateLimit),
    credits: Type.Optional(Credits),
    invite: Type.Optional(Type.Boolean({ description: 'Mail a link by which the user sets a password' })),
  },
  { $id: 'NewUser', additionalProperties: false },
)
export type NewUser = Static<typeof NewUser>

export const UserPatch = Type.Object(
  {
    email: Type.Optional(TypedEmail),
    role: Type.Optional(Role),
    is_active: Type.Optional(Type.Boolean()),
    scopes: Type.Optional(nullable(ScopeInput)),
    rate_limit: Type.Optional(nullable(RateLimit)),
    email_verified: Type.Optional(Type.Boolean()),
    credits: Type.Optional(nullable(CreditsPatch)),
  },
  { $id: 'UserPatch', additionalProperties: false },
)
export type UserPatch = Static<typeof UserPatch>
