import { type Static, Type } from '@sinclair/typebox'
import { Description, Id, Instant, Name, nullable, pageOf, ScopeInput, ScopeList } from '../../lib/model.ts'

export const ServiceAccount = Type.Object(
  {
    id: Id,
    name: Type.String(),
    description: nullable(Type.String()),
    scopes: ScopeList,
    is_active: Type.Boolean(),
    created_by: nullable(Id, 'null: its maker is gone, and admins manage it'),
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

export const ServiceAccountPatch = Type.Object(
  {
    name: Type.Optional(Name),
    description: Type.Optional(nullable(Description)),
    scopes: Type.Optional(nullable(ScopeInput)),
    is_active: Type.Optional(Type.Boolean()),
  },
  { $id: 'ServiceAccountPatch', additionalProperties: false },
)
export type ServiceAccountPatch = Static<typeof ServiceAccountPatch>
