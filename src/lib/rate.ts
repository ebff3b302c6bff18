/** At most `limit` uses or requests in each window of so many seconds. */
export type Rate = { limit: number; windowSeconds: number }

/**
 * Whether a limit lets no more uses through than another, over any span as long as the other's window; null is no limit.
 * It does not where fewer fit into a window that is no shorter, and where what fits into all the windows that such a span
 * can touch is no more than the other allows in one: one window more than lie in it.
 */
export function isRateWithin(inner: Rate | null, outer: Rate | null): boolean {
  if (outer === null) return true
  if (inner === null) return false
  if (inner.windowSeconds >= outer.windowSeconds && inner.limit <= outer.limit) return true
  const windows = Math.ceil(outer.windowSeconds / inner.windowSeconds) + 1
  return inner.limit * windows <= outer.limit
}
