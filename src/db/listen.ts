import type postgres from 'postgres'
import type { Log } from '../lib/log.ts'
import { errorCode } from './errors.ts'
import type { Listener } from './open.ts'

/** What a line reports of itself; `onnotify` is postgres.js's own, left out of its types. */
export type LineEvents = { onnotify(channel: string, payload: string): void; onclose(): void }

const PROBE_EVERY_MS = 5000
const PROBE_ANSWER_MS = 3000
const RETRY_FIRST_MS = 50
const RETRY_MOST_MS = 1000

/**
 * LISTENs on a connection of its own, makes another when that one ends or falls silent, and tells the listener of the
 * gap before anything that comes after it.
 * @throws what the first connection attempt throws
 */
export async function startListening(
  connect: (events: LineEvents) => postgres.Sql,
  channel: string,
  listener: Listener,
  log: Log,
): Promise<() => Promise<void>> {
  const stopped = Promise.withResolvers<void>()
  let isStopped = false
  let isFirst = true

  const openLine = async () => {
    const ended = Promise.withResolvers<void>()
    // On a later line what comes before the gap is told belongs to the gap.
    let isOpen = isFirst
    const line = connect({
      onnotify: (on, payload) => {
        if (isOpen && !isStopped && on === channel) listener.message(payload)
      },
      onclose: () => ended.resolve(),
    })
    try {
      await line.unsafe(`LISTEN "${channel.replaceAll('"', '""')}"`)
    } catch (error) {
      void line.end({ timeout: 0 })
      throw error
    }
    if (!isFirst && !isStopped) listener.gap()
    isFirst = false
    isOpen = true
    return { line, ended: Promise.race([ended.promise, fallsSilent(line), stopped.promise]) }
  }

  const stay = async (first: Awaited<ReturnType<typeof openLine>>) => {
    let { line, ended } = first
    while (!isStopped) {
      await ended
      await line.end({ timeout: 0 })
      if (isStopped) return
      log.warn({ channel }, 'the database line that listens was cut; connecting again')
      for (let waitMs = RETRY_FIRST_MS; !isStopped; waitMs = Math.min(waitMs * 2, RETRY_MOST_MS)) {
        try {
          ;({ line, ended } = await openLine())
          log.info({ channel }, 'listening to the database again')
          break
        } catch (error) {
          log.debug({ channel, code: errorCode(error) }, 'could not listen yet')
          await Promise.race([Bun.sleep(waitMs), stopped.promise])
        }
      }
    }
    await line.end({ timeout: 0 })
  }

  const staying = stay(await openLine())
  return () => {
    isStopped = true
    stopped.resolve()
    return staying
  }
}

/** Resolves when a probe on the line fails or is not answered in time: a cut cable closes nothing. */
async function fallsSilent(line: postgres.Sql): Promise<void> {
  for (;;) {
    await Bun.sleep(PROBE_EVERY_MS)
    const answered = line.unsafe('SELECT 1').then(
      () => true,
      () => false,
    )
    if (!(await Promise.race([answered, Bun.sleep(PROBE_ANSWER_MS).then(() => false)]))) return
  }
}
