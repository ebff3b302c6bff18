import { RedisClient } from 'bun'
import type { Log } from '../lib/log.ts'
import type { Secret } from '../lib/secret.ts'

/** Redis or Valkey, for counters that instances share. */
export type SharedCounters = {
  /**
   * Runs a script on one key.
   * @returns its list of numbers, or null where Redis did not answer in time, or refused: the caller counts by itself then
   */
  run(script: string, key: string, args: readonly number[]): Promise<number[] | null>
  /**
   * Whether Redis is left alone at present, how often a caller had to count by itself, and how often Redis answered by an
   * error, which is a fault of ours or of its configuration.
   */
  state(): { isBroken: boolean; fallbacks: number; errors: number }
  close(): void
}

/** No request waits longer than `answerMs`; after a failure Redis is left alone for `retryMs`; one log line in `tellMs`. */
export const REDIS_TIMES = { answerMs: 50, connectMs: 500, retryMs: 5_000, tellMs: 60_000 }

const DEFAULT_PORT = 6379

/** What an answer of Redis begins with that is an error. Bun's own errors (`Connection closed`) begin otherwise. */
const ANSWERED_ERROR = /^[A-Z]+ /
/** Errors that say of the whole server that it takes no writes now; an older Redis has them within another error's text. */
const SERVER_STATE = /\b(OOM|READONLY|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|CLUSTERDOWN|BUSY)\b/

/** Writes as a limit does: a Redis that is full, a replica, and one whose user may run no script would answer a PING. */
const PROBE = `redis.call('SET', KEYS[1], 1, 'PX', 10000) return {1}`

/**
 * Redis helps and is never needed: gone, hung, full or flushed, it costs the requests of one moment 50 ms, and later
 * requests nothing. A probe that no request waits for finds out when it works again. An error that Redis answers to one
 * script says nothing of the others: that check alone is counted by the caller.
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
  let errors = 0
  let retry: Timer | undefined
  let isLossTold = false
  const isLossToTell = atMostEvery(times.tellMs)
  const isErrorToTell = atMostEvery(times.tellMs)

  const evaluate = async (script: string, key: string, args: readonly number[]) => {
    const command = [script, '1', `latchkey:${namespace}:${key}`, ...args.map(String)]
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
    // Whatever state the old connection is in, the next attempt does not depend on it.
    client.close()
    client = connect()
    retry = setTimeout(attempt, times.retryMs)
  }
  const attempt = async () => {
    try {
      await within(times.connectMs, client.connect())
      await evaluate(PROBE, 'probe', [])
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
    async run(script, key, args) {
      const asked = client
      if (!isBroken) {
        try {
          return await evaluate(script, key, args)
        } catch (error) {
          const answered = errorAnswered(error)
          if (answered !== null && !SERVER_STATE.test(answered)) {
            errors += 1
            if (isErrorToTell())
              log.error({ err: error }, 'Redis refuses a command: this check is counted here')
          } else if (asked === client && !isClosed) {
            // Of many that were under way, the first one breaks.
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

/** The error that Redis answered, as it says it; null where it did not answer. */
function errorAnswered(error: unknown): string | null {
  return error instanceof Error && ANSWERED_ERROR.test(error.message) ? error.message : null
}

function readNumbers(answer: unknown): number[] {
  if (!Array.isArray(answer)) throw new Error('ERR the script answered no list')
  return answer.map(Number)
}

/** Says yes at first, and then at most once in so many milliseconds. */
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
 * Why Redis closes a connection that begins as REDIS_URL says: of a wrong password, or none, Bun's client tells only that
 * it was closed.
 * @returns Redis's own words, which repeat nothing of the URL; null where it says nothing
 */
async function refusalOf(url: Secret, withinMs: number): Promise<string | null> {
  const { protocol, hostname, port, username, password } = new URL(url.reveal())
  const user = username === '' ? [] : [decodeURIComponent(username)]
  const command = password === '' ? ['PING'] : ['AUTH', ...user, decodeURIComponent(password)]
  const words = command.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
  const { promise, resolve } = Promise.withResolvers<string>()
  const connecting = Bun.connect({
    hostname: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port || DEFAULT_PORT),
    tls: protocol === 'rediss:' || protocol === 'valkeys:',
    socket: {
      open: (socket) => void socket.write(`*${words.length}\r\n${words.join('')}`),
      data: (_, chunk) => resolve(chunk.toString()),
      close: () => resolve(''),
    },
  })
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
  // A failure after the time is over has no caller left: it must not become an unhandled rejection.
  work.catch(() => {})
  let timer: Timer
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`No answer within ${ms} ms`)), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}
