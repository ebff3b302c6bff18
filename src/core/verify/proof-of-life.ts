import type { OpenDatabase } from '../../db/database.ts'
import { EVICTION_CHANNEL, formatHeartbeat, parseEviction } from '../../db/eviction.ts'
import { newId } from '../../lib/ids.ts'
import type { Log } from '../../lib/log.ts'
import { observeSeconds } from '../../lib/metrics.ts'
import { SECOND_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { type Moment, momentNow } from './cache.ts'

/** So many beats in a row that were sent and not heard: nothing comes through the line. */
const DEAF_AFTER_BEATS = 3

/**
 * Keeps the cache true to the database: hears its evictions, and proves that they arrive. A beat goes out the way that
 * queries go and must come back on the listening connection; NOTIFY keeps commit order, so its echo says that every
 * eviction committed before it was sent has been heard.
 * @returns `sendBeat`, to be called each second, and `stop`
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
): Promise<{ sendBeat(): Promise<void>; stop(): Promise<void> }> {
  const instance = newId()
  const report = reporter(log)
  let beat = 0
  /** Beats whose echo has not come, by their number. */
  const unheard = new Map<number, Moment>()

  const hearBeat = (from: string, number: number) => {
    const sentAt = from === instance ? unheard.get(number) : undefined
    if (sentAt === undefined) return
    for (const sent of unheard.keys()) if (sent <= number) unheard.delete(sent)
    cache.prove(sentAt)
    observeSeconds(metrics.evictionLag, (momentNow().monotonicMs - sentAt.monotonicMs) / SECOND_MS)
    if (cache.isLive()) report('proven')
  }
  const forgetAll = () => {
    metrics.evictions.gap += 1
    // Beats sent before a gap prove nothing about evictions that were lost in it.
    unheard.clear()
    cache.flush()
    signing.refresh()
  }
  const unlisten = await database.listen(EVICTION_CHANNEL, {
    gap: forgetAll,
    message(payload, isUnasked) {
      const message = parseEviction(payload)
      if (message === null) return
      if (message.kind === 'beat') {
        if (isUnasked) hearBeat(message.instance, message.number)
        return
      }
      if (message.kind === 'password_kind') return passwords.learn([message.passwordKind])
      metrics.evictions[message.kind] += 1
      if (message.kind === 'flush') cache.flush()
      else cache.evict(message.kind, message.id)
      if (message.kind === 'flush' || message.kind === 'signing_key') signing.refresh()
    },
  })

  const sendBeat = async () => {
    if (unheard.size >= DEAF_AFTER_BEATS) {
      report('deaf')
      unheard.clear()
    }
    beat += 1
    unheard.set(beat, momentNow())
    try {
      await database.notify(EVICTION_CHANNEL, formatHeartbeat(instance, beat))
    } catch (error) {
      unheard.delete(beat)
      report('unreachable', error)
    }
  }
  return { sendBeat, stop: unlisten }
}

type Proof = 'proven' | 'deaf' | 'unreachable'

/** Says once what became of the proof, and again when it changes: an operator has to know that every request asks the database. */
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
