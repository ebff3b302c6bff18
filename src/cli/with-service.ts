import type { Config } from '../config.ts'
import type { Context } from '../context.ts'
import { isHeldElsewhere } from '../db/errors.ts'
import { createLog } from '../lib/log.ts'
import { type ControlAnswer, type ControlRequest, controlPath } from './control.ts'
import type { Io } from './io.ts'
import { openContext } from './open-context.ts'

/** The same piece of work: done by this process, or described for the server that holds the database. */
export type Work = { here(context: Context): Promise<unknown>; there: ControlRequest }

/** How long a server that is starting or stopping may take before a command gives up on it. */
const WAIT_MS = 10_000
const RETRY_AFTER_MS = 100

/**
 * Does a piece of work on the service. With DATABASE_URL this process does it, whatever else runs; on an embedded
 * database the server that holds it does, where there is one.
 * @throws Error with one sentence, whoever did the work
 */
export async function withService(config: Config, io: Io, work: Work): Promise<unknown> {
  if (config.databaseUrl !== null) return workHere(config, io, work)
  const givesUpAt = Date.now() + WAIT_MS
  for (;;) {
    const answer = await askServer(config.dataDir, work.there)
    if (answer !== null) {
      if ('error' in answer) throw new Error(answer.error)
      return answer.result
    }
    try {
      return await workHere(config, io, work)
    } catch (error) {
      // Held, and not listening yet or not any more.
      if (!isHeldElsewhere(error) || Date.now() > givesUpAt) throw error
      await Bun.sleep(RETRY_AFTER_MS)
    }
  }
}

async function workHere(config: Config, io: Io, work: Work): Promise<unknown> {
  const log = createLog(
    { logLevel: config.logLevel === 'debug' ? 'debug' : 'warn', logFormat: config.logFormat },
    io.err,
  )
  const opened = await openContext(config, log, 'command')
  try {
    return await work.here(opened.context)
  } finally {
    await opened.close()
    log.flush()
  }
}

/** null: nobody listens there. */
async function askServer(dataDir: string, request: ControlRequest): Promise<ControlAnswer | null> {
  let response: Response
  try {
    response = await fetch('http://localhost/', {
      unix: controlPath(dataDir),
      method: 'POST',
      body: JSON.stringify(request),
    })
  } catch (error) {
    if (
      error instanceof Error &&
      'code' in error &&
      (error.code === 'ENOENT' || error.code === 'ECONNREFUSED')
    ) {
      return null
    }
    throw new Error('the running server broke off; its log tells more', { cause: error })
  }
  return (await response.json()) as ControlAnswer
}
