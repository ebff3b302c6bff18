import { keepAliveClient } from '../support/http-socket.ts'
import { startBed } from './bed.ts'
import { type Fault, repeat } from './fault.ts'
import { underLoad } from './load.ts'

/** The longest wait for a connection, with the delay that a busy machine may add. */
const WAIT_MS = 1000 + 400
/** A key of the right form, so that the database has to be asked. */
const unknownKey = () => `old-${crypto.randomUUID()}`

/**
 * Refreshes hold both connections and wait for a lock. A request that needs a connection is refused within a
 * second.
 */
export const fault: Fault = {
  name: 'pool exhausted',
  roundSeconds: 5,
  isFelt: true,
  async run(rounds) {
    await using bed = await startBed({ env: { DATABASE_POOL_SIZE: '2' } })
    const [{ url } = { url: '' }] = bed.places
    return await underLoad(bed, async ({ checker, calm, during }) => {
      let longestMs = 0
      let turnedAway = 0
      const ask = async (isOn: () => boolean) => {
        const client = keepAliveClient(() => url)
        while (isOn()) {
          const ask = { apiKey: bed.verifier, json: { key: unknownKey() } }
          const reply = await client.send('POST /keys/verify', ask)
          checker.hear('POST /keys/verify', reply)
          if (reply.status === 503) {
            turnedAway++
            longestMs = Math.max(longestMs, reply.ms)
          }
        }
        client.close()
      }
      await repeat(rounds, async () => {
        await calm(500)
        await during({}, async () => {
          let isOn = true
          const asking = bed.sql.begin(async (tx) => {
            await tx`LOCK TABLE latchkey.sessions IN ACCESS EXCLUSIVE MODE`
            // Longer than the cache may be read without a proof of life.
            await calm(300)
            const asked = [1, 2, 3].map(() => ask(() => isOn))
            await calm(2000)
            isOn = false
            return asked
          })
          await Promise.all(await asking)
        })
      })
      if (turnedAway === 0) checker.violate('no request was turned away')
      if (longestMs > WAIT_MS + checker.findings().controlMs)
        checker.delay(`a request waited ${Math.round(longestMs)} ms for a connection`)
      checker.note(`turned away after at most ${Math.round(longestMs)} ms`)
    })
  },
}
