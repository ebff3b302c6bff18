import { createApp, createMetricsApp } from '../../api/app.ts'
import type { Config } from '../../config/config.ts'
import type { Context } from '../../core/context.ts'
import { ensureFirstAdmin, hasAdmin } from '../../core/users/accounts.ts'
import { isHeldElsewhere } from '../../db/errors.ts'
import { createLog, type Log } from '../../lib/log.ts'
import { isServing, retryWhileHeld } from '../../server/control-client.ts'
import { startControl } from '../../server/control-server.ts'
import { type Listening, listen } from '../../server/listen.ts'
import { type Opened, openContext } from '../../server/open.ts'
import { type ProcessLife, watchProcess } from '../../server/signals.ts'
import { type Call, defineCommand } from '../command.ts'
import { describeFailure } from '../failure.ts'
import { invocation, ownSurroundings } from '../invocation.ts'

/** `latchkey serve` */
export const commands = {
  serve: defineCommand({
    kind: 'process',
    details: `
Brings the database up to date, makes the first admin where ADMIN_EMAIL and ADMIN_PASSWORD say so, and serves HTTP at
HOST and PORT (127.0.0.1:8000). The log goes to standard output. SIGTERM or SIGINT: /readyz turns 503, listening goes
on for SHUTDOWN_DELAY_SECONDS, requests in flight end, then the process does; a second signal ends it at once.`,
    run: serve,
  }),
}

/** How long the end waits for a reader of the log that is slow. */
const LAST_LINES_MS = 1_000

async function serve({ config, warnings, io }: Call): Promise<number> {
  let written = Promise.resolve()
  const log = createLog(config, (text) => {
    // Nowhere is left to tell that the log cannot be written.
    written = io.out(text).catch(() => {})
  })
  const life = watchProcess(log)
  for (const warning of warnings) log.warn(warning)
  try {
    const running = await Promise.race([start(config, log, life), life.asked, life.forced])
    // Asked to go before it served anybody.
    if (typeof running === 'number') return running
    await Promise.race([life.asked, life.forced])
    return await Promise.race([stop(config, log, running), life.forced])
  } finally {
    log.flush()
    await Promise.race([written, Bun.sleep(LAST_LINES_MS)])
  }
}

type Running = Awaited<ReturnType<typeof start>>

/** Everything in its order: what is listening can serve. */
async function start(config: Config, log: Log, life: ProcessLife) {
  const opened = await retryWhileHeld(() => openForServing(config, log))
  const { context, database } = opened
  try {
    await makeFirstAdmin(context)
    const app = createApp(context, { isDraining: life.isAsked })
    const scraped = await listenForScrapes(context)
    const { host, port } = config
    const listening = await listen(app, { host, port, setting: 'PORT' })
    const stopControl = database.kind === 'embedded' ? startControl(context) : null
    log.info({ public_url: config.publicUrl, database: database.kind }, `Listening on ${listening.address}`)
    if (!(await hasAdmin(context))) log.warn(`There is no admin yet. To make one: ${howToMakeAdmin(config)}`)
    return { listening, scraped, stopControl, close: opened.close }
  } catch (error) {
    await opened.close()
    throw error
  }
}

/** Where METRICS_PORT says so; the last scrape still sees how the requests in flight end. */
async function listenForScrapes(context: Context): Promise<Listening | null> {
  const { host, metricsPort } = context.config
  if (metricsPort === null) return null
  const at = { host, port: metricsPort, setting: 'METRICS_PORT' } as const
  const listening = await listen(createMetricsApp(context), at)
  context.log.info(`Metrics at ${listening.address}/metrics`)
  return listening
}

/** Waits for a command that holds the embedded database, or a server that is on its way out; not for one that serves. */
async function openForServing(config: Config, log: Log): Promise<Opened> {
  try {
    return await openContext(config, log, 'serve')
  } catch (error) {
    if (!isHeldElsewhere(error) || !(await isServing(config.dataDir))) throw error
    throw new Error(`another server runs on the embedded database in ${config.dataDir}`)
  }
}

/** The balancer sees /readyz first; whoever comes meanwhile is still served. */
async function stop(
  config: Config,
  log: Log,
  { listening, scraped, stopControl, close }: Running,
): Promise<number> {
  log.info({ delay_seconds: config.shutdownDelaySeconds }, 'Shutting down')
  await Bun.sleep(config.shutdownDelaySeconds * 1000)
  const [inTime] = await Promise.all([listening.drain(), stopControl?.()])
  if (!inTime) log.warn('Requests that took too long were cut off')
  await scraped?.drain()
  await close()
  log.info('Stopped')
  return 0
}

async function makeFirstAdmin(context: Context): Promise<void> {
  try {
    const admin = await ensureFirstAdmin(context)
    if (admin) context.log.info({ user: admin.id }, 'The first admin is made')
  } catch (error) {
    throw new Error(`ADMIN_EMAIL and ADMIN_PASSWORD make no admin: ${describeFailure(error)}`, {
      cause: error,
    })
  }
}

function howToMakeAdmin(config: Config): string {
  return invocation(config, 'admin create --email you@example.com', ownSurroundings())
}
