import { RedisClient, type SocketHandler } from 'bun'
import type { Log } from '../lib/log.ts'
import type { Secret } from '../lib/secret.ts'

/** Counters in Redis or Valkey, which several instances share. */
export type SharedCounters = {
  /**
   * Runs a script on keys that are in one slot.
   * @returns the script's list of numbers; null if Redis did not answer in time or refused, and then the
   *   caller counts by itself
   */
  run(script: string, keys: readonly string[], args: readonly number[]): Promise<number[] | null>
  /**
   * Whether Redis is paused after a failure, how often a caller counted by itself, and how often Redis
   * answered with an error. Such an error is a fault of Latchkey or of the configuration of Redis.
   */
  state(): { isBroken: boolean; fallbacks: number; errors: number }
  close(): void
}

/**
 * `answerMs` bounds a request's wait for Redis, `connectMs` a connection attempt. After a failure no request
 * asks Redis for `retryMs`. The log has at most one line of a kind in `tellMs`.
 */
export const REDIS_TIMES = { answerMs: 50, connectMs: 500, retryMs: 5_000, tellMs: 60_000 }

const DEFAULT_PORT = 6379

/** The start of an error that Redis answered. Bun's own errors (`Connection closed`) start differently. */
const ANSWERED_ERROR = /^[A-Z]+ /
/**
 * Errors which mean that the whole server accepts no writes now. An older Redis puts them inside another
 * error's text.
 */
const SERVER_STATE = /\b(OOM|READONLY|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|CLUSTERDOWN|BUSY)\b/

/**
 * Writes, as a rate limit does. A PING would succeed on a full Redis, on a replica, and for a user who may
 * not run scripts.
 */
const PROBE = `redis.call('SET', KEYS[1], 1, 'PX', 10000) return {1}`

/** What separates the counters of services with different issuers on one Redis. */
export const namespaceOf = (publicUrl: string): string => Bun.hash.crc32(publicUrl).toString(16)

/**
 * Opens shared counters. Redis is optional: if it is gone, hangs, is full or was flushed, the requests of one
 * moment wait 50 ms and later requests do not wait. A probe in the background finds out when Redis works
 * again. An error in answer to one script says nothing about other scripts, so then only that check is
 * counted by its caller.
 * @param namespace separates the counters of several services on one Redis
 * @returns after Redis has answered, or was given up for now
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
  let errors = 0
  let retry: Timer | undefined
  let isLossTold = false
  const isLossToTell = atMostEvery(times.tellMs)
  const isErrorToTell = atMostEvery(times.tellMs)

  const evaluate = async (script: string, keys: readonly string[], args: readonly number[]) => {
    const named = keys.map((key) => `latchkey:${namespace}:${key}`)
    const command = [script, String(keys.length), ...named, ...args.map(String)]
    return readNumbers(await within(times.answerMs, client.send('EVAL', command)))
  }
  const breakOff = (error: unknown, reason: string | null) => {
    isBroken = true
    if (isLossToTell()) {
      isLossTold = true
      const what =
        reason === null ? 'Redis does not answer' : `Redis refuses to count (${reason}; see REDIS_URL)`
      log.error({ err: error }, `${what}: each instance applies the full limits by itself`)
    }
    // The next attempt must not depend on the state of the old connection.
    client.close()
    client = connect()
    retry = setTimeout(attempt, times.retryMs)
  }
  const attempt = async () => {
    try {
      await within(times.connectMs, client.connect())
      await evaluate(PROBE, ['probe'], [])
      isBroken = false
      if (isLossTold) log.info('Redis answers again: the limits are shared')
      isLossTold = false
    } catch (error) {
      const reason = errorAnswered(error) ?? (await refusalOf(url, times.connectMs))
      if (!isClosed) breakOff(error, reason)
    }
  }

  await attempt()
  return {
    async run(script, keys, args) {
      const asked = client
      if (!isBroken) {
        try {
          return await evaluate(script, keys, args)
        } catch (error) {
          const answered = errorAnswered(error)
          if (answered !== null && !SERVER_STATE.test(answered)) {
            errors += 1
            if (isErrorToTell())
              log.error({ err: error }, 'Redis refuses a command: this server counts this check by itself')
          } else if (asked === client && !isClosed) {
            // Of several failed requests, only the first one starts the pause.
            breakOff(error, null)
          }
        }
      }
      fallbacks += 1
      return null
    },
    state: () => ({ isBroken, fallbacks, errors }),
    close() {
      isClosed = true
      clearTimeout(retry)
      client.close()
    },
  }
}

/** The error text that Redis answered. null if Redis did not answer. */
function errorAnswered(error: unknown): string | null {
  return error instanceof Error && ANSWERED_ERROR.test(error.message) ? error.message : null
}

function readNumbers(answer: unknown): number[] {
  if (!Array.isArray(answer)) throw new Error('ERR the script answered no list')
  return answer.map(Number)
}

/** Returns a function that returns true at first, and then at most once in `ms` milliseconds. */
function atMostEvery(ms: number): () => boolean {
  let lastAt = -Infinity
  return () => {
    const now = performance.now()
    if (now - lastAt <= ms) return false
    lastAt = now
    return true
  }
}

/**
 * Finds out why Redis closes a connection that starts as REDIS_URL says. For a wrong or missing password,
 * Bun's client reports only that the connection was closed.
 * @returns the error of Redis, which contains nothing of the URL; null if Redis reports none
 */
async function refusalOf(url: Secret, withinMs: number): Promise<string | null> {
  const { protocol, hostname, port, username, password, pathname } = new URL(url.reveal())
  const user = username === '' ? [] : [decodeURIComponent(username)]
  const command = password === '' ? ['PING'] : ['AUTH', ...user, decodeURIComponent(password)]
  const words = command.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
  const { promise, resolve } = Promise.withResolvers<string>()
  const tcp = {
    hostname: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port || DEFAULT_PORT),
    tls: protocol === 'rediss:' || protocol === 'valkeys:',
  }
  const socket: SocketHandler = {
    open: (opened) => void opened.write(`*${words.length}\r\n${words.join('')}`),
    data: (_, chunk) => resolve(chunk.toString()),
    close: () => resolve(''),
  }
  const connecting =
    protocol === 'redis+unix:' ? Bun.connect({ unix: pathname, socket }) : Bun.connect({ ...tcp, socket })
  const answer = await within(
    withinMs,
    connecting.then(() => promise),
  ).catch(() => '')
  connecting.then(
    (socket) => socket.end(),
    () => {},
  )
  return /^-([^\r\n]*)/.exec(answer)?.[1] ?? null
}

function within<T>(ms: number, work: Promise<T>): Promise<T> {
  // A failure after the deadline has no caller that could catch it. It must not become an unhandled
  // rejection.
  work.catch(() => {})
  let timer: Timer
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`No answer within ${ms} ms`)), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}
