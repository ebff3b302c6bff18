import { remainingMs } from '../../lib/deadline.ts'
import type { PoolLoad } from '../../lib/metrics.ts'
import { databaseError } from '../errors.ts'

/** Lets as many through at once as the pool has connections; the others wait in line. */
export type Gate = {
  /** @throws Error POOL_TIMEOUT, POOL_FULL or OUT_OF_TIME, for which `isUnavailable` is true */
  enter(): Promise<void>
  leave(): void
  /** Resolves when nobody is inside. */
  drained(): Promise<void>
  load(): PoolLoad
}

/** postgres.js queues without end when every connection is busy; this line has an end, and so has the wait in it. */
export function createGate(slots: number, { waitMs = 1000, maxWaiters = 1000 } = {}): Gate {
  type Waiter = { admit(): void; next: Waiter | null; gaveUp: boolean }
  let free = slots
  let waiting = 0
  let timedOut = 0
  let turnedAway = 0
  let first: Waiter | null = null
  let last: Waiter | null = null
  let empty: PromiseWithResolvers<void> | null = null

  const enter = (ms: number) =>
    new Promise<void>((resolve, reject) => {
      const giveUp = setTimeout(() => {
        waiter.gaveUp = true
        waiting--
        timedOut++
        reject(databaseError('POOL_TIMEOUT', `no database connection came free within ${Math.round(ms)} ms`))
      }, ms)
      const waiter: Waiter = {
        admit: () => {
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
      await enter(Math.min(waitMs, leftMs))
    },
    leave: () => {
      const waiter = nextWaiter()
      if (!waiter) {
        if (++free === slots) empty?.resolve()
        return
      }
      waiting--
      waiter.admit()
    },
    drained: async () => {
      if (free === slots) return
      empty ??= Promise.withResolvers<void>()
      await empty.promise
    },
    load: () => ({ size: slots, inUse: slots - free, waiting, timedOut, turnedAway }),
  }
}
