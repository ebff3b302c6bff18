import { createLog } from '../../lib/log.ts'
import { startServing } from '../../server/serve.ts'
import { watchProcess } from '../../server/signals.ts'
import { type Call, defineCommand } from '../command.ts'
import { invocation, ownSurroundings } from '../invocation.ts'

/** `latchkey serve`. */
export const commands = {
  serve: defineCommand({
    kind: 'process',
    details: `
Migrates the database, creates the first admin if ADMIN_EMAIL and ADMIN_PASSWORD are set, and serves HTTP at HOST and
PORT (127.0.0.1:8000). The log goes to standard output. After SIGTERM, SIGINT or SIGHUP, /readyz answers 503, the server
listens for SHUTDOWN_DELAY_SECONDS more, finishes the requests in flight, and ends. A second signal ends it at once.`,
    run: serve,
  }),
}

const DONE = 0
const RESTART = 'restart'
/** How long the end of the process waits for a slow reader of the log, in milliseconds. */
const LAST_LINES_MS = 1_000

async function serve({ config, warnings, io, execute }: Call): Promise<number> {
  let written = Promise.resolve()
  const log = createLog(config, (text) => {
    // A failure to write the log can be reported nowhere else.
    written = io.out(text).catch(() => {})
  })
  const life = watchProcess(log)
  for (const warning of warnings) log.warn(warning)
  const adminHint = () => invocation(config, 'admin create --email you@example.com', ownSurroundings())
  let port = config.port
  try {
    // Each iteration runs one server. After a command has prepared another database, the next server opens
    // it.
    for (;;) {
      const restart = Promise.withResolvers<typeof RESTART>()
      const starting = startServing({ ...config, port }, log, {
        isDraining: life.isAsked,
        execute,
        adminHint,
        restart: () => restart.resolve(RESTART),
      })
      const running = await Promise.race([starting, life.asked, life.forced])
      // The process was asked to end before the server was ready.
      if (typeof running === 'number') return running
      const reason = await Promise.race([life.asked, life.forced, restart.promise])
      const stopped = running.stop({ delays: reason !== RESTART }).then(() => DONE)
      const code = await Promise.race([stopped, life.forced])
      if (reason !== RESTART || life.isAsked() || code !== DONE) return code
      // With PORT=0 the next server uses the port that the system chose for the first one, because clients
      // know it.
      port = running.port
    }
  } finally {
    log.flush()
    await Promise.race([written, Bun.sleep(LAST_LINES_MS)])
  }
}
