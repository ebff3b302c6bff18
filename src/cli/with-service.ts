import type { Config } from '../config/config.ts'
import { createLog, type Log } from '../lib/log.ts'
import { askServer, type ControlRequest, retryWhileHeld, type Tell } from '../server/control-client.ts'
import type { Service } from '../server/control-server.ts'
import { openContext } from '../server/open.ts'
import type { Io } from './terminal.ts'

/**
 * A piece of work in two forms: as a function for this process, and as a request to the server that holds the
 * database.
 */
export type Work = {
  here(service: Service, tell: Tell): Promise<unknown>
  /** Replaces `here` for work that does not require an existing database. */
  alone?(log: Log): Promise<unknown>
  there: ControlRequest
}

/**
 * Runs work on the service. With DATABASE_URL this process runs it, whatever other processes run. With an
 * embedded database the server that holds the database runs it, or this process if there is no server.
 * @throws Error with one sentence, in whichever process the work failed
 */
export function withService(config: Config, io: Io, work: Work): Promise<unknown> {
  if (config.databaseUrl !== null) return workHere(config, io, work)
  return retryWhileHeld(async () => {
    const answer = await askServer(config.dataDir, work.there, tellOn(io))
    if (answer === null) return workHere(config, io, work)
    if ('error' in answer) throw new Error(answer.error)
    return answer.result
  })
}

async function workHere(config: Config, io: Io, work: Work): Promise<unknown> {
  const log = commandLog(config, io)
  try {
    if (work.alone) return await work.alone(log)
    const { context, database, close } = await openContext(config, log, 'command')
    return await work.here({ context, database, restart: null }, tellOn(io)).finally(close)
  } finally {
    log.flush()
  }
}

/** The log of a command, written to the terminal: warnings and errors, and everything with LOG_LEVEL=debug. */
export function commandLog(config: Config, io: Io): Log {
  const logLevel = config.logLevel === 'debug' ? 'debug' : 'warn'
  return createLog({ logLevel, logFormat: config.logFormat }, io.err)
}

const tellOn =
  (io: Io): Tell =>
  (line) =>
    io.err(`${line}\n`)
