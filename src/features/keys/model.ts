import { Type } from '@sinclair/typebox'
import { Id, Instant, Name, nullable, READABLE, ScopeInput, ScopeList } from '../../lib/model.ts'

const MAX_EXPIRE_DAYS = 36_500

export const NewKey = Type.Object(
  {
    name: Type.Optional(Name),
    scopes: Type.Optional(ScopeInput),
    expires_in_days: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_EXPIRE_DAYS })),
    expires_at: Type.Optional(Instant),
    service_account_id: Type.Optional(Id),
  },
  { $id: 'NewKey', additionalProperties: false },
)

const Secret = Type.Object({
  start: Type.String(),
  created_at: Instant,
  expires_at: nullable(Instant),
  last_used_at: nullable(Instant),
})

const members = {
  id: Id,
  name: nullable(Type.String()),
  user_id: nullable(Id),
  service_account_id: nullable(Id),
  is_active: Type.Boolean(),
  scopes: ScopeList,
  start: Type.String({ examples: ['sk_AbCdEfGh'] }),
  created_at: Instant,
  created_by: nullable(Id),
  expires_at: nullable(Instant),
  revoked_at: nullable(Instant),
  revoked_reason: nullable(Type.String()),
  last_used_at: nullable(Instant),
  secrets: Type.Array(Secret),
}

export const Key = Type.Object(members, { $id: 'Key' })

export const CreatedKey = Type.Object(
  { ...members, key: Type.String({ description: 'The key itself, shown this once' }) },
  { $id: 'CreatedKey' },
)

export const KeyList = Type.Array(Key, { $id: 'KeyList' })

export const KeyEnded = Type.Object({ message: Type.String(), key_id: Id }, { $id: 'KeyEnded' })

export const RevokeQuery = Type.Object(
  {
    reason: Type.Optional(Type.String({ maxLength: 500, pattern: READABLE })),
    created: Type.Optional(Type.Union([Type.Literal('true'), Type.Literal('false')])),
  },
  { additionalProperties: false },
)

export const KeyQuery = Type.Object(
  { service_account_id: Type.Optional(Type.String({ maxLength: 64 })) },
  { additionalProperties: false },
)
