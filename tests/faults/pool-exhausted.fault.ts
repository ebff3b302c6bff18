import { newPerson } from '../support/client.ts'
import { keepAliveClient } from '../support/http-socket.ts'
import { until } from '../support/until.ts'
import { startBed } from './bed.ts'
import { type Fault, repeat } from './fault.ts'
import { underLoad } from './load.ts'

/** The longest wait for a connection, with the delay that a busy machine may add. */
const WAIT_MS = 1000 + 400
const POOL_SIZE = 2
/** A key of the right form, so that the database has to be asked. */
const unknownKey = () => `old-${crypto.randomUUID()}`

/**
 * Refreshes hold both connections and wait for a lock. A request that needs a connection is refused within a
 * second. Their own sessions are refreshed, because the load may refresh none in that time.
 */
export const fault: Fault = {
  name: 'pool exhausted',
  roundSeconds: 5,
  isFelt: true,
  async run(rounds) {
    await using bed = await startBed({ env: { DATABASE_POOL_SIZE: String(POOL_SIZE) } })
    const [{ url } = { url: '' }] = bed.places
    const people = await Promise.all(Array.from({ length: POOL_SIZE }, () => newPerson({ url })))
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
      const hold = async (person: { refresh: string }) => {
        const client = keepAliveClient(() => url)
        const reply = await client.send('POST /auth/refresh', { json: { refresh_token: person.refresh } })
        checker.hear('POST /auth/refresh', reply)
        if (reply.status === 200) person.refresh = reply.body.refresh_token
        client.close()
      }
      await repeat(rounds, async () => {
        await calm(500)
        await during({}, async () => {
          let isOn = true
          const started = bed.sql.begin(async (tx) => {
            await tx`LOCK TABLE latchkey.sessions IN ACCESS EXCLUSIVE MODE`
            const holding = people.map(hold)
            await until(async () => {
              const waiting =
                await tx`SELECT FROM pg_locks WHERE relation = 'latchkey.sessions'::regclass AND NOT granted`
              return waiting.length >= POOL_SIZE
            }, 'every connection waits for the lock')
            const asking = [1, 2, 3].map(() => ask(() => isOn))
            await calm(2000)
            isOn = false
            return [...holding, ...asking]
          })
          await Promise.all(await started)
        })
      })
      if (turnedAway === 0) checker.violate('no request was turned away')
      if (longestMs > WAIT_MS + checker.findings().controlMs)
        checker.delay(`a request waited ${Math.round(longestMs)} ms for a connection`)
      checker.note(`turned away after at most ${Math.round(longestMs)} ms`)
    })
  },
}
