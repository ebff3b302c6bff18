import { ownPostgres, startBed } from './bed.ts'
import { type Fault, repeat } from './fault.ts'
import { underLoad } from './load.ts'
import { fireLogins, strangers } from './logins.ts'

/**
 * SIGSTOP to every process of PostgreSQL: connections stay open, new ones are accepted, and no query is
 * answered.
 */
export const fault: Fault = {
  name: 'PostgreSQL frozen',
  roundSeconds: 8,
  isFelt: true,
  async run(rounds) {
    await using server = await ownPostgres()
    await using bed = await startBed({ database: server.url('postgres') })
    return await underLoad(bed, ({ checker, calm, during }) =>
      repeat(rounds, async () => {
        await calm(500)
        // A log-in makes the most queries, so the fault interrupts it at every point.
        const logins = fireLogins(bed, checker, strangers(30))
        await calm(150)
        await during({}, async (dark) => {
          server.pause()
          await dark(calm(5000))
          server.resume()
        })
        await logins
      }),
    )
  },
}
