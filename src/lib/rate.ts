/** At most `limit` uses or requests in each window of so many seconds. */
export type Rate = { limit: number; windowSeconds: number }

/** Whether `inner` never allows more than `outer`; null is no limit. */
export function isRateWithin(inner: Rate | null, outer: Rate | null): boolean {
  if (outer === null) return true
  return inner !== null && inner.limit <= outer.limit && inner.windowSeconds >= outer.windowSeconds
}
