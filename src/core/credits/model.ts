import { type Static, Type } from '@sinclair/typebox'
import { nullable, wordOf } from '../../lib/model.ts'
import { MAX_CREDITS } from './refills.ts'

const Refill = Type.Object(
  {
    amount: Type.Integer({ minimum: 1, maximum: MAX_CREDITS }),
    interval: wordOf(['daily', 'weekly', 'monthly']),
    day: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 31,
        description:
          'weekly: 1 (Monday, unless given) to 7; monthly: 1 (unless given) to 31, or the last day of a shorter month; not with daily',
      }),
    ),
    hour: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 23, description: 'By the local clock; 0 unless given' }),
    ),
    time_zone: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        description: 'Of IANA; UTC unless given',
        examples: ['Europe/Berlin'],
      }),
    ),
    mode: Type.Optional(
      wordOf(
        ['set', 'add'],
        '`set`, unless given: raises the credits to the amount; `add`: adds the amount for each interval, up to `max`',
      ),
    ),
    max: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_CREDITS,
        description: 'With add alone, and at least the amount; ten times the amount unless given',
      }),
    ),
  },
  { additionalProperties: false },
)
export type RefillBody = Static<typeof Refill>

const remaining = Type.Integer({ minimum: 0, maximum: MAX_CREDITS })

export const Credits = Type.Object(
  { remaining, refill: Type.Optional(nullable(Refill)) },
  { $id: 'Credits', additionalProperties: false },
)
export type Credits = Static<typeof Credits>

/** A change of credits: what is not named stays. */
export const CreditsPatch = Type.Object(
  {
    remaining: Type.Optional(remaining),
    refill: Type.Optional(nullable(Refill, 'Replaced as a whole; null: no refill')),
  },
  { $id: 'CreditsPatch', additionalProperties: false },
)
export type CreditsPatch = Static<typeof CreditsPatch>

/** The credits of a user or a service account, as answers show them. */
export const OwnerCredits = nullable(
  Credits,
  'What the uses of all of its keys are charged to, besides their own credits; null: nothing is counted',
)

/** A change of what remains; which one of the two it is, `readTopUp` says. */
export const TopUp = Type.Object(
  {
    add: Type.Optional(
      Type.Integer({
        minimum: -MAX_CREDITS,
        maximum: MAX_CREDITS,
        description: 'Added to what remains; not 0, and below 0 it is taken away',
      }),
    ),
    set: Type.Optional(
      Type.Integer({ minimum: 0, maximum: MAX_CREDITS, description: 'What remains from then on' }),
    ),
  },
  { $id: 'TopUp', additionalProperties: false, description: 'Exactly one of these' },
)
export type TopUp = Static<typeof TopUp>

export const RemainingCredits = Type.Object({ remaining }, { $id: 'RemainingCredits' })
export type RemainingCredits = Static<typeof RemainingCredits>
