import { rmSync } from 'node:fs'
import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { Context } from '../core/context.ts'
import type { OpenDatabase } from '../db/database.ts'
import { Problem } from '../lib/errors.ts'
import {
  type ControlAnswer,
  type ControlLine,
  type ControlRequest,
  controlPath,
  type Tell,
} from './control-client.ts'
import { describeFailure } from './failure.ts'

/** An import has up to 8 MiB. Escaped as JSON, with its envelope, it needs more. */
const MAX_BODY_BYTES = 24 * 1024 * 1024
const SIGN_OF_LIFE_MS = 3_000
/** With this umask only the owner can ever open the socket, also before a `chmod` could run. */
const OWNER_ONLY_UMASK = 0o177

const Request = Type.Object({
  command: Type.String({ maxLength: 100 }),
  argv: Type.Array(Type.String(), { maxItems: 1000 }),
  input: Type.Union([Type.String(), Type.Null()]),
})

/** What a command works on. A server has it open; without a server, the command opens it. */
export type Service = {
  context: Context
  database: OpenDatabase
  /**
   * Closes everything and opens it again after the running commands have ended. null: this process is not a
   * server.
   */
  restart: (() => void) | null
}

/** Runs a command with the server's context. An error becomes one sentence for the person at the terminal. */
export type Execute = (service: Service, request: ControlRequest, tell: Tell) => Promise<ControlAnswer>

/**
 * Accepts commands on DATA_DIR/control.sock. The caller must hold the database's lock: then an existing
 * socket file belongs to a process that has ended, and may be replaced.
 * @returns a function that accepts no more commands and resolves when the running ones have ended; null if no
 *   socket could be created
 */
export function startControl(service: Service, execute: Execute): (() => Promise<void>) | null {
  const { context } = service
  const path = controlPath(context.config.dataDir)
  const umask = process.umask(OWNER_ONLY_UMASK)
  try {
    rmSync(path, { force: true })
    const server = Bun.serve({
      unix: path,
      maxRequestBodySize: MAX_BODY_BYTES,
      development: false,
      fetch: async (request) => {
        const body: unknown = await request.json().catch(() => null)
        return new Response(linesOf((tell) => answer(service, execute, body, tell)))
      },
    })
    return () => server.stop()
  } catch (error) {
    // Some mounted folders support no sockets. The service itself works without one.
    context.log.warn({ err: error, path }, 'Commands cannot reach this server: stop it to run one')
    return null
  } finally {
    process.umask(umask)
  }
}

/**
 * The answer as lines of JSON: reports of progress, then the result. Empty lines in between keep the
 * connection alive.
 */
function linesOf(work: (tell: Tell) => Promise<ControlAnswer>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  let isConnected = true
  return new ReadableStream({
    async start(controller) {
      const write = (line: string) => {
        if (isConnected) controller.enqueue(encoder.encode(`${line}\n`))
      }
      const send = (line: ControlLine) => write(JSON.stringify(line))
      // Without these lines the connection would be silent, and would be closed.
      const signs = setInterval(() => write(''), SIGN_OF_LIFE_MS)
      send(await work((progress) => send({ progress })))
      clearInterval(signs)
      if (isConnected) controller.close()
    },
    // The client is gone. The work continues to its end.
    cancel() {
      isConnected = false
    },
  })
}

async function answer(service: Service, execute: Execute, body: unknown, tell: Tell): Promise<ControlAnswer> {
  const { context } = service
  if (!Value.Check(Request, body)) return { error: 'the server does not understand this request' }
  try {
    return await execute(service, body, tell)
  } catch (error) {
    const refused = error instanceof Problem
    const reason = refused ? { code: error.problem } : { err: error }
    context.log[refused ? 'info' : 'error']({ ...reason, command: body.command }, 'A command failed')
    return { error: describeFailure(error) }
  }
}
