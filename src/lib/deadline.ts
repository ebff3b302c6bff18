import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * The time that one request may wait in all for the database and for password hashing (docs/decisions/0015).
 * Each single wait is bounded too, but a request that waits several times needs a bound on the sum. With the
 * rest of its work, a request is then answered within five seconds.
 */
const REQUEST_MS = 4_000

/** `leftMs` is correct as of `since`. It shrinks while at least one wait is in progress. */
type Deadline = { leftMs: number; underWay: number; since: number }

const deadlines = new AsyncLocalStorage<Deadline>()

/**
 * Runs a request with its own deadline. Work outside of a request has no deadline.
 * @param waitedMs what of it has passed already
 */
export function withDeadline<T>(request: () => T, waitedMs = 0): T {
  return deadlines.run({ leftMs: REQUEST_MS - waitedMs, underWay: 0, since: 0 }, request)
}

/**
 * The milliseconds that the current request may still wait: zero or less after its deadline, Infinity outside
 * of a request.
 */
export function remainingMs(): number {
  const deadline = deadlines.getStore()
  if (!deadline) return Infinity
  return deadline.leftMs - (deadline.underWay > 0 ? performance.now() - deadline.since : 0)
}

/**
 * Runs `work` and subtracts its duration from the time that the current request may still wait. Waits that
 * overlap are counted once.
 */
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
