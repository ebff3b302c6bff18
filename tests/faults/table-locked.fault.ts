import { startBed } from './bed.ts'
import { type Fault, repeat } from './fault.ts'
import { underLoad } from './load.ts'

/** A transaction locks tables that keys and sessions need. Statements wait until their timeout ends them. */
export const fault: Fault = {
  name: 'statements wait for a lock',
  roundSeconds: 5,
  isFelt: true,
  async run(rounds) {
    await using bed = await startBed()
    return await underLoad(bed, ({ calm, during }) =>
      repeat(rounds, async () => {
        await calm(500)
        await during({}, async () => {
          await bed.sql.begin(async (tx) => {
            await tx`LOCK TABLE latchkey.sessions, latchkey.api_keys IN ACCESS EXCLUSIVE MODE`
            await calm(3000)
          })
        })
      }),
    )
  },
}
