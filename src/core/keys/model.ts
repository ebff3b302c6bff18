import { type Static, Type } from '@sinclair/typebox'
import {
  Description,
  ExternalId,
  Flag,
  Id,
  Instant,
  Name,
  nullable,
  RateLimit,
  READABLE,
  ScopeInput,
  ScopeList,
  wordOf,
} from '../../lib/model.ts'
import { MAX_CREDENTIAL_LENGTH } from '../../lib/tokens.ts'
import { Credits, CreditsPatch } from '../credits/model.ts'

export const MAX_EXPIRE_DAYS = 36_500
export const MAX_OVERLAP_SECONDS = 2_592_000
/** How long the old secret of a key still works after a rotation that names no overlap. */
export const DEFAULT_OVERLAP_SECONDS = 86_400

export const Metadata = Type.Record(Type.String(), Type.Unknown(), { description: 'JSON of at most 4 KiB' })

/** Null is named too: it takes the same scope as a value. */
const LABEL = 'To set or change it takes `latchkey:keys.label`'

export const Networks = Type.Array(Type.String({ maxLength: 64, examples: ['192.0.2.0/24'] }), {
  maxItems: 50,
})

export const NewKey = Type.Object(
  {
    name: Type.Optional(Name),
    description: Type.Optional(Description),
    external_id: Type.Optional(nullable(ExternalId, LABEL)),
    metadata: Type.Optional(nullable(Metadata, LABEL)),
    scopes: Type.Optional(ScopeInput),
    expires_in_days: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_EXPIRE_DAYS })),
    expires_at: Type.Optional(Instant),
    service_account_id: Type.Optional(Id),
    rate_limit: Type.Optional(RateLimit),
    credits: Type.Optional(Credits),
    allowed_ips: Type.Optional(Networks),
  },
  { $id: 'NewKey', additionalProperties: false },
)
export type NewKey = Static<typeof NewKey>

export const KeyPatch = Type.Object(
  {
    name: Type.Optional(nullable(Name)),
    description: Type.Optional(nullable(Description)),
    external_id: Type.Optional(nullable(ExternalId, LABEL)),
    metadata: Type.Optional(nullable(Metadata, LABEL)),
    scopes: Type.Optional(nullable(ScopeInput)),
    expires_at: Type.Optional(nullable(Instant)),
    rate_limit: Type.Optional(nullable(RateLimit)),
    credits: Type.Optional(nullable(CreditsPatch)),
    allowed_ips: Type.Optional(nullable(Networks)),
    is_active: Type.Optional(Type.Boolean()),
  },
  { $id: 'KeyPatch', additionalProperties: false },
)
export type KeyPatch = Static<typeof KeyPatch>

export const Rotation = Type.Union([
  Type.Object(
    {
      overlap_seconds: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: MAX_OVERLAP_SECONDS,
          description: `${DEFAULT_OVERLAP_SECONDS} unless given`,
        }),
      ),
    },
    { $id: 'KeyRotation', additionalProperties: false },
  ),
  Type.Null(),
])
export type Rotation = Static<typeof Rotation>

const Secret = Type.Object({
  id: Id,
  start: Type.String(),
  created_at: Instant,
  expires_at: nullable(Instant),
  last_used_at: nullable(Instant),
})

/** The statuses of a key. A key has the first one that holds. */
const STATUSES = [
  'revoked',
  'expired',
  'disabled',
  'owner_disabled',
  'exhausted',
  'expiring',
  'unused',
  'active',
] as const
export type KeyStatus = (typeof STATUSES)[number]

/** The statuses that a list is narrowed by: `exhausted` changes with every use. */
export const LISTED_STATUSES = [
  'revoked',
  'expired',
  'disabled',
  'owner_disabled',
  'expiring',
  'unused',
  'active',
] as const satisfies readonly KeyStatus[]
export type ListedStatus = (typeof LISTED_STATUSES)[number]

const members = {
  id: Id,
  name: nullable(Type.String()),
  description: nullable(Type.String()),
  external_id: nullable(Type.String()),
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
  rate_limit: nullable(RateLimit),
  credits: nullable(Credits),
  allowed_ips: nullable(Type.Array(Type.String())),
  metadata: nullable(Metadata),
  status: wordOf(STATUSES),
  status_reason: nullable(Type.String(), 'Why, in a sentence; null: active'),
  secrets: Type.Array(Secret),
}

export const Key = Type.Object(members, { $id: 'Key' })
export type Key = Static<typeof Key>

export const CreatedKey = Type.Object(
  { ...members, key: Type.String({ description: 'The key itself, shown this once' }) },
  { $id: 'CreatedKey' },
)
export type CreatedKey = Static<typeof CreatedKey>

/** Who owns a key, and what a person calls the owner. */
export const KeyOwner = Type.Object(
  {
    type: wordOf(['user', 'service_account']),
    id: Id,
    label: nullable(Type.String(), "The user's address or the service account's name"),
  },
  { $id: 'KeyOwner' },
)
export type KeyOwner = Static<typeof KeyOwner>

/** How a list of keys is sorted. */
export const KEY_SORTS = ['created_at', 'last_used_at', 'expires_at', 'name'] as const
export type KeySort = (typeof KEY_SORTS)[number]

/** Days of which a list shows the uses. */
export const USAGE_DAYS = 30

/** A key of a list, with what `expand` asked for. */
const ListedKey = Type.Object(
  {
    ...members,
    owner: Type.Optional(KeyOwner),
    usage: Type.Optional(
      Type.Array(Type.Integer(), {
        description: `Uses of each of the last ${USAGE_DAYS} days (UTC), the oldest first, today last`,
      }),
    ),
  },
  { $id: 'ListedKey' },
)
export type ListedKey = Static<typeof ListedKey>

export const KeyList = Type.Array(ListedKey, { $id: 'KeyList' })
export type KeyList = Static<typeof KeyList>

export const KeyEnded = Type.Object({ message: Type.String(), key_id: Id }, { $id: 'KeyEnded' })
export type KeyEnded = Static<typeof KeyEnded>

export const RevokeQuery = Type.Object(
  {
    reason: Type.Optional(Type.String({ maxLength: 500, pattern: READABLE })),
    created: Type.Optional(Flag),
  },
  { additionalProperties: false },
)
export type RevokeQuery = Static<typeof RevokeQuery>

export const KeyLookup = Type.Object(
  {
    hash: Type.Optional(
      Type.String({ pattern: '^[0-9a-fA-F]{64}$', description: 'SHA-256 of the whole key, in hexadecimal' }),
    ),
    key: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_CREDENTIAL_LENGTH })),
    start: Type.Optional(
      Type.String({ minLength: 6, maxLength: 32, description: 'The whole `start` of a secret' }),
    ),
  },
  { $id: 'KeyLookup', additionalProperties: false, description: 'Exactly one of these' },
)
export type KeyLookup = Static<typeof KeyLookup>

const FoundKey = Type.Object(
  {
    ...members,
    owner: KeyOwner,
    matched: Type.Object({
      start: Type.String(),
      state: wordOf(
        ['current', 'overlap', 'ended'],
        'Of the secret that was looked up: the newest, one that a rotation replaced, or one that is over',
      ),
    }),
  },
  { $id: 'FoundKey' },
)
export type FoundKey = Static<typeof FoundKey>

export const FoundKeys = Type.Object({ items: Type.Array(FoundKey) }, { $id: 'FoundKeys' })
export type FoundKeys = Static<typeof FoundKeys>

const OwnerId = Type.String({ maxLength: 64 })

export const KeysRevocation = Type.Object(
  {
    ids: Type.Optional(Type.Array(Type.String({ maxLength: 64 }), { maxItems: 1000 })),
    user_id: Type.Optional(OwnerId),
    service_account_id: Type.Optional(OwnerId),
    external_id: Type.Optional(ExternalId),
    all: Type.Optional(Type.Literal(true, { description: 'Admins only, with created_before' })),
    created_before: Type.Optional(Instant),
    reason: Type.Optional(Type.String({ maxLength: 500, pattern: READABLE })),
    dry_run: Type.Optional(Type.Boolean({ description: 'Counts, and revokes nothing' })),
  },
  {
    $id: 'KeysRevocation',
    additionalProperties: false,
    description: 'Exactly one of ids, user_id, service_account_id, external_id and all',
  },
)
export type KeysRevocation = Static<typeof KeysRevocation>

export const KeysRevoked = Type.Object(
  {
    revoked: Type.Integer(),
    remaining: Type.Integer({
      description: 'Live keys that are left, counted up to 100,000: ask again until it is 0',
    }),
  },
  { $id: 'KeysRevoked' },
)
export type KeysRevoked = Static<typeof KeysRevoked>
