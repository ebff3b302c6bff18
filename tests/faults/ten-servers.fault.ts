import { createDatabase } from '../support/postgres.ts'
import { startBed } from './bed.ts'
import type { Fault } from './fault.ts'
import { underLoad } from './load.ts'

/** Ten servers start at once on an empty database. Each serves, and each knows what the others change. */
export const fault: Fault = {
  name: 'ten servers on an empty database at once',
  roundSeconds: 5,
  isFelt: false,
  isBusy: true,
  async run(rounds) {
    const database = await createDatabase({ migrated: false })
    try {
      await using bed = await startBed({ database: database.url, servers: 10 })
      let turn = 0
      const pick = () => bed.places[turn++ % bed.places.length]?.url ?? ''
      return await underLoad(bed, ({ calm }) => calm(2000 * rounds), { clients: 10, pick, roams: true })
    } finally {
      await database.drop()
    }
  },
}
