import { RedisClient } from 'bun'
import type { Log } from '../lib/log.ts'
import type { Secret } from '../lib/secret.ts'

/** Redis or Valkey, for counters that instances share. */
export type SharedCounters = {
  /**
   * Runs a script on one key.
   * @returns its list of numbers, or null where Redis did not answer in time: the caller counts by itself then
   */
  run(script: string, key: string, args: readonly number[]): Promise<number[] | null>
  close(): void
}

/** No request waits longer for Redis than this. */
const TIMEOUT_MS = 50
/** After a failure Redis is not asked for so long. */
const BREAK_MS = 5_000
const LOG_EVERY_MS = 60_000

/**
 * Connects when first asked, and again by itself. Redis is a help, never a need: gone, hung, full or flushed, it costs
 * one request 50 ms, and then nobody for five seconds.
 * @param namespace keeps the counters of several services on one Redis apart
 */
export function openSharedCounters(url: Secret, namespace: string, log: Log): SharedCounters {
  const connect = () =>
    new RedisClient(url.reveal(), {
      connectionTimeout: TIMEOUT_MS * 10,
      maxRetries: 3,
      enableAutoPipelining: true,
    })
  let client = connect()
  let brokenUntil = -Infinity
  let loggedAt = -Infinity

  const breakFor = (error: unknown) => {
    const now = performance.now()
    brokenUntil = now + BREAK_MS
    if (now - loggedAt > LOG_EVERY_MS) {
      loggedAt = now
      log.error({ err: error }, 'Redis does not answer: each instance applies the full limits by itself')
    }
    // Whatever state the old connection is in, the next attempt does not depend on it.
    client.close()
    client = connect()
  }

  return {
    async run(script, key, args) {
      if (performance.now() < brokenUntil) return null
      const asked = client
      try {
        const answer = asked.send('EVAL', [script, '1', `latchkey:${namespace}:${key}`, ...args.map(String)])
        return readNumbers(await within(TIMEOUT_MS, answer))
      } catch (error) {
        // Of many that were under way, the first one breaks.
        if (asked === client) breakFor(error)
        return null
      }
    },
    close: () => client.close(),
  }
}

function readNumbers(answer: unknown): number[] {
  if (!Array.isArray(answer)) throw new Error('Redis answered no list')
  return answer.map(Number)
}

function within<T>(ms: number, work: Promise<T>): Promise<T> {
  // Its failure after the time is over is nobody's any more.
  work.catch(() => {})
  let timer: Timer
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`No answer within ${ms} ms`)), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}
