import { join } from 'node:path'
import { type RunningProgram, runProgram, startProgram } from './binary.ts'

/**
 * Latchkey from the source tree. Bun's own reading of `.env` is off, because its rules differ
 * (docs/decisions/0002).
 */
export const PROGRAM = [process.execPath, '--no-env-file', join(import.meta.dir, '../../src/main.ts')]

type Environment = Record<string, string>

/** Runs one command in that directory, with no environment except `env`. */
export function latchkey(cwd: string, words: readonly string[], env: Environment = {}, stdin = '') {
  return runProgram([...PROGRAM, ...words], { cwd, env, stdin })
}

/** Starts a server in that directory, with no environment except `env`. */
export function serve(cwd: string, env: Environment = {}): Promise<RunningProgram> {
  return startProgram([...PROGRAM, 'serve'], { cwd, env })
}

/** A command on its own terminal, at which the test types. */
export type TerminalSession = {
  /** Waits until the screen contains a text that it did not contain at the last `type`. */
  shows(text: string): Promise<void>
  type(text: string): void
  /** Everything that the screen has displayed. */
  screen(): string
  exited: Promise<number>
}

/** Runs one command on a pseudo-terminal. */
export function latchkeyOnTerminal(
  cwd: string,
  words: readonly string[],
  env: Environment = {},
): TerminalSession {
  let screen = ''
  let seen = 0
  let changed = Promise.withResolvers<void>()
  const child = Bun.spawn([...PROGRAM, ...words], {
    cwd,
    env,
    terminal: {
      data(_, bytes) {
        screen += new TextDecoder().decode(bytes)
        changed.resolve()
        changed = Promise.withResolvers<void>()
      },
    },
  })
  const ended = child.exited.then(() => {
    throw new Error(`It ended, and the screen shows:\n${screen}`)
  })
  ended.catch(() => {})
  return {
    async shows(text) {
      while (!screen.slice(seen).includes(text)) await Promise.race([changed.promise, ended])
    },
    type(text) {
      seen = screen.length
      child.terminal?.write(text)
    },
    screen: () => screen,
    exited: child.exited,
  }
}
