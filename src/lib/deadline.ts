import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * How long one request may wait in all, for the database and for passwords to be hashed, however often it does: with
 * what else it has to do it is answered within five seconds, whatever becomes of either.
 */
const REQUEST_MS = 4_000

/** What is left of it; time passes while at least one wait is under way. */
type Allowance = { leftMs: number; underWay: number; since: number }

const allowances = new AsyncLocalStorage<Allowance>()

/** Runs a request, which has an allowance of its own. Work outside of any request has no such limit. */
export function withAllowance<T>(request: () => T): T {
  return allowances.run({ leftMs: REQUEST_MS, underWay: 0, since: 0 }, request)
}

/** How many milliseconds the present request may still wait; not above zero: its time is up. */
export function allowedMs(): number {
  const allowance = allowances.getStore()
  if (!allowance) return Infinity
  return allowance.leftMs - (allowance.underWay > 0 ? performance.now() - allowance.since : 0)
}

/** Runs `work`, which waits, at the expense of the present request. */
export async function onAllowance<T>(work: () => Promise<T>): Promise<T> {
  const allowance = allowances.getStore()
  if (!allowance) return work()
  if (allowance.underWay++ === 0) allowance.since = performance.now()
  try {
    return await work()
  } finally {
    if (--allowance.underWay === 0) allowance.leftMs -= performance.now() - allowance.since
  }
}
