import type { Transaction } from '../../db/database.ts'
import { DAY_MS } from '../../lib/time.ts'
import { SYSTEM } from '../audit/audit.ts'
import { recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { OPERATOR } from '../principal.ts'
import { deleteBeyond, deleteUnused } from './queries.ts'

const UNUSED_STAY_MS = 90 * DAY_MS
/** Apps that registered themselves. */
const MAX_REGISTERED = 10_000
/** Apps a transaction: each takes its grants with it. */
const STEP = 100

/**
 * Deletes apps that registered themselves and were not used for 90 days, the longest unused beyond 10,000 of them, and apps with
 * a metadata document that have no grant any more. Otherwise strangers could fill the table.
 * @returns how many
 */
export async function deleteUnusedApps(
  context: Context,
  { maxRegistered = MAX_REGISTERED }: { maxRegistered?: number } = {},
): Promise<number> {
  const before = new Date(context.clock() - UNUSED_STAY_MS)
  return (
    (await deleteInSteps(context, 'unused', (tx) => deleteUnused(tx, before, STEP))) +
    (await deleteInSteps(context, 'too_many', (tx) => deleteBeyond(tx, maxRegistered, STEP)))
  )
}

async function deleteInSteps(
  context: Context,
  reason: string,
  deleteSome: (tx: Transaction) => ReturnType<typeof deleteUnused>,
): Promise<number> {
  let total = 0
  let deleted = STEP
  while (deleted === STEP) {
    deleted = await recordChange(context, SYSTEM, OPERATOR, [], async ({ tx, record }) => {
      const gone = await deleteSome(tx)
      await record(
        gone.map(({ id, source, clientId }) => ({
          action: 'client.deleted',
          target: { type: 'client', id },
          details: { client_id: clientId, source, reason },
        })),
      )
      return gone.length
    })
    total += deleted
  }
  return total
}
