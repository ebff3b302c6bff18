import { type Static, Type } from '@sinclair/typebox'
import { Id, Instant, nullable, Role, ScopeList, wordOf } from '../../lib/model.ts'
import { CHECKS, USE_CODES } from '../../lib/outcomes.ts'

/** Where a verifier was asked: its three questions, forward-auth, or a route whose caller is a key. */
export const ENTRY_POINTS = ['keys_verify', 'verify', 'forward_auth', 'caller'] as const
export type EntryPoint = (typeof ENTRY_POINTS)[number]

/** Without this length, `urn:uuid:` before it would fit, which the database does not read. */
const UUID = { format: 'uuid', maxLength: 36 }
const Uuid = Type.String(UUID)

const MAX_COST = 1_000_000
/** The year 9999. */
const LATEST_SECONDS = 253_402_300_799
const Text = (maxLength: number) => Type.String({ maxLength })
const Hash = Type.String({ pattern: '^[0-9a-f]{64}$', description: 'SHA-256 of the key, in hexadecimal' })

/** The claims of an access token that stands for a key. The verifier has checked its signature. */
const Token = Type.Object(
  {
    jti: Uuid,
    sub: Uuid,
    sid: Uuid,
    aud: Text(500),
    kid: Text(255),
    scope: Text(4000),
    exp: Type.Integer({ minimum: 0, maximum: LATEST_SECONDS }),
  },
  { additionalProperties: false },
)

/** What a verifier asks home about a key. Never the key itself. */
export const RegionQuestion = Type.Object(
  {
    credential: Type.Object(
      { hash: Type.Optional(Hash), token: Type.Optional(Token) },
      { additionalProperties: false, description: 'One of both' },
    ),
    entry_point: wordOf(ENTRY_POINTS, 'Where the verifier was asked'),
    scopes: Type.Array(Text(64), { maxItems: 50 }),
    cost: Type.Optional(
      Type.Integer({ minimum: 0, maximum: MAX_COST, description: 'Credits; unless given, none are counted' }),
    ),
    ip: Type.Optional(Type.String({ maxLength: 64, description: "The client's address, where it is known" })),
    resource: Type.Optional(
      Type.String({ maxLength: 500, description: 'For which the token was made; none: a key itself' }),
    ),
    counts_rate: Type.Boolean({ description: 'false: the region has counted the rates itself' }),
  },
  { $id: 'RegionQuestion', additionalProperties: false },
)
export type RegionQuestion = Static<typeof RegionQuestion>

const Left = Type.Object({
  of: wordOf(['root', 'key', 'owner'], 'Whose rate it is'),
  limit: Type.Integer(),
  remaining: Type.Integer(),
  reset_at: Instant,
})

const Owner = Type.Union([
  Type.Object({ type: Type.Literal('service_account'), id: Id, name: Type.String() }),
  Type.Object({
    type: Type.Literal('user'),
    id: Id,
    email: Type.String(),
    email_verified: Type.Boolean(),
    role: Role,
  }),
])

/** What came of the use of a key. Its members depend on `code`. */
export const RegionAnswer = Type.Object(
  {
    code: wordOf(['NOT_FOUND', ...USE_CODES], 'As at /keys/verify'),
    missing_scopes: Type.Optional(ScopeList),
    limited_by: Type.Optional(wordOf(['key', 'owner'], 'Whose limit is used up')),
    limit: Type.Optional(Type.Integer({ description: 'Of the rate, or of the next refill of credits' })),
    retry_after_seconds: Type.Optional(nullable(Type.Integer())),
    credits: Type.Optional(nullable(Type.Integer(), 'What remains; null: there are none to count')),
    owner_credits: Type.Optional(nullable(Type.Integer())),
    rates: Type.Optional(nullable(Type.Array(Left, { maxItems: 3 }))),
    key: Type.Optional(
      Type.Object({
        name: nullable(Type.String()),
        external_id: nullable(Type.String()),
        metadata: nullable(Type.Record(Type.String(), Type.Unknown())),
        scopes: ScopeList,
        ends_at: nullable(Instant),
        owner: Owner,
      }),
    ),
  },
  { $id: 'RegionAnswer' },
)
export type RegionAnswer = Static<typeof RegionAnswer>

/** The most of each list in a report: together they stay below the 1 MiB that home takes. */
export const MAX_REPORTED = { counts: 3000, last_uses: 3000, refusals: 1000 } as const
export const MAX_REPORT_BYTES = 1024 * 1024
const MAX_ITEMS = 10_000
const Count = Type.Integer({ minimum: 1, maximum: 1_000_000_000 })

/** The usage of a verifier. */
export const UsageReport = Type.Object(
  {
    id: Type.String({ ...UUID, description: 'A report that comes again is applied once' }),
    region: Type.String({ pattern: '^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$', description: 'REGION_NAME' }),
    counts: Type.Array(
      Type.Object(
        { key_id: Uuid, hour: Instant, outcome: wordOf(USE_CODES, 'As at /keys/verify'), count: Count },
        { additionalProperties: false },
      ),
      { maxItems: MAX_ITEMS },
    ),
    last_uses: Type.Array(Type.Object({ secret_id: Uuid, at: Instant }, { additionalProperties: false }), {
      maxItems: MAX_ITEMS,
    }),
    refusals: Type.Array(
      Type.Object(
        {
          key_id: Uuid,
          at: Instant,
          outcome: wordOf(CHECKS, 'Why the key was refused'),
          ip: nullable(Text(64)),
          count: Count,
        },
        { additionalProperties: false },
      ),
      { maxItems: MAX_ITEMS },
    ),
  },
  { $id: 'UsageReport', additionalProperties: false },
)
export type UsageReport = Static<typeof UsageReport>

export const ReportReceipt = Type.Object(
  { applied: Type.Boolean({ description: 'false: it was applied before' }) },
  { $id: 'ReportReceipt' },
)
export type ReportReceipt = Static<typeof ReportReceipt>
