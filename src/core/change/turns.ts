import type { Database } from '../../db/database.ts'
import { createWaitQueue, type WaitQueue } from '../../db/postgres/wait-queue.ts'
import { preparedFor } from '../../db/prepared.ts'
import { countTowardsDeadline } from '../../lib/deadline.ts'
import { ownerOf } from '../owners.ts'
import { isAdmin, type Operator, type Principal } from '../principal.ts'

/** How long work waits for the earlier work of its name, unless its deadline comes first. */
const WAIT_MS = 10_000

/** The work that is under way or waits, by its name. */
const turnsOf = preparedFor(() => new Map<string, { queue: WaitQueue; works: number }>())

/**
 * Runs work while fewer than `slots` of the same name are under way on this instance. The others wait without a connection of
 * the pool, where they would each hold one while they wait for each other's locks. The wait counts towards the deadline.
 * @throws Error for which `isUnavailable` is true
 */
export async function inTurn<R>(
  db: Database,
  name: string,
  slots: number,
  work: () => Promise<R>,
): Promise<R> {
  const turns = turnsOf(db)
  const turn = turns.get(name) ?? { queue: createWaitQueue(slots, { waitMs: WAIT_MS }), works: 0 }
  turns.set(name, turn)
  turn.works += 1
  try {
    await countTowardsDeadline(() => turn.queue.enter())
    try {
      return await work()
    } finally {
      turn.queue.leave()
    }
  } finally {
    turn.works -= 1
    if (turn.works === 0) turns.delete(name)
  }
}

/**
 * Runs a change while the owner of the caller's credential has fewer under way on this instance than a third of the pool, so
 * that the changes of one owner leave connections to all others. Admins have no bound.
 * @throws Error for which `isUnavailable` is true
 */
export async function inTurnOfCaller<R>(
  db: Database,
  poolSize: number,
  caller: Principal | Operator | null,
  change: () => Promise<R>,
): Promise<R> {
  if (caller === null || caller.kind === 'operator' || isAdmin(caller)) return change()
  return inTurn(db, ownerOf(caller).id, Math.max(1, Math.floor(poolSize / 3)), change)
}
