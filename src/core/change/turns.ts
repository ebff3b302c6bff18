import type { Database } from '../../db/database.ts'
import { createWaitQueue, type WaitQueue } from '../../db/postgres/wait-queue.ts'
import { preparedFor } from '../../db/prepared.ts'
import { countTowardsDeadline } from '../../lib/deadline.ts'
import { ownerOf } from '../owners.ts'
import { isAdmin, type Operator, type Principal } from '../principal.ts'

/** How long a change waits for the earlier ones of the same owner, unless its deadline comes first. */
const WAIT_MS = 10_000

/** The changes that are under way, by the owner of the credential that makes them. */
const queuesOf = preparedFor(() => new Map<string, { queue: WaitQueue; changes: number }>())

/**
 * Runs a change while the owner of the caller's credential has fewer under way on this instance than a third of the pool.
 * Changes of one owner wait for each other's locks, each with a connection. Without this bound the changes of one owner
 * would hold the connections that those of all others need. Admins have no bound.
 * @throws Error for which `isUnavailable` is true
 */
export async function inTurnOfCaller<R>(
  db: Database,
  poolSize: number,
  caller: Principal | Operator | null,
  change: () => Promise<R>,
): Promise<R> {
  if (caller === null || caller.kind === 'operator' || isAdmin(caller)) return change()
  const queues = queuesOf(db)
  const { id } = ownerOf(caller)
  const slots = Math.max(1, Math.floor(poolSize / 3))
  const turn = queues.get(id) ?? { queue: createWaitQueue(slots, { waitMs: WAIT_MS }), changes: 0 }
  queues.set(id, turn)
  turn.changes += 1
  try {
    await countTowardsDeadline(() => turn.queue.enter())
    try {
      return await change()
    } finally {
      turn.queue.leave()
    }
  } finally {
    turn.changes -= 1
    if (turn.changes === 0) queues.delete(id)
  }
}
