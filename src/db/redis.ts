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
  /** Whether Redis is left alone at present, and how often a caller had to count by itself. */
  state(): { isBroken: boolean; fallbacks: number }
  close(): void
}

/** No request waits longer than `answerMs`; after a failure Redis is left alone for `retryMs`; one log line in `tellMs`. */
export const REDIS_TIMES = { answerMs: 50, connectMs: 500, retryMs: 5_000, tellMs: 60_000 }

/**
 * Redis helps and is never needed: gone, hung, full or flushed, it costs the requests of one moment 50 ms, and later
 * requests nothing. A probe that no request waits for finds out when it works again.
 * @param namespace keeps the counters of several services on one Redis apart
 * @returns once Redis has answered, or has been given up for now
 */
export async function openSharedCounters(
  url: Secret,
  namespace: string,
  log: Log,
  times: typeof REDIS_TIMES = REDIS_TIMES,
): Promise<SharedCounters> {
  const connect = () =>
    new RedisClient(url.reveal(), {
      connectionTimeout: times.connectMs,
      maxRetries: 3,
      enableAutoPipelining: true,
    })
  let client = connect()
  let isBroken = true
  let isClosed = false
  let fallbacks = 0
  let retry: Timer | undefined
  let toldAt = -Infinity
  let isLossTold = false

  const breakOff = (error: unknown) => {
    isBroken = true
    const now = performance.now()
    if (now - toldAt > times.tellMs) {
      toldAt = now
      isLossTold = true
      log.error({ err: error }, 'Redis does not answer: each instance applies the full limits by itself')
    }
    // Whatever state the old connection is in, the next attempt does not depend on it.
    client.close()
    client = connect()
    retry = setTimeout(attempt, times.retryMs)
  }
  /** Writes something: a Redis that is full, or a replica, would answer a PING. */
  const attempt = async () => {
    try {
      await within(times.connectMs, client.connect())
      const probe = [`latchkey:${namespace}:probe`, '1', 'PX', '10000']
      await within(times.answerMs, client.send('SET', probe))
      isBroken = false
      if (isLossTold) log.info('Redis answers again: the limits are shared')
      isLossTold = false
    } catch (error) {
      if (!isClosed) breakOff(error)
    }
  }

  await attempt()
  return {
    async run(script, key, args) {
      const asked = client
      if (!isBroken) {
        try {
          const command = [script, '1', `latchkey:${namespace}:${key}`, ...args.map(String)]
          return readNumbers(await within(times.answerMs, asked.send('EVAL', command)))
        } catch (error) {
          // Of many that were under way, the first one breaks.
          if (asked === client && !isClosed) breakOff(error)
        }
      }
      fallbacks += 1
      return null
    },
    state: () => ({ isBroken, fallbacks }),
    close() {
      isClosed = true
      clearTimeout(retry)
      client.close()
    },
  }
}

function readNumbers(answer: unknown): number[] {
  if (!Array.isArray(answer)) throw new Error('Redis answered no list')
  return answer.map(Number)
}

function within<T>(ms: number, work: Promise<T>): Promise<T> {
  // A failure after the time is over has no caller left: it must not become an unhandled rejection.
  work.catch(() => {})
  let timer: Timer
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`No answer within ${ms} ms`)), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}
