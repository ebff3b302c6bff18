import type { Config } from '../config/config.ts'
import type { Context } from '../core/context.ts'
import { createLog } from '../lib/log.ts'
import { askServer, type ControlRequest, retryWhileHeld, type Tell } from '../server/control-client.ts'
import { openContext } from '../server/open.ts'
import type { Io } from './terminal.ts'

/** The same piece of work: done by this process, or described for the server that holds the database. */
export type Work = { here(context: Context, tell: Tell): Promise<unknown>; there: ControlRequest }

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
  const logLevel = config.logLevel === 'debug' ? 'debug' : 'warn'
  const log = createLog({ logLevel, logFormat: config.logFormat }, io.err)
  const opened = await openContext(config, log, 'command')
  try {
    return await work.here(opened.context, tellOn(io))
  } finally {
    await opened.close()
    log.flush()
  }
}

const tellOn =
  (io: Io): Tell =>
  (line) =>
    io.err(`${line}\n`)
