import type { Config } from '../config/config.ts'
import { createLog, type Log } from '../lib/log.ts'
import { askServer, type ControlRequest, retryWhileHeld, type Tell } from '../server/control-client.ts'
import type { Service } from '../server/control-server.ts'
import { openContext } from '../server/open.ts'
import type { Io } from './terminal.ts'

/** The same piece of work: done by this process, or described for the server that holds the database. */
export type Work = {
  here(service: Service, tell: Tell): Promise<unknown>
  /** In place of `here`, for what does not need the database to be there. */
  alone?(log: Log): Promise<unknown>
  there: ControlRequest
}

/**
 * Does a piece of work on the service. With DATABASE_URL this process does it, whatever else runs; on an embedded
 * database the server that holds it does, where there is one.
 * @throws Error with one sentence, whoever did the work
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

/** The log of a command: on the terminal, and only what the person should know. */
export function commandLog(config: Config, io: Io): Log {
  const logLevel = config.logLevel === 'debug' ? 'debug' : 'warn'
  return createLog({ logLevel, logFormat: config.logFormat }, io.err)
}

const tellOn =
  (io: Io): Tell =>
  (line) =>
    io.err(`${line}\n`)
