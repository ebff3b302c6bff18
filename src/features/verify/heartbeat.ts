import type { Context } from '../../context.ts'
import type { OpenDatabase } from '../../db/open.ts'
import { newId } from '../../lib/ids.ts'
import { observeSeconds } from '../../lib/metrics.ts'
import { SECOND_MS } from '../../lib/time.ts'
import { type EvictionKind, type Moment, momentNow } from './cache.ts'

const CHANNEL = 'latchkey_evict'
const BEAT_EVERY_MS = 1_000
const KINDS: readonly string[] = [
  'user',
  'service_account',
  'key',
  'session',
  'signing_key',
] satisfies EvictionKind[]
const isEvictionKind = (kind: string): kind is EvictionKind => KINDS.includes(kind)

/**
 * Keeps the cache true to the database: hears its evictions, and proves each second that they arrive. A beat goes
 * out through the pool and must come back on the listening line; NOTIFY keeps commit order, so its echo says that
 * every eviction committed before it was sent has been heard.
 * @returns a function that ends it
 */
export async function startHeartbeat(
  database: OpenDatabase,
  { cache, signing, log, metrics }: Pick<Context, 'cache' | 'signing' | 'log' | 'metrics'>,
): Promise<() => Promise<void>> {
  const instance = newId()
  let sent: { beat: number; at: Moment } | null = null
  let beat = 0
  let oldestValidBeat = 0

  const hearBeat = (payload: string) => {
    const [, from, number] = payload.split(' ')
    if (from !== instance || sent === null || Number(number) !== sent.beat || sent.beat < oldestValidBeat)
      return
    cache.prove(sent.at)
    observeSeconds(metrics.evictionLag, (momentNow().monotonicMs - sent.at.monotonicMs) / SECOND_MS)
    sent = null
  }
  const forgetAll = () => {
    metrics.evictions.gap += 1
    // Beats sent before a gap prove nothing about evictions that were lost in it.
    oldestValidBeat = beat + 1
    sent = null
    cache.flush()
    signing.refresh()
  }
  const unlisten = await database.listen(CHANNEL, {
    gap: forgetAll,
    message(payload) {
      const [kind = '', id = ''] = payload.split(' ')
      if (kind === 'beat') return hearBeat(payload)
      if (kind === 'flush') {
        metrics.evictions.flush += 1
        cache.flush()
        return signing.refresh()
      }
      if (!isEvictionKind(kind)) return
      metrics.evictions[kind] += 1
      cache.evict(kind, id)
      if (kind === 'signing_key') signing.refresh()
    },
  })

  // The embedded database has one process, which hears itself: nothing to prove, and no commit each second.
  if (database.kind === 'embedded') return unlisten

  const sendBeat = async () => {
    if (sent !== null && momentNow().monotonicMs - sent.at.monotonicMs < 5 * BEAT_EVERY_MS) return
    beat += 1
    sent = { beat, at: momentNow() }
    try {
      await database.notify(CHANNEL, `beat ${instance} ${beat}`)
    } catch (error) {
      sent = null
      log.warn({ err: error }, 'The cache is bypassed: the database cannot be reached')
    }
  }
  await sendBeat()
  const timer = setInterval(sendBeat, BEAT_EVERY_MS)
  return async () => {
    clearInterval(timer)
    await unlisten()
  }
}
