import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'

/** The process' surroundings as a command sees them. */
export type Io = {
  /** Whether a person can be asked. */
  isTerminal: boolean
  out(text: string): void
  err(text: string): void
  /** All of standard input, as UTF-8. */
  readAll(): Promise<string>
  /** One line from the terminal, not echoed. null: the person ended it (Ctrl-C, Ctrl-D). */
  askHidden(question: string): Promise<string | null>
}

/** The surroundings of this process. */
export function processIo(): Io {
  return {
    isTerminal: process.stdin.isTTY === true && process.stderr.isTTY === true,
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    readAll: () => Bun.stdin.text(),
    askHidden,
  }
}

/** readline does the editing in raw mode; what it would echo goes nowhere. */
function askHidden(question: string): Promise<string | null> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true, historySize: 0 })
  // Only now is what is typed not echoed.
  process.stderr.write(question)
  return new Promise<string | null>((resolve) => {
    const end = (answer: string | null) => {
      lines.removeAllListeners().close()
      process.stderr.write('\n')
      resolve(answer)
    }
    lines.once('line', end)
    lines.once('SIGINT', () => end(null))
    lines.once('close', () => end(null))
  })
}
