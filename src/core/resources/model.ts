import { type Static, Type } from '@sinclair/typebox'
import { Id, Instant, Name, nullable, pageOf, READABLE, wordOf } from '../../lib/model.ts'
import { MAX_SCOPES } from '../../lib/scopes.ts'

export const MAX_IDENTIFIER_LENGTH = 500

const GrantableBy = wordOf(
  ['everyone', 'ceiling'],
  '`everyone`: any active person may grant it; `ceiling`: only one whose own scopes hold it, and admins',
)
/** People read it where they are asked for consent. */
const ScopeDescription = Type.String({ minLength: 1, maxLength: 500, pattern: READABLE })

const ScopeOfResource = Type.Object(
  { name: Type.String(), description: Type.String(), grantable_by: GrantableBy },
  { $id: 'ResourceScope' },
)

const NewScope = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 64 }),
    description: ScopeDescription,
    grantable_by: Type.Optional(GrantableBy),
  },
  { $id: 'NewResourceScope', additionalProperties: false },
)
export type NewScope = Static<typeof NewScope>

export const Resource = Type.Object(
  {
    id: Id,
    identifier: Type.String({ description: 'The `aud` of its tokens' }),
    name: Type.String(),
    slug: Type.String({
      description: 'Its name in `resource=` of forward-auth, and in the path of its metadata',
    }),
    scopes: Type.Array(ScopeOfResource),
    token_lifetime_seconds: nullable(Type.Integer(), 'null: `ACCESS_TOKEN_EXPIRE_MINUTES`, an hour at most'),
    is_active: Type.Boolean(),
    is_own: Type.Boolean({ description: "Latchkey's own resource, which always exists and never changes" }),
    created_at: nullable(Instant, "null: Latchkey's own"),
    created_by: nullable(Id, 'The admin who made it; null: that user is gone, or the command line made it'),
  },
  { $id: 'Resource' },
)
export type Resource = Static<typeof Resource>

export const ResourcePage = pageOf(Resource, 'ResourcePage')

const Slug = Type.String({
  minLength: 1,
  maxLength: 50,
  pattern: '^[a-z0-9-]+$',
  error: 'Must be 1 to 50 small letters, digits and "-"',
})
const Lifetime = nullable(Type.Integer({ minimum: 60, maximum: 3600 }))
const Scopes = Type.Array(NewScope, { maxItems: MAX_SCOPES })

export const NewResource = Type.Object(
  {
    identifier: Type.String({ minLength: 1, maxLength: MAX_IDENTIFIER_LENGTH }),
    name: Name,
    slug: Slug,
    scopes: Scopes,
    token_lifetime_seconds: Type.Optional(Lifetime),
  },
  { $id: 'NewResource', additionalProperties: false },
)
export type NewResource = Static<typeof NewResource>

export const ResourcePatch = Type.Object(
  {
    name: Type.Optional(Name),
    slug: Type.Optional(Slug),
    scopes: Type.Optional(Scopes),
    token_lifetime_seconds: Type.Optional(Lifetime),
    is_active: Type.Optional(Type.Boolean()),
  },
  { $id: 'ResourcePatch', additionalProperties: false },
)
export type ResourcePatch = Static<typeof ResourcePatch>
