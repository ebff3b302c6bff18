import { describe, expect, test } from 'bun:test'
import { allFaults } from '../faults/fault.ts'

/** One round of each fault. `bun run test:faults` repeats them until its time is over. See docs/faults.md. */
describe('no acknowledged write is lost, no revoked credential is accepted, and every request succeeds again', async () => {
  for (const { name, lacks, isFelt, isLong, run } of await allFaults()) {
    if (isLong) continue
    test.skipIf(Boolean(lacks))(
      lacks ? `${name} (skipped: it needs ${lacks})` : name,
      async () => {
        const { violations, writes, refused, unanswered } = await run(1)
        expect(violations).toEqual([])
        expect(writes).toBeGreaterThan(20)
        expect(refused + unanswered > 0).toBe(isFelt)
      },
      240_000,
    )
  }
})
