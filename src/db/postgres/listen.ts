import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../lib/log.ts'
import type { Listener } from '../database.ts'
import { errorCode } from '../errors.ts'
import type { Connection } from './connect.ts'

/** What a listening connection reports; `onnotify` is postgres.js's own, left out of its types. */
export type ListenEvents = { onnotify(channel: string, payload: string): void; onclose(): void }

/** How soon a silent connection is found out, and how soon another is tried. */
export const LISTEN_TIMES = { probeEveryMs: 5000, probeAnswerMs: 3000, retryFirstMs: 50, retryMostMs: 1000 }

type Listening = { connection: Connection; ended: Promise<void> }

/**
 * LISTENs on a connection of its own, makes another when that one ends or falls silent, and tells the listener of the
 * gap before anything that comes after it.
 * @throws what the first attempt throws
 */
export async function startListening(
  connect: (events: ListenEvents) => Connection,
  channel: string,
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
    // On a later connection, what arrives before the gap is told is part of the gap.
    let isHeard = isFirst
    let isAsking = false
    const connection = connect({
      onnotify: (on, payload) => {
        if (on === channel && isHeard && !isStopped()) tell(() => listener.message(payload, !isAsking))
      },
      onclose: () => cut.resolve(),
    })
    const ask = async (statement: string) => {
      isAsking = true
      await connection.client.unsafe(statement)
      isAsking = false
    }
    try {
      await ask(`LISTEN "${channel}"`)
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

  /** An exception in the listener must not reach the driver, which would take it for an error of the connection. */
  const tell = (what: () => void) => {
    try {
      what()
    } catch (error) {
      log.error({ err: error, channel }, 'a listener to the database failed')
    }
  }

  const openAgain = async (): Promise<Listening | null> => {
    log.warn({ channel }, 'the database line that listens was cut; connecting again')
    for (let waitMs = times.retryFirstMs; !isStopped(); waitMs = Math.min(waitMs * 2, times.retryMostMs)) {
      try {
        const listening = await open()
        log.info({ channel }, 'listening to the database again')
        return listening
      } catch (error) {
        log.debug({ channel, code: errorCode(error) }, 'could not listen yet')
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

/** Resolves when a probe of the connection fails or gets no answer in time: a cut cable closes nothing. */
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
