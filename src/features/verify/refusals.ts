import type { Extra } from '../../lib/errors.ts'
import type { Admission } from './admit.ts'

/** What every door says of scopes that are missing (RFC 6750, section 3.1). */
export function lackOfScopes(missing: readonly string[]): Extra {
  const scope = missing.join(' ')
  return {
    detail: `Missing required scope: ${scope}`,
    headers: { 'WWW-Authenticate': `Bearer realm="latchkey", error="insufficient_scope", scope="${scope}"` },
  }
}

/** What every door says of a key that was used too often. */
export function excessOfRate({ rate, retryAfterSeconds }: Admission & { code: 'RATE_LIMITED' }): Extra {
  const seconds = String(retryAfterSeconds)
  return {
    detail: 'This key has been used as often as it may be; wait before the next time.',
    headers: {
      'RateLimit-Limit': String(rate.limit),
      'RateLimit-Remaining': '0',
      'RateLimit-Reset': seconds,
      'Retry-After': seconds,
    },
  }
}
