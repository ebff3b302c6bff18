/** At most `limit` uses or requests in each window of `windowSeconds`. */
export type Rate = { limit: number; windowSeconds: number }

/**
 * Whether `inner` never allows more uses than `outer`, over any span as long as outer's window. null means no
 * limit. Two cases are within. Either inner has a window that is no shorter and a limit that is no higher. Or
 * inner has a shorter window, and all of its windows that such a span can touch allow together no more than
 * outer does; a span can touch one window more than fit into it.
 */
export function isRateWithin(inner: Rate | null, outer: Rate | null): boolean {
  if (outer === null) return true
  if (inner === null) return false
  if (inner.windowSeconds >= outer.windowSeconds && inner.limit <= outer.limit) return true
  const windows = Math.ceil(outer.windowSeconds / inner.windowSeconds) + 1
  return inner.limit * windows <= outer.limit
}
