import { type Static, type TSchema, Type } from '@sinclair/typebox'

/** The schema of a member that may be null. */
export const nullable = <S extends TSchema>(schema: S, description?: string) =>
  Type.Union([schema, Type.Null()], description === undefined ? {} : { description })

/** The schema of a member that is one of some words. */
export const wordOf = <const Word extends string>(words: readonly Word[], description?: string) =>
  Type.Unsafe<Word>(
    Type.Union(
      words.map((word) => Type.Literal(word)),
      description === undefined ? {} : { description },
    ),
  )

export const Id = Type.String({ format: 'uuid' })
export const Instant = Type.String({ format: 'date-time' })

/** In the answers of a verifier with VERIFY_WHEN_STALE=allow. */
export const AsOf = Type.String({
  format: 'date-time',
  description: "In a region: when the region's copy was last proved to be up to date",
})

/** A boolean query parameter. */
export const Flag = Type.Union([Type.Literal('true'), Type.Literal('false')])

export const Role = Type.Union([Type.Literal('admin'), Type.Literal('user')])
export type Role = Static<typeof Role>

/** Text that a person can read: no control characters and no lone surrogates. */
export const READABLE =
  '^(?:[^\\u0000-\\u001f\\u007f-\\u009f\\ud800-\\udfff]|[\\ud800-\\udbff][\\udc00-\\udfff])*$'
/** Bytes in base64url (RFC 4648, section 5), without padding; also no bytes at all. */
export const BASE64URL = '^[A-Za-z0-9_-]*$'
/** The same as READABLE with tabs and line breaks. */
const READABLE_LINES =
  '^(?:[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\ud800-\\udfff]|[\\ud800-\\udbff][\\udc00-\\udfff])*$'

export const Name = Type.String({ minLength: 1, maxLength: 100, pattern: READABLE })
/** `readExternalId` brings it to NFC. */
export const ExternalId = Type.String({ minLength: 1, maxLength: 255, pattern: READABLE })
export const Description = Type.String({ maxLength: 500, pattern: READABLE_LINES })

/** At most `limit` uses in each window, of a key, or of all keys of an owner together. */
export const RateLimit = Type.Object(
  {
    limit: Type.Integer({ minimum: 1, maximum: 1_000_000_000 }),
    window_seconds: Type.Integer({ minimum: 1, maximum: 2_592_000 }),
  },
  { $id: 'KeyRateLimit', additionalProperties: false },
)

/** The rate of an owner, in answers. */
export const OwnerRate = nullable(RateLimit, 'What all keys of this owner share; null: no limit')

/** Scopes in answers are a list. */
export const ScopeList = Type.Array(Type.String())

/** Scopes in requests have four spellings; `parseScopes` reads them all. */
export const ScopeInput = Type.Union(
  [Type.String({ maxLength: 4096 }), Type.Array(Type.String({ maxLength: 64 }), { maxItems: 200 })],
  {
    description: '"read", "read,write", "read write" or ["read","write"]',
    examples: ['read'],
    error: 'Must be a string or a list of strings',
  },
)

/** The schema of one page of a list. */
export const pageOf = <S extends TSchema>(item: S, $id: string) =>
  Type.Object({ items: Type.Array(item), next_cursor: nullable(Type.String()) }, { $id })
