import { type Static, Type } from '@sinclair/typebox'
import {
  Description,
  ExternalId,
  Id,
  Instant,
  Name,
  nullable,
  OwnerRate,
  pageOf,
  RateLimit,
  ScopeInput,
  ScopeList,
  wordOf,
} from '../../lib/model.ts'
import { Credits, CreditsPatch, OwnerCredits } from '../credits/model.ts'

const Manager = Type.Object({ type: wordOf(['user', 'service_account']), id: Id }, { $id: 'Manager' })

export const ServiceAccount = Type.Object(
  {
    id: Id,
    name: Type.String(),
    description: nullable(Type.String()),
    scopes: ScopeList,
    is_active: Type.Boolean(),
    external_id: nullable(
      Type.String(),
      'The id of its customer in your system; no two accounts have the same',
    ),
    rate_limit: OwnerRate,
    credits: OwnerCredits,
    managers: Type.Array(Manager, { description: 'Who manages it besides admins' }),
    created_by: nullable(
      Id,
      'The user who made it, which gives no power; null: that user is gone, or a key made it',
    ),
    created_at: Instant,
  },
  { $id: 'ServiceAccount' },
)
export type ServiceAccount = Static<typeof ServiceAccount>

export const ServiceAccountPage = pageOf(ServiceAccount, 'ServiceAccountPage')
export type ServiceAccountPage = Static<typeof ServiceAccountPage>

export const NewServiceAccount = Type.Object(
  {
    name: Name,
    description: Type.Optional(Description),
    scopes: Type.Optional(ScopeInput),
  },
  { $id: 'NewServiceAccount', additionalProperties: false },
)
export type NewServiceAccount = Static<typeof NewServiceAccount>

export const ServiceAccountPut = Type.Object(
  {
    external_id: ExternalId,
    name: Type.Optional(Name),
    description: Type.Optional(Description),
    scopes: Type.Optional(ScopeInput),
    rate_limit: Type.Optional(RateLimit),
    credits: Type.Optional(Credits),
  },
  { $id: 'ServiceAccountPut', additionalProperties: false },
)
export type ServiceAccountPut = Static<typeof ServiceAccountPut>

export const NewManager = Type.Object(
  {
    user_id: Type.Optional(Type.String({ maxLength: 64 })),
    email: Type.Optional(
      Type.String({ maxLength: 1024, description: 'The verified address of an active user' }),
    ),
    service_account_id: Type.Optional(Type.String({ maxLength: 64 })),
  },
  { $id: 'NewManager', additionalProperties: false, description: 'Exactly one of these' },
)
export type NewManager = Static<typeof NewManager>

export const ServiceAccountPatch = Type.Object(
  {
    name: Type.Optional(Name),
    description: Type.Optional(nullable(Description)),
    scopes: Type.Optional(nullable(ScopeInput)),
    is_active: Type.Optional(Type.Boolean()),
    external_id: Type.Optional(nullable(ExternalId)),
    rate_limit: Type.Optional(nullable(RateLimit)),
    credits: Type.Optional(nullable(CreditsPatch)),
  },
  { $id: 'ServiceAccountPatch', additionalProperties: false },
)
export type ServiceAccountPatch = Static<typeof ServiceAccountPatch>
