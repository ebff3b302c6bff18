import type { Transaction } from '../../db/database.ts'
import type { LockMode } from '../change/record-change.ts'
import { lockCredits } from './queries.ts'
import type { Credits } from './refills.ts'

export { insertKeyCredits, replaceKeyCredits } from './queries.ts'

/** Reads and locks a key's credits, as `lockCredits`; null: it has none. */
export const lockKeyCredits = (tx: Transaction, keyId: string, mode: LockMode): Promise<Credits | null> =>
  lockCredits(tx, { of: 'key', id: keyId }, mode)
