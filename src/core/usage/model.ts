import { type Static, Type } from '@sinclair/typebox'
import { Id, Instant, nullable, wordOf } from '../../lib/model.ts'
import { CHECKS, USE_CODES, type UseCode } from '../../lib/outcomes.ts'

export const UsageQuery = Type.Object(
  {
    from: Type.Optional(Instant),
    to: Type.Optional(Instant),
    bucket: Type.Optional(Type.Union([Type.Literal('hour'), Type.Literal('day')])),
  },
  { additionalProperties: false },
)
export type UsageQuery = Static<typeof UsageQuery>

export const Usage = Type.Object(
  { items: Type.Array(Type.Object({ at: Instant, outcome: Type.String(), count: Type.Integer() })) },
  { $id: 'KeyUsage' },
)
export type Usage = Static<typeof Usage>

export const Refusals = Type.Object(
  {
    items: Type.Array(
      Type.Object({
        at: Instant,
        outcome: wordOf(CHECKS),
        ip: nullable(Type.String(), 'As the asking service gave it'),
        count: Type.Integer({ description: 'Refusals of the same outcome and address at that time' }),
      }),
    ),
    sampled: Type.Boolean({ description: 'There were more: usage has their number' }),
  },
  { $id: 'KeyRefusals' },
)
export type Refusals = Static<typeof Refusals>

const Count = Type.Integer()

/** Uses by outcome; every outcome is named. */
export const Counts = Type.Object(
  Object.fromEntries(USE_CODES.map((code) => [code, Count])) as Record<UseCode, typeof Count>,
  { $id: 'UsageCounts' },
)
export type Counts = Static<typeof Counts>

export const UsageTotals = Type.Object(
  {
    as_of: Instant,
    buckets: Type.Array(Type.Object({ at: Instant, counts: Counts }), { description: 'Oldest first' }),
    totals: Counts,
    top: Type.Array(Type.Object({ id: Id, label: nullable(Type.String()), counts: Counts }), {
      description: 'The keys or owners with the most uses, as `group` asks; without it none',
    }),
  },
  { $id: 'UsageTotals' },
)
export type UsageTotals = Static<typeof UsageTotals>

export const USAGE_BUCKETS = ['hour', 'day'] as const
export const USAGE_GROUPS = ['outcome', 'key', 'owner'] as const

/** What is asked about the uses of many keys. */
export type TotalsQuery = {
  from?: string
  to?: string
  bucket?: (typeof USAGE_BUCKETS)[number]
  time_zone?: string
  group?: (typeof USAGE_GROUPS)[number]
  limit?: number
  user_id?: string
  service_account_id?: string
  external_id?: string
}
