import type { Config } from '../config/config.ts'
import type { OpenDatabase } from '../db/database.ts'
import { mayPass } from '../db/errors.ts'
import { openDatabase } from '../db/open.ts'
import { reachDirectly } from '../db/postgres/postgres.ts'
import type { Log } from '../lib/log.ts'
import { SECOND_MS } from '../lib/time.ts'
import { describeFailure } from './failure.ts'

const RETRY_MS = SECOND_MS / 4
const TELL_MS = 5 * SECOND_MS

/**
 * Opens the database. Waits up to DATABASE_WAIT_SECONDS for a database that does not exist yet, is starting
 * or has no free connection, also at DATABASE_DIRECT_URL. The log says why.
 * @param parts those of `openDatabase`
 * @throws the error of `openDatabase`, at once if waiting cannot help
 */
export async function waitForDatabase(
  config: Config,
  log: Log,
  parts: { creates?: boolean } = {},
): Promise<OpenDatabase> {
  const endsAt = performance.now() + config.databaseWaitSeconds * SECOND_MS
  let tellsAt = 0
  for (;;) {
    try {
      const database = await openDatabase(config, log, parts)
      await requireDirectWay(config, database)
      return database
    } catch (error) {
      const now = performance.now()
      if (!mayPass(error) || now >= endsAt) throw error
      if (now >= tellsAt) {
        tellsAt = now + TELL_MS
        log.warn(
          { seconds_left: Math.round((endsAt - now) / SECOND_MS) },
          `Waiting: ${describeFailure(error)}`,
        )
      }
      await Bun.sleep(RETRY_MS)
    }
  }
}

/** Listening and migrations go by it: without it the start would end after the wait. */
async function requireDirectWay(config: Config, database: OpenDatabase): Promise<void> {
  const { databaseUrl, databaseDirectUrl } = config
  if (!databaseDirectUrl || databaseDirectUrl.reveal() === databaseUrl?.reveal()) return
  try {
    await reachDirectly(config)
  } catch (error) {
    await database.close()
    throw new Error(`DATABASE_DIRECT_URL: ${describeFailure(error)}`, { cause: error })
  }
}
