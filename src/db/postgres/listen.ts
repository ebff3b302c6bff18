import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../lib/log.ts'
import type { Listener } from '../database.ts'
import { databaseError, errorCode } from '../errors.ts'
import type { PrimaryConnection } from './primary.ts'

/** The events of a listening connection. `onnotify` exists in postgres.js but not in its types. */
export type ListenEvents = { onnotify(channel: string, payload: string): void; onclose(): void }

/**
 * How often a silent connection is probed, how long the probe may take, and the shortest and longest pause
 * before a new connection.
 */
export const LISTEN_TIMES = { probeEveryMs: 5000, probeAnswerMs: 3000, retryFirstMs: 50, retryMostMs: 1000 }

type Listening = { connection: PrimaryConnection; ended: Promise<void> }

/**
 * LISTENs on a separate connection, and replaces it when it ends or becomes silent. The listener is told of
 * the gap before it receives any later message.
 * @throws the error of the first attempt
 */
export async function startListening(
  connect: (events: ListenEvents) => PrimaryConnection,
  channels: readonly string[],
  listener: Listener,
  log: Log,
  times: typeof LISTEN_TIMES = LISTEN_TIMES,
): Promise<() => Promise<void>> {
  const stopping = new AbortController()
  const stopped = new Promise<void>((resolve) => {
    stopping.signal.addEventListener('abort', () => resolve())
  })
  const isStopped = () => stopping.signal.aborted
  let isFirst = true

  const open = async (): Promise<Listening> => {
    const cut = Promise.withResolvers<void>()
    // On a later connection, messages that arrive before the listener knows of the gap belong to the gap.
    let isHeard = isFirst
    let isAsking = false
    const connection = connect({
      onnotify: (on, payload) => {
        if (channels.includes(on) && isHeard && !isStopped())
          tell(() => listener.message(payload, !isAsking, on))
      },
      onclose: () => cut.resolve(),
    })
    const ask = async (statement: string) => {
      const client = await connection.ready
      isAsking = true
      await answeredWithin(times.probeAnswerMs, client.unsafe(statement))
      isAsking = false
    }
    try {
      await ask(channels.map((channel) => `LISTEN "${channel}"`).join('; '))
    } catch (error) {
      connection.destroy()
      throw error
    }
    if (!isFirst && !isStopped()) tell(() => listener.gap())
    isFirst = false
    isHeard = true
    const silent = fallsSilent(() => ask('SELECT 1'), times, stopping.signal)
    return { connection, ended: Promise.race([cut.promise, stopped, silent]) }
  }

  /**
   * An exception of the listener must not reach the driver, which would treat it as an error of the
   * connection.
   */
  const tell = (what: () => void) => {
    try {
      what()
    } catch (error) {
      log.error({ err: error, channels }, 'a listener to the database failed')
    }
  }

  const openAgain = async (): Promise<Listening | null> => {
    log.warn({ channels }, 'the database line that listens was cut; connecting again')
    for (let waitMs = times.retryFirstMs; !isStopped(); waitMs = Math.min(waitMs * 2, times.retryMostMs)) {
      try {
        const listening = await open()
        log.info({ channels }, 'listening to the database again')
        return listening
      } catch (error) {
        log.debug({ channels, code: errorCode(error) }, 'could not listen yet')
        await sleep(waitMs, undefined, { signal: stopping.signal }).catch(() => {})
      }
    }
    return null
  }

  const stay = async (first: Listening) => {
    for (let on: Listening | null = first; on; on = isStopped() ? null : await openAgain()) {
      await on.ended
      if (isStopped()) await on.connection.close()
      else on.connection.destroy()
    }
  }

  const staying = stay(await open())
  return () => {
    stopping.abort()
    return staying
  }
}

/** @throws Error NO_ANSWER: a server that was frozen or cut off after the log-in closes no connection */
async function answeredWithin(ms: number, asked: PromiseLike<unknown>): Promise<void> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => late.reject(databaseError('NO_ANSWER', `the database gave no answer for ${ms} ms`)),
    ms,
  )
  try {
    await Promise.race([asked, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Resolves when a probe fails or is not answered in time. A cut cable closes no connection, so only a probe
 * detects it.
 */
async function fallsSilent(
  probe: () => Promise<void>,
  times: typeof LISTEN_TIMES,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    await sleep(times.probeEveryMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    const answered = probe().then(
      () => true,
      () => false,
    )
    if (!(await Promise.race([answered, sleep(times.probeAnswerMs, false, { signal }).catch(() => false)])))
      return
  }
}
