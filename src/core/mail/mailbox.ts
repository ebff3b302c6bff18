import type { Transaction } from '../../db/database.ts'
import { hmac } from '../../lib/derived-keys.ts'
import { HOUR_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { addToMailbox } from './queries.ts'

/** Mails with a link that a mailbox gets in an hour, for every purpose and every caller together. No setting turns the limit off. */
const LIMIT = { windowMs: HOUR_MS, most: 5 }

/**
 * Counts one mail with a link to an address, known or not, in the transaction that would write it.
 * @returns whether it may be written
 */
export async function mayMail(
  tx: Transaction,
  { keys }: Pick<Context, 'keys'>,
  email: string,
  now: Date,
): Promise<boolean> {
  const [key] = keys.email
  if (!key) throw new Error('No key to count mails under')
  return addToMailbox(tx, hmac(key, email), now, LIMIT)
}
