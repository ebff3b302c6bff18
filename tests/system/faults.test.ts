import { describe, expect, test } from 'bun:test'
import { allFaults } from '../faults/fault.ts'

/** One round each; `bun run test:faults` runs as many as there is time for. See docs/faults.md. */
describe('no acknowledged write is lost, nothing revoked is let in, and everybody is served again', async () => {
  for (const { name, lacks, isFelt, run } of await allFaults()) {
    test.skipIf(Boolean(lacks))(
      lacks ? `${name} (skipped: it needs ${lacks})` : name,
      async () => {
        const { violations, writes, refused, unanswered } = await run(1)
        expect(violations).toEqual([])
        expect(writes).toBeGreaterThan(20)
        expect(refused + unanswered > 0).toBe(isFelt)
      },
      90_000,
    )
  }
})
