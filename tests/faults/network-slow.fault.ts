import { startDatabaseProxy } from '../support/database-proxy.ts'
import { createDatabase } from '../support/postgres.ts'
import { startBed } from './bed.ts'
import { type Fault, repeat } from './fault.ts'
import { underLoad } from './load.ts'
import { fireLogins, strangers } from './logins.ts'

/**
 * With the first delay everything still works. With the second one, a request with several queries exceeds
 * its deadline.
 */
const LATE_MS = 100
const TOO_LATE_MS = 900

/** Every answer of the database arrives late. */
export const fault: Fault = {
  name: 'a slow connection to the database',
  roundSeconds: 6,
  isFelt: true,
  async run(rounds) {
    const database = await createDatabase()
    const proxy = await startDatabaseProxy(Number(new URL(database.url).port))
    try {
      await using bed = await startBed({ database: proxy.url(database.url) })
      return await underLoad(bed, ({ checker, calm, during }) =>
        repeat(rounds, async () => {
          proxy.delay(LATE_MS)
          // Nothing is excused.
          await calm(1000)
          await during({}, async () => {
            proxy.delay(TOO_LATE_MS)
            await Promise.all([fireLogins(bed, checker, strangers(3)), calm(2500)])
            // Answers that are already on their way still arrive late.
            await calm(TOO_LATE_MS)
            proxy.delay(0)
          })
        }),
      )
    } finally {
      proxy.close()
      await database.drop()
    }
  },
}
