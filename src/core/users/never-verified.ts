import { DAY_MS } from '../../lib/time.ts'
import { SYSTEM } from '../audit/audit.ts'
import { recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { OPERATOR } from '../principal.ts'
import { deleteSignUps } from './queries.ts'

const LASTS_MS = 7 * DAY_MS
/** Users a transaction. */
const STEP = 100

/**
 * With EMAIL_VERIFICATION=required, deletes accounts that were made by sign-up seven days ago, and were neither verified
 * nor signed in to since: somebody gave an address that is not theirs, or mistyped it.
 * @returns how many
 */
export async function deleteNeverVerified(context: Context): Promise<number> {
  if (context.config.emailVerification !== 'required') return 0
  let total = 0
  let deleted = STEP
  while (deleted === STEP) {
    deleted = await recordChange(context, SYSTEM, OPERATOR, [], async ({ tx, now, record }) => {
      const gone = await deleteSignUps(tx, new Date(now.getTime() - LASTS_MS), STEP)
      await record(
        gone.map(({ id, email, role }) => ({
          action: 'user.deleted',
          target: { type: 'user', id },
          details: { email, role, reason: 'never_verified' },
        })),
      )
      return gone.length
    })
    total += deleted
  }
  return total
}
