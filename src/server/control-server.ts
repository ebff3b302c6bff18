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

/** An import of 8 MiB, escaped as JSON, with what goes around it. */
const MAX_BODY_BYTES = 24 * 1024 * 1024
const SIGN_OF_LIFE_MS = 3_000
/** The socket file is born readable and writable by its owner alone. */
const OWNER_ONLY_UMASK = 0o177

const Request = Type.Object({
  command: Type.String({ maxLength: 100 }),
  argv: Type.Array(Type.String(), { maxItems: 1000 }),
  input: Type.Union([Type.String(), Type.Null()]),
})

/** What a command works on: in a server, or opened by the command itself. */
export type Service = {
  context: Context
  database: OpenDatabase
  /** Closes everything and opens it again, once the commands in work are done; null: this is no server. */
  restart: (() => void) | null
}

/** Runs a command with the server's own context. What it throws is described to the person. */
export type Execute = (service: Service, request: ControlRequest, tell: Tell) => Promise<ControlAnswer>

/**
 * Takes commands over DATA_DIR/control.sock. The caller must hold the database's lock: a socket file that exists was
 * then left by a process that is gone.
 * @returns a function that takes no more and resolves when those in work are done; null where no socket could be made
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
    // Some mounted folders take no sockets; the service itself does not need one.
    context.log.warn({ err: error, path }, 'Commands cannot reach this server: stop it to run one')
    return null
  } finally {
    process.umask(umask)
  }
}

/** What the work tells meanwhile, and its answer: a line of JSON each, with empty lines in between. */
function linesOf(work: (tell: Tell) => Promise<ControlAnswer>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  let isConnected = true
  return new ReadableStream({
    async start(controller) {
      const write = (line: string) => {
        if (isConnected) controller.enqueue(encoder.encode(`${line}\n`))
      }
      const send = (line: ControlLine) => write(JSON.stringify(line))
      // A silent connection would be cut.
      const signs = setInterval(() => write(''), SIGN_OF_LIFE_MS)
      send(await work((progress) => send({ progress })))
      clearInterval(signs)
      if (isConnected) controller.close()
    },
    // The client is gone; the work goes on to its end.
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
