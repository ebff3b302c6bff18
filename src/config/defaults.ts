export const ALGORITHMS = ['HS256', 'ES256', 'RS256', 'EdDSA'] as const
export type Algorithm = (typeof ALGORITHMS)[number]

/** The named limits per client address (API.md, Errors). */
export const DEFAULT_RATE_LIMITS = {
  signup: { limit: 5, windowSeconds: 3600 },
  login: { limit: 10, windowSeconds: 60 },
  refresh: { limit: 60, windowSeconds: 60 },
  create_key: { limit: 60, windowSeconds: 3600 },
  unknown_credential: { limit: 60, windowSeconds: 60 },
  other: { limit: 600, windowSeconds: 60 },
}
export type RateLimit = { limit: number; windowSeconds: number }
export type RateLimitName = keyof typeof DEFAULT_RATE_LIMITS
export type RateLimits = Record<RateLimitName, RateLimit>
