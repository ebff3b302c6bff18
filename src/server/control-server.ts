import { rmSync } from 'node:fs'
import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { parseArguments } from '../cli/arguments.ts'
import type { Tell } from '../cli/command.ts'
import { findCommand } from '../cli/commands.ts'
import { describeFailure } from '../cli/failure.ts'
import type { Context } from '../core/context.ts'
import { Problem } from '../lib/errors.ts'
import { type ControlAnswer, type ControlLine, type ControlRequest, controlPath } from './control.ts'

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

/**
 * Takes commands over DATA_DIR/control.sock and runs them with the server's own context. Only for whoever holds the
 * database's lock: a socket file that is there was left by a process that is gone.
 * @returns a function that takes no more and resolves when those in work are done; null where no socket could be made
 */
export function startControl(context: Context): (() => Promise<void>) | null {
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
        return new Response(linesOf((tell) => answer(context, body, tell)))
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

/** What is told meanwhile, and the answer: a line of JSON each; empty ones in between. */
function linesOf(work: (tell: Tell) => Promise<ControlAnswer>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  let isHeard = true
  return new ReadableStream({
    async start(controller) {
      const write = (line: string) => {
        if (isHeard) controller.enqueue(encoder.encode(`${line}\n`))
      }
      const send = (line: ControlLine) => write(JSON.stringify(line))
      // The connection would be cut for its silence.
      const signs = setInterval(() => write(''), SIGN_OF_LIFE_MS)
      send(await work((progress) => send({ progress })))
      clearInterval(signs)
      if (isHeard) controller.close()
    },
    // Whoever asked is gone; the work goes on to its end.
    cancel() {
      isHeard = false
    },
  })
}

async function answer(context: Context, body: unknown, tell: Tell): Promise<ControlAnswer> {
  if (!Value.Check(Request, body)) return { error: 'the server does not understand this request' }
  try {
    return await runCommand(context, body, tell)
  } catch (error) {
    const refused = error instanceof Problem
    const reason = refused ? { code: error.problem } : { err: error }
    context.log[refused ? 'info' : 'error']({ ...reason, command: body.command }, 'A command failed')
    return { error: describeFailure(error) }
  }
}

async function runCommand(
  context: Context,
  { command: name, argv, input }: ControlRequest,
  tell: Tell,
): Promise<ControlAnswer> {
  const entry = findCommand(name.split(' '))?.entry
  const command = await entry?.load()
  if (entry?.name !== name || command?.kind !== 'service') {
    return { error: `the running server is another release: it has no command "${name}"` }
  }
  const parsed = parseArguments(command, argv)
  if ('fault' in parsed) return { error: `the running server is another release: ${parsed.fault}` }
  context.log.info({ command: name }, 'A command runs')
  return { result: await command.run(context, parsed.args, input, tell) }
}
