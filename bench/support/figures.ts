import type { Figure } from './entry.ts'

/** The median of some values, with the least and the greatest. */
export function figureOf(values: readonly number[]): Figure {
  return { middle: median(values), least: Math.min(...values), greatest: Math.max(...values) }
}

/** The middle value, or the mean of the two middle values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  const around = sorted.slice(Math.ceil(middle) - 1, Math.floor(middle) + 1)
  return around.reduce((sum, value) => sum + value, 0) / around.length
}
