import { BEARER_CHALLENGE, type ErrorCode, type Extra, fail, spentHeaders } from '../../lib/errors.ts'
import { covers } from '../../lib/scopes.ts'
import type { Principal } from '../principal.ts'
import type { UseOutcome } from './use-key.ts'

/** Why a good credential is refused, in the same words wherever it is checked. */
export type Denial = { code: ErrorCode; extra: Extra }

export const deny = (code: ErrorCode, extra: Extra = {}): Denial => ({ code, extra })

/** What is said of a use of a key that was refused; null where it was not. */
export function denialOf(outcome: UseOutcome): Denial | null {
  switch (outcome.code) {
    case 'VALID':
      return null
    case 'IP_NOT_ALLOWED':
      return deny('ip_not_allowed')
    case 'INSUFFICIENT_SCOPE':
      return deny('insufficient_scope', lackOfScopes(outcome.missingScopes))
    case 'RATE_LIMITED':
      return deny('rate_limited', {
        detail: 'This key has been used as often as it may be; wait before the next time.',
        headers: spentHeaders(outcome.rate.limit, outcome.retryAfterSeconds),
      })
    case 'CREDITS_EXHAUSTED':
      return deny('credits_exhausted', { headers: spentHeaders(outcome.refill, outcome.retryAfterSeconds) })
  }
}

/**
 * A caller hands out no scope that they do not hold.
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

/** What is said of scopes that are missing (RFC 6750, section 3.1). */
export function lackOfScopes(missing: readonly string[]): Extra {
  const scope = missing.join(' ')
  return {
    detail: `Missing required scope: ${scope}`,
    headers: { 'WWW-Authenticate': `${BEARER_CHALLENGE}, error="insufficient_scope", scope="${scope}"` },
    audit: { missing_scopes: missing },
  }
}
