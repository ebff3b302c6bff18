import { remainingMs } from '../../lib/deadline.ts'
import type { PoolLoad } from '../../lib/metrics.ts'
import { databaseError } from '../errors.ts'

/**
 * A queue for connections. At most as many callers as the pool has connections run at once; the others wait
 * in the order of arrival.
 */
export type WaitQueue = {
  /** @throws Error POOL_TIMEOUT, POOL_FULL or OUT_OF_TIME, for which `isUnavailable` is true */
  enter(): Promise<void>
  leave(): void
  /** Resolves when every caller has left. */
  drained(): Promise<void>
  load(): PoolLoad
}

/** The longest wait for a connection. */
export const WAIT_MS = 1000

/**
 * Bounds how many callers wait for a connection and how long each of them waits. postgres.js bounds neither.
 * @param slots the number of connections
 */
export function createWaitQueue(slots: number, { waitMs = WAIT_MS, maxWaiters = 1000 } = {}): WaitQueue {
  type Waiter = { enter(): void; next: Waiter | null; gaveUp: boolean }
  let free = slots
  let waiting = 0
  let timedOut = 0
  let turnedAway = 0
  let first: Waiter | null = null
  let last: Waiter | null = null
  let empty: PromiseWithResolvers<void> | null = null

  const wait = (ms: number) =>
    new Promise<void>((resolve, reject) => {
      const giveUp = setTimeout(() => {
        waiter.gaveUp = true
        waiting--
        timedOut++
        reject(
          databaseError('POOL_TIMEOUT', `no database connection became free within ${Math.round(ms)} ms`),
        )
      }, ms)
      const waiter: Waiter = {
        enter: () => {
          clearTimeout(giveUp)
          resolve()
        },
        next: null,
        gaveUp: false,
      }
      if (last) last.next = waiter
      else first = waiter
      last = waiter
      waiting++
    })

  const nextWaiter = (): Waiter | null => {
    while (first) {
      const waiter: Waiter = first
      first = waiter.next
      if (!first) last = null
      if (!waiter.gaveUp) return waiter
    }
    return null
  }

  return {
    enter: async () => {
      const leftMs = remainingMs()
      if (leftMs <= 0) throw databaseError('OUT_OF_TIME', 'the request has waited too long for the database')
      if (free > 0) {
        free--
        return
      }
      if (waiting >= maxWaiters) {
        turnedAway++
        throw databaseError('POOL_FULL', `${maxWaiters} queries already wait for a database connection.`)
      }
      await wait(Math.min(waitMs, leftMs))
    },
    leave: () => {
      const waiter = nextWaiter()
      if (!waiter) {
        if (++free === slots) empty?.resolve()
        return
      }
      waiting--
      waiter.enter()
    },
    drained: async () => {
      if (free === slots) return
      empty ??= Promise.withResolvers<void>()
      await empty.promise
    },
    load: () => ({ size: slots, inUse: slots - free, waiting, timedOut, turnedAway }),
  }
}

/**
 * Waits for `work` for at most `ms` milliseconds. Leaves no timer behind that would keep the process alive.
 */
export async function waitAtMost(ms: number, work: Promise<unknown>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  try {
    await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}
