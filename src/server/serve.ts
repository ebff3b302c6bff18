import { createApp, createMetricsApp, createVerifierApp } from '../api/app.ts'
import type { Config } from '../config/config.ts'
import type { Context } from '../core/context.ts'
import { ensureFirstAdmin, hasAdmin, issueSetupLink } from '../core/users/accounts.ts'
import { isHeldElsewhere } from '../db/errors.ts'
import type { Log } from '../lib/log.ts'
import { removeTransfers } from './backup.ts'
import { isServing, retryWhileHeld } from './control-client.ts'
import { type Execute, type Service, startControl } from './control-server.ts'
import { describeFailure } from './failure.ts'
import { type Listening, listen } from './listen.ts'
import { type Opened, openContext } from './open.ts'

/** What the command line gives to a server. */
export type ServeOptions = {
  /** Whether the process was asked to end. /readyz then answers 503. */
  isDraining(): boolean
  /** Runs the commands that arrive over the control socket. */
  execute: Execute
  /** The command that creates an admin, for the log. */
  adminHint(): string
  /**
   * Called when a command has prepared another database. The caller stops this server and starts the next
   * one.
   */
  restart(): void
}

/** A running server and its port. */
export type Running = {
  port: number
  /** @param delays whether to continue listening for SHUTDOWN_DELAY_SECONDS first (docs/decisions/0016) */
  stop(options: { delays: boolean }): Promise<void>
}

/**
 * Opens the service and listens. HOST and PORT are opened last, so that no request arrives before it can be
 * answered.
 * @throws Error with one sentence for the person at the terminal
 */
export async function startServing(config: Config, log: Log, options: ServeOptions): Promise<Running> {
  const { context, database, close } = await retryWhileHeld(() => openForServing(config, log))
  try {
    const { region } = context
    const { isWithoutAdmin, setupLink } = region ? NO_ADMIN_NEEDED : await prepareAdmin(context)
    const { isDraining } = options
    const app = region
      ? createVerifierApp(context, region, { isDraining })
      : createApp(context, { isDraining })
    const scraped = await listenForScrapes(context)
    const { host, port } = config
    const listening = await listen(app, { host, port, setting: 'PORT' })
    // Nothing is waited for from here on: a signal that came meanwhile would end the process with requests in flight.
    const service = { context, database, restart: options.restart }
    const stopControl = database.kind === 'embedded' ? startOwnControl(service, options.execute) : null
    log.info({ public_url: config.publicUrl, database: database.kind }, `Listening on ${listening.address}`)
    if (isWithoutAdmin) log.warn(`There is no admin yet. To make one: ${options.adminHint()}`)
    if (setupLink !== null)
      log.warn(`The first admin can also be made in a browser, within an hour: ${setupLink}`)
    const parts = { listening, scraped, stopControl, close }
    return { port: listening.port, stop: ({ delays }) => stopServing(context, parts, delays) }
  } catch (error) {
    await close()
    throw error
  }
}

/**
 * Waits for a command that holds the embedded database, or for a server that is stopping. Does not wait for a
 * server that serves.
 */
async function openForServing(config: Config, log: Log): Promise<Opened> {
  try {
    return await openContext(config, log, 'serve')
  } catch (error) {
    if (!isHeldElsewhere(error) || !(await isServing(config.dataDir))) throw error
    throw new Error(`another server runs on the embedded database in ${config.dataDir}`)
  }
}

const NO_ADMIN_NEEDED = { isWithoutAdmin: false, setupLink: null }

/** Makes the first admin, or a link by which a person becomes it. */
async function prepareAdmin(context: Context) {
  await makeFirstAdmin(context)
  const isWithoutAdmin = !(await hasAdmin(context))
  return { isWithoutAdmin, setupLink: await issueSetupLink(context) }
}

async function makeFirstAdmin(context: Context): Promise<void> {
  try {
    const admin = await ensureFirstAdmin(context)
    if (admin) context.log.info({ user: admin.id }, 'The first admin is made')
  } catch (error) {
    throw new Error(`ADMIN_EMAIL and ADMIN_PASSWORD do not make an admin: ${describeFailure(error)}`, {
      cause: error,
    })
  }
}

/** Accepts commands, after removing the files of interrupted ones. */
function startOwnControl(service: Service, execute: Execute) {
  removeTransfers(service.context.config.dataDir)
  return startControl(service, execute)
}

/** Serves metrics at METRICS_PORT, if it is set. */
async function listenForScrapes(context: Context): Promise<Listening | null> {
  const { host, metricsPort } = context.config
  if (metricsPort === null) return null
  const at = { host, port: metricsPort, setting: 'METRICS_PORT' } as const
  const listening = await listen(createMetricsApp(context), at)
  context.log.info(`Metrics at ${listening.address}/metrics`)
  return listening
}

type Parts = {
  listening: Listening
  scraped: Listening | null
  stopControl: (() => Promise<void>) | null
  close(): Promise<void>
}

/**
 * Waits until the load balancer has seen /readyz, then for the requests in flight (docs/decisions/0016). The
 * metrics port closes last, so that the last scrape counts those requests.
 */
async function stopServing({ config, log }: Context, parts: Parts, delays: boolean): Promise<void> {
  const delaySeconds = delays ? config.shutdownDelaySeconds : 0
  log.info({ delay_seconds: delaySeconds }, 'Shutting down')
  await Bun.sleep(delaySeconds * 1000)
  const [inTime] = await Promise.all([parts.listening.drain(), parts.stopControl?.()])
  if (!inTime) log.warn('Requests that took too long were cut off')
  await parts.scraped?.drain()
  await parts.close()
  log.info('Stopped')
}
