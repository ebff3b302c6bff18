import { join } from 'node:path'

/** A command as it goes to the server that holds the embedded database. */
export type ControlRequest = {
  /** Its name in the table. */
  command: string
  /** What followed the name, read anew by the server. */
  argv: string[]
  /** What was asked or read where the person sits, such as a password. */
  input: string | null
}

/** What it came to: the result, or one sentence for the person. */
export type ControlAnswer = { result: unknown } | { error: string }

/** A line of what the server sends: how far the work is, and at last what it came to. */
export type ControlLine = { progress: string } | ControlAnswer

/** Where a server listens for commands. Private like the database beside it: whoever can open it is its owner. */
export function controlPath(dataDir: string): string {
  return join(dataDir, 'control.sock')
}
