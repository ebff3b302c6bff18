import { fail } from '../../lib/errors.ts'
import { covers } from '../../lib/scopes.ts'
import type { Principal } from '../principal.ts'
import { lackOfScopes } from './refusals.ts'

/**
 * Nobody hands out what they don't have.
 * @throws Problem insufficient_scope, naming the first scope that the caller could not grant now
 */
export function requireGrants(caller: Pick<Principal, 'grants'>, scopes: readonly string[]): void {
  const beyond = scopes.find((scope) => !covers(caller.grants, scope))
  if (beyond === undefined) return
  fail('insufficient_scope', {
    ...lackOfScopes([beyond]),
    detail: `You cannot grant a scope that you do not hold: ${beyond}`,
  })
}
