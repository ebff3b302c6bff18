import type { ErrorCode, Extra } from '../../lib/errors.ts'
import type { UseOutcome } from './use-key.ts'

/** Why somebody whose credential is good may not go on, in the words of every door. */
export type Denial = { code: ErrorCode; extra: Extra }

export const deny = (code: ErrorCode, extra: Extra = {}): Denial => ({ code, extra })

/** What is said of a use of a key that came to nothing; null where it did not. */
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
    case 'CREDITS_EXHAUSTED': {
      // Without a refill that would do, no time is the right one to come back.
      const seconds = outcome.retryAfterSeconds
      return deny(
        'credits_exhausted',
        seconds === null ? {} : { headers: { 'Retry-After': String(seconds) } },
      )
    }
  }
}

/** What is said of scopes that are missing (RFC 6750, section 3.1). */
export function lackOfScopes(missing: readonly string[]): Extra {
  const scope = missing.join(' ')
  return {
    detail: `Missing required scope: ${scope}`,
    headers: { 'WWW-Authenticate': `Bearer realm="latchkey", error="insufficient_scope", scope="${scope}"` },
    audit: { missing_scopes: missing },
  }
}

/** The headers of a limit that is used up. */
export function spentHeaders(limit: number, resetSeconds: number): Record<string, string> {
  const seconds = String(resetSeconds)
  return {
    'RateLimit-Limit': String(limit),
    'RateLimit-Remaining': '0',
    'RateLimit-Reset': seconds,
    'Retry-After': seconds,
  }
}
