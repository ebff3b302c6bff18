import { readFileSync } from 'node:fs'
import type { Secret } from '../lib/secret.ts'
import type { Algorithm, RateLimits } from './defaults.ts'
import { type ConfigResult, readConfig } from './read.ts'

export type { Algorithm, RateLimitName, RateLimits } from './defaults.ts'
export { type ConfigResult, readConfig } from './read.ts'
export { showConfig } from './show.ts'

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
  signingKeyRotationDays: number
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
  /** null: each instance counts its limits by itself. */
  redisUrl: Secret | null
  /** null: off. */
  rateLimits: RateLimits | null
  auditRetentionDays: number
  usageRetentionDays: number
  shutdownDelaySeconds: number
  logLevel: 'debug' | 'info' | 'warn' | 'error'
  logFormat: 'json' | 'pretty'
  refreshTokenInQuery: boolean
  oauthPasswordGrant: boolean
  docs: boolean
  /** null: /metrics is not on PORT. */
  metricsToken: Secret | null
  /** null: /metrics has no port of its own. */
  metricsPort: number | null
}

/**
 * The settings of this process: its environment over the `.env` of its working directory. Nothing else reads either.
 * @param isTerminal whether a person sits in front of it
 */
export function loadConfig(isTerminal: boolean): ConfigResult {
  const dotenv = readDotenv('.env')
  if (typeof dotenv === 'object') return { faults: [dotenv.fault] }
  return readConfig(process.env, { isTerminal, ...(dotenv !== undefined && { dotenv }) })
}

function readDotenv(path: string): string | undefined | { fault: string } {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null
    // A directory of that name (Python's virtual environments are often called so) is not ours.
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined
    return { fault: `.env in the working directory cannot be read (${code ?? error})` }
  }
}
