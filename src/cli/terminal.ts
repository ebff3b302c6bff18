import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'

/** The terminal and the standard streams, as commands use them. */
export type Io = {
  /** Whether there is a person to ask. */
  isTerminal: boolean
  /** Whether a person reads what `out` writes. */
  isRead: boolean
  /**
   * Resolves when the reader has received the text. If the process ended earlier, the text would be
   * truncated.
   * @throws Error if the text cannot be written, as on a full disk
   */
  out(text: string): Promise<void>
  err(text: string): void
  /** Reads all of standard input as UTF-8. */
  readAll(): Promise<string>
  /** Reads one line from the terminal without echo. null: the person ended the input (Ctrl-C, Ctrl-D). */
  askHidden(question: string): Promise<string | null>
}

/** The terminal and the standard streams of this process. */
export function processIo(): Io {
  // Each write reports its errors to its own callback.
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

/** Whether the reader of a pipe has closed it, as `head` does. That is not a failure. */
function isGone(error: Error): boolean {
  return 'code' in error && error.code === 'EPIPE'
}

/** Asks in the terminal. readline handles editing in raw mode; its echo is discarded. */
function askHidden(question: string): Promise<string | null> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true, historySize: 0 })
  // The question is written now, because from now on typed text is not echoed.
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

/** Writes rows in columns below their headings. Returns an empty text if there are no rows. */
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

/** Writes a number with its noun: `1 session`, `2 sessions`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** Writes the members of an object in two columns. A list of texts is joined; what else is no text is JSON. */
export function facts(object: Readonly<Record<string, unknown>>): string {
  const spell = (value: unknown): string => {
    if (value === null || value === undefined) return ''
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value.join(' ')
    return typeof value === 'object' ? JSON.stringify(value) : String(value)
  }
  return table(
    ['NAME', 'VALUE'],
    Object.entries(object).map(([name, value]) => [name, spell(value)]),
  )
}

/** Adds to a list how it goes on, where there is more. */
export const withMore = (list: string, cursor: string | null): string =>
  cursor === null ? list : `${list}\nThere are more: --cursor ${cursor}`
