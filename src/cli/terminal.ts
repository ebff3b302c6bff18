import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'

/** The process' surroundings as a command sees them. */
export type Io = {
  /** Whether a person can be asked. */
  isTerminal: boolean
  /** Whether a person reads what `out` writes. */
  isRead: boolean
  /**
   * Resolves when the reader has taken it: to end before would cut it off.
   * @throws Error where it cannot be written, as on a full disk
   */
  out(text: string): Promise<void>
  err(text: string): void
  /** All of standard input, as UTF-8. */
  readAll(): Promise<string>
  /** One line from the terminal, not echoed. null: the person ended it (Ctrl-C, Ctrl-D). */
  askHidden(question: string): Promise<string | null>
}

/** The surroundings of this process. */
export function processIo(): Io {
  // Told to whoever writes, by the write's own callback.
  process.stdout.on('error', () => {})
  return {
    isTerminal: process.stdin.isTTY === true && process.stderr.isTTY === true,
    isRead: process.stdout.isTTY === true,
    out,
    err: (text) => void process.stderr.write(text),
    readAll: () => Bun.stdin.text(),
    askHidden,
  }
}

function out(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => (error && !isGone(error) ? reject(error) : resolve()))
  })
}

/** A reader that went away, as `head` does, wanted no more. */
function isGone(error: Error): boolean {
  return 'code' in error && error.code === 'EPIPE'
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

/** Rows under their headings in columns, each as wide as it needs to be; empty where there are no rows. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return ''
  const all = [headings, ...rows]
  const widths = headings.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** `1 session`, `2 sessions`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
