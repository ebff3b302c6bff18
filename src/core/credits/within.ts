import { type CreditColumns, writeColumns } from './columns.ts'
import { type Credits, fillToOf } from './refills.ts'

/**
 * Credits in the form in which `locked_settings` keeps them, without the time of the next refill. An earlier release wrote
 * fewer members.
 */
export type ComparedCredits = Pick<CreditColumns, 'remaining' | 'refillAmount' | 'refillInterval'> &
  Partial<Omit<CreditColumns, 'refillsAt'>>

export function compareCredits(credits: Credits): ComparedCredits {
  const { refillsAt: _, ...columns } = writeColumns(credits)
  return columns
}

const FREQUENCY = { monthly: 0, weekly: 1, daily: 2 }

/** Whether credits give no more than others; null: not limited. */
export function areCreditsWithin(inner: ComparedCredits | null, outer: ComparedCredits | null): boolean {
  if (outer === null) return true
  if (inner === null || inner.remaining > outer.remaining) return false
  if (inner.refillAmount === null || inner.refillInterval === null) return true
  if (outer.refillAmount === null || outer.refillInterval === null) return false
  return (
    inner.refillAmount <= outer.refillAmount &&
    FREQUENCY[inner.refillInterval] <= FREQUENCY[outer.refillInterval] &&
    isSameTime(inner, outer) &&
    isModeWithin(inner, outer)
  )
}

/** Moving a refill brings it earlier once, and by moving it again and again it could come every hour. */
function isSameTime(inner: ComparedCredits, outer: ComparedCredits): boolean {
  const isSameDay =
    inner.refillInterval !== outer.refillInterval || (inner.refillDay ?? 1) === (outer.refillDay ?? 1)
  const isSameHour = (inner.refillHour ?? 0) === (outer.refillHour ?? 0)
  return isSameDay && isSameHour && (inner.refillTimeZone ?? 'UTC') === (outer.refillTimeZone ?? 'UTC')
}

/** What is added piles up, and what is filled up to an amount does not. */
function isModeWithin(inner: ComparedCredits, outer: ComparedCredits): boolean {
  if (inner.refillMode !== 'add') return true
  return outer.refillMode === 'add' && maxOf(inner) <= maxOf(outer)
}

const maxOf = ({ refillMax = null, refillAmount }: ComparedCredits): number =>
  fillToOf({ amount: refillAmount ?? 0, max: refillMax })
