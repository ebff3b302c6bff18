import { Problem } from '../../../lib/errors.ts'
import { type Origin, recordChange } from '../../audit/audit.ts'
import type { Context } from '../../context.ts'
import { changeUser } from '../../users/accounts.ts'
import { updateRevoked } from '../queries.ts'

/**
 * A user who has been disabled at the source since they were imported is disabled here too, with their sessions.
 * @returns why not, where that may not be
 */
export async function followDisabled(context: Context, origin: Origin, id: string): Promise<string | null> {
  try {
    await changeUser(context, origin, null, id, { is_active: false })
    return null
  } catch (error) {
    if (!(error instanceof Problem) || error.problem !== 'last_admin') throw error
    return 'This user has been disabled at the source, and is the last active admin here'
  }
}

/** A key that has been revoked at the source since it was imported is revoked here too. */
export async function followRevoked(context: Context, origin: Origin, id: string): Promise<void> {
  await recordChange(context, origin, async (tx, record) => {
    const reason = 'revoked_at_source'
    for (const revoked of await updateRevoked(tx, id, new Date(context.clock()), reason)) {
      await record({ action: 'key.revoked', target: { type: 'key', id: revoked.id }, details: { reason } })
    }
  })
}
