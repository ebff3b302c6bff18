import { startBed } from './bed.ts'
import { type Fault, repeat } from './fault.ts'
import { underLoad } from './load.ts'

/** `pg_terminate_backend` on every connection, repeatedly, as during a failover. */
export const fault: Fault = {
  name: 'all connections terminated',
  roundSeconds: 3.5,
  isFelt: true,
  async run(rounds) {
    await using bed = await startBed()
    return await underLoad(bed, async ({ checker, calm, during }) => {
      let terminated = 0
      await repeat(rounds, async () => {
        await calm(500)
        await during({}, async () => {
          for (let i = 0; i < 15; i++) {
            terminated += (
              await bed.sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name LIKE 'latchkey%'`
            ).length
            await calm(100)
          }
        })
      })
      if (terminated === 0) checker.violate('there was nothing to terminate')
    })
  },
}
