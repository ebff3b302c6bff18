import { fail } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import type { Origin } from '../audit/audit.ts'
import { recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { topUpOwner } from '../credits/owner-credits.ts'
import { requireTopUp, type ToppedUp, type TopUpRequest } from '../credits/top-up.ts'
import type { AdminPrincipal } from '../principal.ts'

/**
 * Adds to the credits of a user, takes away, or sets them.
 * @throws Problem not_found, validation_failed, conflict
 */
export async function topUpUser(
  context: Context,
  origin: Origin,
  caller: AdminPrincipal,
  id: string,
  request: TopUpRequest,
): Promise<ToppedUp> {
  if (!isId(id)) fail('not_found')
  return recordChange(context, origin, caller, [['users', id, 'no key update']], async (change) => {
    if (!change.held.users.has(id)) fail('not_found')
    requireTopUp(request.input)
    return topUpOwner(change, { type: 'user', id }, request)
  })
}
