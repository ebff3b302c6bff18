import type { Log } from '../lib/log.ts'

type Signal = 'SIGINT' | 'SIGTERM' | 'SIGHUP'

/** What ends a process from outside, each as the exit code that it asks for. */
export type ProcessLife = {
  /** The first SIGTERM, SIGINT or SIGHUP. */
  asked: Promise<number>
  /** The second one: end at once. Also an error that nobody caught: nothing can be relied on any more. */
  forced: Promise<number>
  isAsked(): boolean
}

/** By convention 128 and the number of the signal. */
const EXIT_CODES: Record<Signal, number> = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }
const CRASHED = 1
/** npm passes on the Ctrl-C that the terminal has sent already: that is one request, not two. */
const SAME_SIGNAL_MS = 100

/** Listens for signals and for errors that nobody caught, for as long as the process lives. */
export function watchProcess(log: Log): ProcessLife {
  const asked = Promise.withResolvers<number>()
  const forced = Promise.withResolvers<number>()
  let first: { signal: Signal; atMs: number } | null = null
  const hear = (signal: Signal) => {
    const nowMs = performance.now()
    if (first === null) {
      first = { signal, atMs: nowMs }
      asked.resolve(EXIT_CODES[signal])
    } else if (signal !== first.signal || nowMs - first.atMs > SAME_SIGNAL_MS) {
      forced.resolve(EXIT_CODES[signal])
    }
  }
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) process.on(signal, () => hear(signal))
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      log.error({ err: error }, 'An error that nobody caught ends the process')
      forced.resolve(CRASHED)
    })
  }
  return { asked: asked.promise, forced: forced.promise, isAsked: () => first !== null }
}
