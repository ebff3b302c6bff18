import { BEARER_CHALLENGE, type Extra, fail, Problem, spentHeaders } from '../../lib/errors.ts'
import { covers } from '../../lib/scopes.ts'
import type { Operator, Principal } from '../principal.ts'
import type { UseOutcome } from './use-key-here.ts'

/**
 * The error that answers a refused use of a key, the same wherever a key is verified.
 * @returns null where the use was allowed
 */
export function problemOf(outcome: UseOutcome): Problem | null {
  switch (outcome.code) {
    case 'VALID':
      return null
    // Home knows that the key has ended, and the region's copy does not yet.
    case 'NOT_FOUND':
    case 'REVOKED':
    case 'EXPIRED':
    case 'DISABLED':
    case 'OWNER_DISABLED':
      return new Problem('invalid_token')
    case 'IP_NOT_ALLOWED':
      return new Problem('ip_not_allowed')
    case 'INSUFFICIENT_SCOPE':
      return lackOfScopes(outcome.missingScopes)
    case 'RATE_LIMITED':
      return new Problem('rate_limited', {
        detail:
          outcome.limitedBy === 'key'
            ? 'The key has reached its rate limit; wait before the next use.'
            : "The keys of this key's owner have reached their common rate limit; wait before the next use.",
        members: { limited_by: outcome.limitedBy },
        headers: spentHeaders(outcome.limit, outcome.retryAfterSeconds),
      })
    case 'CREDITS_EXHAUSTED':
      return new Problem('credits_exhausted', {
        ...(outcome.limitedBy === 'owner' && {
          detail: 'The owner of this key has no credits left for this.',
        }),
        members: { limited_by: outcome.limitedBy },
        headers: spentHeaders(outcome.refill, outcome.retryAfterSeconds),
      })
  }
}

/**
 * A caller grants no scope that the caller does not hold. The operator grants any.
 * @throws Problem insufficient_scope, which names the first scope that the caller cannot grant now
 */
export function requireGrants(caller: Pick<Principal, 'grants'> | Operator, scopes: readonly string[]): void {
  if ('kind' in caller && caller.kind === 'operator') return
  if (!('grants' in caller)) throw new Error('A caller without grants')
  const beyond = scopes.find((scope) => !covers(caller.grants, scope))
  if (beyond === undefined) return
  fail('insufficient_scope', {
    ...extraOfScopes([beyond]),
    detail: `You cannot grant a scope that you do not hold: ${beyond}`,
  })
}

/** The error for scopes that a caller lacks (RFC 6750, section 3.1). */
export function lackOfScopes(missing: readonly string[]): Problem {
  return new Problem('insufficient_scope', extraOfScopes(missing))
}

function extraOfScopes(missing: readonly string[]): Extra {
  const scope = missing.join(' ')
  return {
    detail: `Missing required scope: ${scope}`,
    headers: { 'WWW-Authenticate': `${BEARER_CHALLENGE}, error="insufficient_scope", scope="${scope}"` },
    audit: { missing_scopes: missing },
  }
}
