import { Type } from '@sinclair/typebox'
import { nullable, READABLE } from '../../lib/model.ts'

/** The shapes of what a key is given: by a request, or by an import, which takes them from files too. */

const MAX_CREDITS = 1_000_000_000_000

export const ExternalId = Type.String({ minLength: 1, maxLength: 255, pattern: READABLE })
export const Metadata = Type.Record(Type.String(), Type.Unknown(), { description: 'JSON of at most 4 KiB' })

export const RateLimit = Type.Object(
  {
    limit: Type.Integer({ minimum: 1, maximum: 1_000_000_000 }),
    window_seconds: Type.Integer({ minimum: 1, maximum: 2_592_000 }),
  },
  { $id: 'KeyRateLimit', additionalProperties: false },
)

const Refill = Type.Object(
  {
    amount: Type.Integer({ minimum: 1, maximum: MAX_CREDITS }),
    interval: Type.Union([Type.Literal('daily'), Type.Literal('monthly')], {
      description: 'UTC midnight, or the first of the month',
    }),
  },
  { additionalProperties: false },
)

export const Credits = Type.Object(
  {
    remaining: Type.Integer({ minimum: 0, maximum: MAX_CREDITS }),
    refill: Type.Optional(nullable(Refill)),
  },
  { $id: 'KeyCredits', additionalProperties: false },
)

export const Networks = Type.Array(Type.String({ maxLength: 64, examples: ['192.0.2.0/24'] }), {
  maxItems: 50,
})
