import { ownPostgres, startBed } from './bed.ts'
import { type Fault, repeat } from './fault.ts'
import { underLoad } from './load.ts'

/** `kill -9` to every process of PostgreSQL, which recovers from its log when it is started again. */
export const fault: Fault = {
  name: 'PostgreSQL killed and restarted',
  roundSeconds: 4,
  isFelt: true,
  async run(rounds) {
    await using server = await ownPostgres()
    await using bed = await startBed({ database: server.url('postgres') })
    return await underLoad(bed, ({ calm, during }) =>
      repeat(rounds, async () => {
        await calm(500)
        await during({}, async (dark) => {
          await server.kill()
          await dark(calm(1000))
          await server.start()
        })
      }),
    )
  },
}
