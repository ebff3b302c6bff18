import { join } from 'node:path'
import { requireTrust } from '../config/trust.ts'
import { isHeldElsewhere } from '../db/errors.ts'

/** A command as it goes to the server that holds the embedded database. */
export type ControlRequest = {
  /** Its name in the table of commands. */
  command: string
  /** What followed the name, parsed by the server again. */
  argv: string[]
  /** What was asked or read on the side of the person, such as a password. */
  input: string | null
}

/** The result, or one sentence for the person. */
export type ControlAnswer = { result: unknown } | { error: string }

/** A line of what the server sends: first how far the work is, last the answer. */
export type ControlLine = { progress: string } | ControlAnswer

/** Tells the person who waits how far the work is, in one line. */
export type Tell = (line: string) => void

/** The socket at which a server takes commands. It is as private as the database beside it. */
export function controlPath(dataDir: string): string {
  return join(dataDir, 'control.sock')
}

/** How long to wait for the process that holds the embedded database: it may be starting, stopping, or a command. */
const WAIT_MS = 10_000
const RETRY_AFTER_MS = 100

/**
 * Sends a command to the server that holds the embedded database.
 * @param tell hears how far it is
 * @returns null where nobody listens
 * @throws Error with one sentence where the server broke off
 */
export async function askServer(
  dataDir: string,
  request: ControlRequest,
  tell: Tell,
): Promise<ControlAnswer | null> {
  const response = await send(dataDir, JSON.stringify(request))
  if (response === null) return null
  for await (const line of linesOf(response)) {
    if (!('progress' in line)) return line
    tell(line.progress)
  }
  throw new Error(BROKE_OFF)
}

async function* linesOf(response: Response): AsyncGenerator<ControlLine> {
  let text = ''
  for await (const part of chunksOf(response)) {
    const lines = (text + part).split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) if (line !== '') yield JSON.parse(line) as ControlLine
  }
}

async function* chunksOf(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  try {
    for await (const chunk of response.body ?? []) yield decoder.decode(chunk, { stream: true })
  } catch (error) {
    throw new Error(BROKE_OFF, { cause: error })
  }
}

const BROKE_OFF = 'the running server broke off; its log tells more'

/** Whether a server listens for commands. */
export async function isServing(dataDir: string): Promise<boolean> {
  return (await send(dataDir, '')) !== null
}

/** Tries again for ten seconds as long as another process holds the embedded database. */
export async function retryWhileHeld<T>(attempt: () => Promise<T>): Promise<T> {
  const givesUpAt = Date.now() + WAIT_MS
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (!isHeldElsewhere(error) || Date.now() > givesUpAt) throw error
      await Bun.sleep(RETRY_AFTER_MS)
    }
  }
}

/** @throws Error with one sentence where the socket may be another user's, who would read what is sent */
async function send(dataDir: string, body: string): Promise<Response | null> {
  requireTrust(dataDir, `DATA_DIR ${dataDir}`)
  requireTrust(controlPath(dataDir), controlPath(dataDir))
  try {
    return await fetch('http://localhost/', { unix: controlPath(dataDir), method: 'POST', body })
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return null
    throw new Error(BROKE_OFF, { cause: error })
  }
}
