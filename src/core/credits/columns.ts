import type { apiKeyCredits } from '../../db/schema.ts'
import type { Credits } from './refills.ts'

/** The columns that the credits of keys and of owners have in common. */
export type CreditColumns = Omit<typeof apiKeyCredits.$inferSelect, 'keyId'>

/** The credits that columns hold. */
export function readColumns(columns: CreditColumns): Credits {
  const { remaining, refillAmount: amount, refillInterval: interval, refillsAt } = columns
  const { refillDay: day, refillHour: hour, refillTimeZone: timeZone, refillMode: mode } = columns
  const refill =
    amount === null || interval === null
      ? null
      : { amount, interval, day, hour, timeZone, mode, max: columns.refillMax }
  return { remaining, refill, refillsAt }
}

/** The columns that hold credits. */
export const writeColumns = ({ remaining, refill, refillsAt }: Credits): CreditColumns => ({
  remaining,
  refillAmount: refill?.amount ?? null,
  refillInterval: refill?.interval ?? null,
  refillDay: refill?.day ?? null,
  refillHour: refill?.hour ?? null,
  refillTimeZone: refill?.timeZone ?? null,
  refillMode: refill?.mode ?? null,
  refillMax: refill?.max ?? null,
  refillsAt,
})
