import type { OpenDatabase } from '../../db/database.ts'
import { EVICTION_CHANNEL, heartbeatChannelOf, parseEviction } from '../../db/eviction.ts'
import { newId } from '../../lib/ids.ts'
import type { Log } from '../../lib/log.ts'
import { observeSeconds } from '../../lib/metrics.ts'
import { SECOND_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { type Moment, momentNow } from './cache.ts'

/** After this many heartbeats in a row that were sent and not received, the listening connection counts as broken. */
const DEAF_AFTER_HEARTBEATS = 3

/** What else a server hears, in the order of the database's commits. */
type OtherChannel = { channel: string; message(payload: string): void; gap(): void }

/**
 * Receives the evictions of the database, and proves that they arrive. A heartbeat is sent on a connection for queries,
 * and must come back on the listening connection. NOTIFY keeps the order of commits. So when a heartbeat arrives, every
 * eviction that was committed before it was sent has arrived too (docs/decisions/0018).
 * @param other a channel to listen to on the same connection; null: none
 * @returns `sendHeartbeat`, to be called once a second, and `stop`
 */
export async function listenForEvictions(
  database: OpenDatabase,
  {
    cache,
    signing,
    log,
    metrics,
    passwords,
  }: Pick<Context, 'cache' | 'log' | 'metrics'> & {
    signing: Pick<Context['signing'], 'refresh'>
    passwords: Pick<Context['passwords'], 'learn'>
  },
  other: OtherChannel | null = null,
): Promise<{ sendHeartbeat(): Promise<void>; stop(): Promise<void> }> {
  const ownChannel = heartbeatChannelOf(newId())
  const report = reporter(log)
  let number = 0
  /** Heartbeats that have not come back yet, by number. */
  const unheard = new Map<number, Moment>()

  const receiveHeartbeat = (number: number) => {
    const sentAt = unheard.get(number)
    if (sentAt === undefined) return
    for (const sent of unheard.keys()) if (sent <= number) unheard.delete(sent)
    cache.prove(sentAt)
    observeSeconds(metrics.evictionLag, (momentNow().monotonicMs - sentAt.monotonicMs) / SECOND_MS)
    if (cache.isLive()) report('proven')
  }
  const forgetAll = () => {
    metrics.evictions.gap += 1
    // Heartbeats from before a gap prove nothing, because evictions may have been lost in the gap.
    unheard.clear()
    cache.flush()
    signing.refresh()
    other?.gap()
  }
  // One connection listens to both: a heartbeat on another one would prove nothing about the evictions.
  const unlisten = await database.listen([EVICTION_CHANNEL, ownChannel, ...(other ? [other.channel] : [])], {
    gap: forgetAll,
    message(payload, isUnasked, channel) {
      if (channel === ownChannel) {
        if (isUnasked) receiveHeartbeat(Number(payload))
        return
      }
      if (channel === other?.channel) return other.message(payload)
      const message = parseEviction(payload)
      if (message === null) return
      if (message.kind === 'password_kind') return passwords.learn([message.passwordKind])
      metrics.evictions[message.kind] += 1
      if ('id' in message) cache.evict(message.kind, message.id)
      else if (message.kind === 'new') cache.forgetUnknown()
      else cache.flush()
      if (message.kind === 'flush' || message.kind === 'signing_key') signing.refresh()
    },
  })

  const sendHeartbeat = async () => {
    if (unheard.size >= DEAF_AFTER_HEARTBEATS) {
      report('deaf')
      unheard.clear()
    }
    number += 1
    unheard.set(number, momentNow())
    try {
      await database.notify(ownChannel, String(number))
    } catch (error) {
      unheard.delete(number)
      report('unreachable', error)
    }
  }
  return { sendHeartbeat, stop: unlisten }
}

type Proof = 'proven' | 'deaf' | 'unreachable'

/** Logs a change of the state once, not every second. An operator must know when every request asks the database. */
function reporter(log: Log): (proof: Proof, error?: unknown) => void {
  let last: Proof = 'proven'
  return (proof, error) => {
    if (proof === last) return
    last = proof
    if (proof === 'proven') return log.info('The cache is used again: the database is heard')
    if (proof === 'unreachable')
      return log.warn({ err: error }, 'The cache is bypassed: the database cannot be reached')
    log.warn(
      'The cache is bypassed: no echo on the LISTEN line. Where DATABASE_URL leads to a pooler in transaction mode, ' +
        'set DATABASE_DIRECT_URL to the server itself. Until then every request asks the database; revocations hold',
    )
  }
}
