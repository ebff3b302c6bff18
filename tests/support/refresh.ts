import { makeRefreshToken, type RefreshClaims, readRefreshToken } from '../../src/lib/tokens.ts'
import { type Answer, call } from './client.ts'
import type { TestService } from './service.ts'

/** Exchanges a refresh token. */
export function refresh(service: Pick<TestService, 'url'>, token: string): Promise<Answer> {
  return call(service, 'POST /auth/refresh', { json: { refresh_token: token } })
}

/** The claims of a refresh token of this service. */
export function claimsOf(service: TestService, token: string): RefreshClaims {
  const claims = readRefreshToken(service.context.keys.refresh, token)
  if (!claims) throw new Error('Not a refresh token of this service')
  return claims
}

/** A refresh token with other claims, signed with this service's own key, as only the service itself can. */
export function resign(service: TestService, token: string, change: Partial<RefreshClaims>): string {
  const [key] = service.context.keys.refresh
  if (!key) throw new Error('No key')
  return makeRefreshToken(key, { ...claimsOf(service, token), ...change })
}
