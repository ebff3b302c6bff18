import type { Database } from '../../db/database.ts'
import { fail } from '../../lib/errors.ts'
import { findPublicKey } from './queries.ts'
import type { Region } from './region.ts'

/**
 * Checks that a verifier can answer: its copy is proved to be recent, its database answers, and has a public key.
 * @throws Problem stale, or Error for which `isUnavailable` is true
 */
export async function requireReadyCopy(db: Database, { freshness }: Region): Promise<void> {
  if (!freshness.isGood()) fail('stale')
  if ((await findPublicKey(db)) === null) fail('stale', { detail: "The region's copy has no signing key." })
}
