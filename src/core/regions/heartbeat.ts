import type { Database } from '../../db/database.ts'
import { SECOND_MS } from '../../lib/time.ts'
import { hasPublication, updateHeartbeat } from './queries.ts'

/** How often a server looks whether there are regions now, or none any more. */
const LOOK_EVERY_MS = 10 * SECOND_MS

/**
 * Makes the job by which home sends heartbeats to its regions (docs/decisions/0057). Where there is no publication it writes
 * nothing, and asks one small question each ten seconds.
 * @returns what is to run each second
 */
export function createRegionHeartbeat(db: Database): () => Promise<void> {
  let hasRegions = false
  let lookedAtMs = -Infinity
  return async () => {
    const nowMs = performance.now()
    if (nowMs - lookedAtMs >= LOOK_EVERY_MS) {
      hasRegions = await hasPublication(db)
      lookedAtMs = nowMs
    }
    if (hasRegions) await updateHeartbeat(db)
  }
}
