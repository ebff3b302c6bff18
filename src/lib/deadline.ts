import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * How long one request may wait in all, for the database and for passwords to be hashed, however many times it waits.
 * The rest of its work included, it is then answered within five seconds even if neither ever comes free.
 */
const REQUEST_MS = 4_000

/** `leftMs` as of `since`; it shrinks while at least one wait is under way. */
type Deadline = { leftMs: number; underWay: number; since: number }

const deadlines = new AsyncLocalStorage<Deadline>()

/** Runs a request with a deadline of its own. Work outside of any request has none. */
export function withDeadline<T>(request: () => T): T {
  return deadlines.run({ leftMs: REQUEST_MS, underWay: 0, since: 0 }, request)
}

/** How many milliseconds the present request may still wait: zero or less once its time is up, Infinity outside of any. */
export function remainingMs(): number {
  const deadline = deadlines.getStore()
  if (!deadline) return Infinity
  return deadline.leftMs - (deadline.underWay > 0 ? performance.now() - deadline.since : 0)
}

/** Runs `work`, which waits, and takes its time off what the present request may still wait. */
export async function countTowardsDeadline<T>(work: () => Promise<T>): Promise<T> {
  const deadline = deadlines.getStore()
  if (!deadline) return work()
  if (deadline.underWay++ === 0) deadline.since = performance.now()
  try {
    return await work()
  } finally {
    if (--deadline.underWay === 0) deadline.leftMs -= performance.now() - deadline.since
  }
}
