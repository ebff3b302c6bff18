/** At most `limit` uses or requests in each window of `windowSeconds`. */
export type Rate = { limit: number; windowSeconds: number }

/** The columns of a rate, of which both or neither are set. */
export type RateColumns = { rateLimit: number | null; rateWindowSeconds: number | null }

export const NO_RATE: RateColumns = { rateLimit: null, rateWindowSeconds: null }

/** A rate as requests and answers have it. */
type WrittenRate = { limit: number; window_seconds: number }

/** The rate in two columns; null: none. */
export function rateOf({ rateLimit, rateWindowSeconds }: RateColumns): Rate | null {
  if (rateLimit === null || rateWindowSeconds === null) return null
  return { limit: rateLimit, windowSeconds: rateWindowSeconds }
}

/** The columns of the rate that a key shares with the key that made it. */
export type RootRateColumns = {
  rateRoot: string | null
  rootRateLimit: number | null
  rootRateWindowSeconds: number | null
}

/** The rate of the key whose counter a key shares; null: none. */
export const rootRateOf = ({ rootRateLimit, rootRateWindowSeconds }: RootRateColumns): Rate | null =>
  rateOf({ rateLimit: rootRateLimit, rateWindowSeconds: rootRateWindowSeconds })

/** The columns of the rate that a request names; null: none. */
export const rateColumns = (rate: WrittenRate | null): RateColumns => ({
  rateLimit: rate?.limit ?? null,
  rateWindowSeconds: rate?.window_seconds ?? null,
})

/** The rate in two columns, as it is answered. */
export function presentRate(columns: RateColumns): WrittenRate | null {
  const rate = rateOf(columns)
  return rate && { limit: rate.limit, window_seconds: rate.windowSeconds }
}

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
