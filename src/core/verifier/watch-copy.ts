import { parseRegionMessage } from '../../db/eviction.ts'
import type { Context } from '../context.ts'
import type { KnownCopy } from './freshness.ts'
import { findCopyState } from './queries.ts'
import type { Region } from './region.ts'

/** How a verifier learns of its copy. */
export type CopyWatch = {
  /** Receives a message of REGION_CHANNEL, on the connection that receives the evictions. */
  message(payload: string): void
  /** Messages may have been lost. The cache was emptied, so whatever the database says now holds. */
  gap(): void
  /** Reads what no message tells: a copy that begins anew sends no heartbeats. To be called once a second. */
  check(): Promise<void>
}

/** @param read for tests without a subscription. `absent` of its `uncopied` tables are those of which no message tells */
export function watchCopy(
  { db, cache, signing, log }: Pick<Context, 'db' | 'cache' | 'signing' | 'log'>,
  { freshness }: Region,
  read: () => Promise<KnownCopy & { absent?: number }> = () => findCopyState(db),
): CopyWatch {
  /** Messages heard so far. What was read before a message is older than the message. */
  let heard = 0
  let isBroken = false
  /** Published tables that no subscription has: this verifier reads them, and the database does not know that. */
  let absent = 0
  /** Whether the time of the heartbeat in the database counts: nothing was read from the copy before it. */
  let takesTime = true

  /** The copy is another one: nothing that was read before holds. */
  const noteState = (broken: boolean) => {
    if (isBroken && !broken) {
      cache.flush()
      void signing.refresh()
    }
    isBroken = broken
  }

  return {
    message(payload) {
      const message = parseRegionMessage(payload)
      if (message === null) return
      heard += 1
      const broken = message.state === 'whole' ? null : message.state
      noteState(broken !== null)
      freshness.learn(
        message.kind === 'state'
          ? { broken }
          : { broken, uncopied: message.uncopied + absent, atMs: message.atMs },
      )
    },
    gap() {
      heard += 1
      takesTime = true
    },
    async check() {
      const before = heard
      const { absent: found = 0, ...copy } = await read()
      absent = found
      if (heard !== before) return
      noteState(copy.broken !== null)
      const { atMs, ...others } = copy
      freshness.learn(takesTime ? copy : others)
      if (takesTime) log.debug({ at: atMs }, "The region's copy was read")
      takesTime = false
    },
  }
}
