import { startBed } from './bed.ts'
import { type Fault, repeat } from './fault.ts'
import { underLoad } from './load.ts'

/** `kill -9` to Latchkey during writes, and a new start. */
export const appKilled = (name: string, database?: 'embedded'): Fault => ({
  name,
  roundSeconds: 3,
  isFelt: true,
  async run(rounds) {
    await using bed = await startBed(database ? { database } : {})
    const [place] = bed.places
    return await underLoad(bed, async ({ checker, calm, during }) => {
      const downMs: number[] = []
      await repeat(rounds, async () => {
        await calm(700)
        await during({ down: true }, async () => {
          await place?.end('SIGKILL')
          const endedAt = performance.now()
          await place?.start()
          downMs.push(performance.now() - endedAt)
        })
      })
      downMs.sort((a, b) => a - b)
      checker.note(`started again in ${Math.round(downMs[downMs.length >> 1] ?? 0)} ms (the median)`)
    })
  },
})
