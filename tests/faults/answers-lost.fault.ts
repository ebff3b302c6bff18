import { startDatabaseProxy } from '../support/database-proxy.ts'
import { createDatabase } from '../support/postgres.ts'
import { startBed } from './bed.ts'
import { type Fault, repeat } from './fault.ts'
import { underLoad } from './load.ts'

/** The database does what it is asked, but its answers are lost. Then the connections are cut. */
export const fault: Fault = {
  name: 'answers of the database lost',
  roundSeconds: 3.5,
  isFelt: true,
  async run(rounds) {
    const database = await createDatabase()
    const proxy = await startDatabaseProxy(Number(new URL(database.url).port))
    try {
      await using bed = await startBed({ database: proxy.url(database.url) })
      return await underLoad(bed, ({ calm, during }) =>
        repeat(rounds, async () => {
          await calm(500)
          await during({}, async (dark) => {
            proxy.lose()
            await dark(calm(1000))
            proxy.cut()
          })
        }),
      )
    } finally {
      proxy.close()
      await database.drop()
    }
  },
}
