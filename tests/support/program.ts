import { join } from 'node:path'
import { type RunningProgram, runProgram, startProgram } from './binary.ts'

/** Latchkey from the source tree. Bun would read `.env` by rules of its own. */
export const PROGRAM = [process.execPath, '--no-env-file', join(import.meta.dir, '../../src/main.ts')]

type Environment = Record<string, string>

/** Runs one command in that directory, with no environment but `env`. */
export function latchkey(cwd: string, words: readonly string[], env: Environment = {}, stdin = '') {
  return runProgram([...PROGRAM, ...words], { cwd, env, stdin })
}

/** Starts a server in that directory, with no environment but `env`. */
export function serve(cwd: string, env: Environment = {}): Promise<RunningProgram> {
  return startProgram([...PROGRAM, 'serve'], { cwd, env })
}

/** A command on a terminal of its own, at which the test is the person. */
export type TerminalSession = {
  /** Waits until the screen shows a text that it has not shown at the last `type`. */
  shows(text: string): Promise<void>
  type(text: string): void
  /** All that the screen showed. */
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
