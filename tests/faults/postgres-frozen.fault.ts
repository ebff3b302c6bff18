import { ownPostgres, startBed } from './bed.ts'
import { type Fault, repeat } from './fault.ts'
import { underLoad } from './load.ts'
import { fireLogins, strangers } from './logins.ts'

/** SIGSTOP to every process of PostgreSQL: connections stay open, new ones are accepted, and nothing answers. */
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
        // Logins ask most often, and so are met at every point of their way.
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
