import type { Secret } from './lib/secret.ts'

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

/** Every setting of API.md's table that is in force, parsed. Durations carry their unit in the name. */
export type Config = {
  /** null: the embedded database in `dataDir`. */
  databaseUrl: Secret | null
  databaseDirectUrl: Secret | null
  databasePoolSize: number
  databaseStatementTimeoutMs: number
  databasePrepare: boolean
  migrate: 'auto' | 'check'
  dataDir: string
  host: string
  port: number
  /** No trailing slash; the issuer. */
  publicUrl: string
  publicUrlIsSet: boolean
  jwtAudience: string
  /** null only on the embedded database, which makes and keeps its own. */
  secretKey: Secret | null
  secretKeyPrevious: Secret | null
  algorithm: Algorithm
  accessTokenExpireMinutes: number
  refreshTokenExpireDays: number
  sessionMaxDays: number
  refreshGraceSeconds: number
  signup: 'open' | 'closed'
  userScopes: 'any' | readonly string[]
  adminEmail: string | null
  adminPassword: Secret | null
  passwordMinLength: number
  passwordHashConcurrency: number
  apiKeyPrefix: string
  apiKeyDefaultExpireDays: number | null
  apiKeyMaxExpireDays: number | null
  apiKeysPerOwner: number
  trustedProxies: readonly string[]
  corsOrigins: readonly string[]
  /** null: off. */
  rateLimits: RateLimits | null
  auditRetentionDays: number
  shutdownDelaySeconds: number
  logLevel: 'debug' | 'info' | 'warn' | 'error'
  logFormat: 'json' | 'pretty'
  refreshTokenInQuery: boolean
  oauthPasswordGrant: boolean
  docs: boolean
}
