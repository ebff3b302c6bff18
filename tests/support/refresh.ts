import { makeRefreshToken, type RefreshClaims, readRefreshToken } from '../../src/lib/tokens.ts'
import { type Answer, call } from './client.ts'
import type { TestService } from './service.ts'

/** Trades a refresh token. */
export function refresh(service: Pick<TestService, 'url'>, token: string): Promise<Answer> {
  return call(service, 'POST /auth/refresh', { json: { refresh_token: token } })
}

/** What a refresh token of this service says. */
export function claimsOf(service: TestService, token: string): RefreshClaims {
  const claims = readRefreshToken(service.context.keys.refresh, token)
  if (!claims) throw new Error('Not a refresh token of this service')
  return claims
}

/** A refresh token with other claims, signed by this service's own key: what only it could make. */
export function resign(service: TestService, token: string, change: Partial<RefreshClaims>): string {
  const [key] = service.context.keys.refresh
  if (!key) throw new Error('No key')
  return makeRefreshToken(key, { ...claimsOf(service, token), ...change })
}
