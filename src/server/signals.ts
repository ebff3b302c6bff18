import type { Log } from '../lib/log.ts'

type Signal = 'SIGINT' | 'SIGTERM' | 'SIGHUP'

/** The signals and errors that end the process, each as an exit code. */
export type ProcessLife = {
  /** Resolves at the first SIGTERM, SIGINT or SIGHUP. */
  asked: Promise<number>
  /**
   * Resolves at the second signal, or at an uncaught error. The process then ends at once; after an uncaught
   * error its state cannot be trusted.
   */
  forced: Promise<number>
  isAsked(): boolean
}

/** By convention 128 plus the number of the signal. */
const EXIT_CODES: Record<Signal, number> = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }
const CRASHED = 1
/**
 * npm forwards a Ctrl-C that the terminal has already sent to the process. Two signals within this time count
 * as one.
 */
const SAME_SIGNAL_MS = 100

/** Watches for signals and uncaught errors for the rest of the process. */
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
      log.error({ err: error }, 'An uncaught error ends the process')
      forced.resolve(CRASHED)
    })
  }
  return { asked: asked.promise, forced: forced.promise, isAsked: () => first !== null }
}
