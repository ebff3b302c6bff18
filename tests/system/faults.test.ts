import { describe, expect, test } from 'bun:test'
import { allFaults } from '../faults/fault.ts'
import { shorten } from '../faults/form.ts'

shorten()

/** Faults at the same time. They share nothing but the machine, and wait more than they work. */
const AT_ONCE = 2
/** With the wait for a turn. */
const MOST_MS = 600_000

/** Has work wait until so many others of `AT_ONCE` are done that it has this part of the machine. */
function takeTurns() {
  let free = AT_ONCE
  let last = Promise.resolve()
  let freed = Promise.withResolvers<void>()
  return async <T>(work: () => Promise<T>, part = 1): Promise<T> => {
    const before = last
    const begun = Promise.withResolvers<void>()
    last = begun.promise
    await before
    while (free < part) await freed.promise
    free -= part
    begun.resolve()
    try {
      return await work()
    } finally {
      free += part
      freed.resolve()
      freed = Promise.withResolvers()
    }
  }
}

/**
 * One round of each fault; one more by itself where something took too long, which may be the machine's doing. `bun run
 * test:faults` repeats them until its time is over. See docs/faults.md.
 */
describe('no acknowledged write is lost, no revoked credential is accepted, and every request succeeds again', async () => {
  const inTurn = takeTurns()
  for (const { name, lacks, isFelt, isLong, isBusy, run } of await allFaults()) {
    if (isLong) continue
    test.concurrent.skipIf(Boolean(lacks))(
      lacks ? `${name} (skipped: it needs ${lacks})` : name,
      async () => {
        let outcome = await inTurn(() => run(1), isBusy ? AT_ONCE : 1)
        if (outcome.violations.length === 0 && outcome.delays.length > 0) {
          process.stderr.write(`${name}, tried again: ${outcome.delays.join('; ')}\n`)
          outcome = await inTurn(() => run(1), AT_ONCE)
        }
        const { violations, delays, writes, refused, unanswered } = outcome
        expect([...violations, ...delays]).toEqual([])
        expect(writes).toBeGreaterThan(20)
        expect(refused + unanswered > 0).toBe(isFelt)
      },
      MOST_MS,
    )
  }
})
