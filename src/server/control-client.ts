import { join } from 'node:path'
import { requireTrust } from '../config/trust.ts'
import { isHeldElsewhere } from '../db/errors.ts'

/** A command that is sent to the server that holds the embedded database. */
export type ControlRequest = {
  /** The command's name in the table of commands. */
  command: string
  /** The words after the name. The server parses them again. */
  argv: string[]
  /** Text that was read in the command's terminal, such as a password. */
  input: string | null
}

/** The result, or one sentence for the person at the terminal. */
export type ControlAnswer = { result: unknown } | { error: string }

/** One line of the server's answer: reports of progress first, the result last. */
export type ControlLine = { progress: string } | ControlAnswer

/** Reports progress to the person at the terminal, in one line. */
export type Tell = (line: string) => void

/** The path of the socket on which a server accepts commands. The socket is as private as the database. */
export function controlPath(dataDir: string): string {
  return join(dataDir, 'control.sock')
}

/**
 * How long to wait for the process that holds the embedded database, which may be a server that starts or
 * stops, or a command.
 */
const WAIT_MS = 10_000
const RETRY_AFTER_MS = 100

/**
 * Sends a command to the server that holds the embedded database.
 * @param tell receives reports of progress
 * @returns null if no server listens
 * @throws Error with one sentence if the server stopped before it answered
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

/** Repeats `attempt` for up to ten seconds while another process holds the embedded database. */
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

/**
 * @throws Error with one sentence if the socket may belong to another user, who could read what is sent
 *   (docs/decisions/0032)
 */
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
