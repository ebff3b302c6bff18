/**
 * What the uses of one cached credential come to since the last batch (docs/decisions/0045). It is part of the cache's
 * entry, so that a use neither looks anything up nor allocates.
 */
export type Uses = {
  /** The end of the hour in which the uses were; 0: not used yet. */
  hourEndsMs: number
  count: number
  lastAtMs: number
  /** Whether the next batch knows of these uses. */
  isGathered: boolean
}

export const noUses = (): Uses => ({ hourEndsMs: 0, count: 0, lastAtMs: 0, isGathered: false })
