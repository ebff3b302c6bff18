import { MINUTE_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { updateLastUsed } from './queries.ts'

/** `last_used_at` is exact to a minute, so that a busy app does not write its row for each token. */
const EXACT_TO_MS = MINUTE_MS

/**
 * Notes that a client asked, outside of the change that makes its tokens. Waits for no lock: a row that a change holds is left
 * as it is.
 * @param secretId of the secret by which the client authenticated; null: it has none, or used a key
 */
export async function noteClientUse(
  { db, clock }: Pick<Context, 'db' | 'clock'>,
  clientId: string,
  secretId: string | null,
): Promise<void> {
  const now = clock()
  await updateLastUsed(db, clientId, secretId, new Date(now), new Date(now - EXACT_TO_MS))
}
