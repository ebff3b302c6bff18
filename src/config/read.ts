import { availableParallelism } from 'node:os'
import { parseEnv } from 'node:util'
import { type Secret, secret } from '../lib/secret.ts'
import { ALGORITHMS, type Config } from './config.ts'
import { parseKeyHeaders, parseKeySchemes } from './credential-names.ts'
import { parseDatabaseUrl } from './database-url.ts'
import { parseBrandAccent, parseBrandName, parseMailFrom, parseSmtpUrl } from './mail.ts'
import { faultsOfNames, findSources, mergeSources, type ReadFile, type Sources } from './names.ts'
import {
  isLoopback,
  parseCidrs,
  parseHost,
  parseHostPatterns,
  parseOrigins,
  parsePublicUrl,
  parseRedisUrl,
} from './network.ts'
import { DEFAULT_RATE_LIMITS, parseRateLimits } from './rate-limits.ts'
import { createReader, type Environment, type Reader } from './reader.ts'
import { checkRegion, readRegion } from './region.ts'
import { checkTogether, warningsOf } from './rules.ts'
import { readAdmin, readMetricsToken, readSecretKey } from './secrets.ts'
import { parseApiKeyPrefix, parseAudience, parseUserScopes } from './tokens.ts'

/** What the settings depend on besides the environment. */
export type ReadOptions = {
  /** The text of `.env`. The environment takes precedence over it. */
  dotenv?: string
  /** Whether the process runs in a terminal. Then it does not wait for a load balancer when it stops. */
  isTerminal?: boolean
  /** Whether a person reads the output. */
  isRead?: boolean
  /** Reads the file that a `NAME_FILE` names. */
  readFile?: ReadFile
  cores?: number
}

/** The settings with warnings, or all faults at once. Each is a sentence that contains no secret. */
export type ConfigResult = { config: Config; warnings: string[] } | { faults: string[] }

/**
 * Reads the settings from environment variables. An empty value counts as unset. An unknown name is a fault
 * in `.env`, and in the environment where it is close to a setting's name.
 * @returns the settings, or every fault, so that a person can correct all of them in one attempt
 * @example const result = readConfig({ PORT: '8001' })
 */
export function readConfig(environment: Environment, options: ReadOptions = {}): ConfigResult {
  const sources: Sources = [environment, parseDotenv(options.dotenv)]
  const unreadable: string[] = []
  const readFile = options.readFile ?? (() => ({ fault: 'files are not read here' }))
  const merged = mergeSources(sources, readFile, (sentence) => unreadable.push(sentence))
  const read = createReader(merged)
  const databaseUrl = read.parsed('DATABASE_URL', parseDatabaseUrl, null)
  const host = read.parsed('HOST', parseHost, '127.0.0.1')
  const port = read.integer('PORT', { min: 0, max: 65535 }, 8000)
  const publicUrl = read.parsed('PUBLIC_URL', parsePublicUrl, null)
  const mode = read.choice('MODE', ['serve', 'verify'], 'serve')
  const region = readRegion(read)
  const passwordMinLength = read.integer('PASSWORD_MIN_LENGTH', { min: 8, max: 128 }, 8)
  const admin = readAdmin(read, passwordMinLength)
  const days = { min: 1, max: 3650 }
  const idleMinutes = { min: 5, max: 43_200 }
  const smtpUrl = readSmtpUrl(read)
  const brandName = read.parsed('BRAND_NAME', parseBrandName, 'Latchkey')
  const brandAccent = read.parsed('BRAND_ACCENT', parseBrandAccent, null)
  const config: Config = {
    mode,
    ...region,
    databaseUrl: databaseUrl === null ? null : secret(databaseUrl),
    databaseDirectUrl: readDirectUrl(read, databaseUrl),
    databasePoolSize: read.integer('DATABASE_POOL_SIZE', { min: 1, max: 1000 }, 10),
    databaseStatementTimeoutMs: read.integer(
      'DATABASE_STATEMENT_TIMEOUT_MS',
      { min: 100, max: 600_000 },
      2000,
    ),
    databasePrepare: read.flag('DATABASE_PREPARE', true),
    cacheMaxCredentials: read.integer('CACHE_MAX_CREDENTIALS', { min: 1, max: 10_000_000 }, 100_000),
    databaseWaitSeconds: read.integer('DATABASE_WAIT_SECONDS', { min: 0, max: 3600 }, 60),
    migrate: read.choice('MIGRATE', ['auto', 'check'], mode === 'verify' ? 'check' : 'auto'),
    dataDir: read.text('DATA_DIR') ?? './data',
    host,
    port,
    publicUrl: publicUrl ?? `http://localhost:${port}`,
    publicUrlIsSet: publicUrl !== null,
    settingSources: new Map(),
    jwtAudience: read.parsed('JWT_AUDIENCE', parseAudience, publicUrl ?? `http://localhost:${port}`),
    secretKey: readSecretKey(read, 'SECRET_KEY'),
    secretKeyPrevious: readSecretKey(read, 'SECRET_KEY_PREVIOUS'),
    algorithm: read.choice('ALGORITHM', ALGORITHMS, 'ES256'),
    accessTokenExpireMinutes: read.integer('ACCESS_TOKEN_EXPIRE_MINUTES', { min: 1, max: 1440 }, 30),
    refreshTokenExpireDays: read.integer('REFRESH_TOKEN_EXPIRE_DAYS', { min: 1, max: 365 }, 7),
    sessionMaxDays: read.integer('SESSION_MAX_DAYS', days, 30),
    clientSessionMaxDays: read.integer('CLIENT_SESSION_MAX_DAYS', { min: 1, max: 365 }, 90),
    refreshGraceSeconds: read.integer('REFRESH_GRACE_SECONDS', { min: 0, max: 300 }, 10),
    signingKeyRotationDays: read.integer('SIGNING_KEY_ROTATION_DAYS', days, 90),
    signup: read.choice('SIGNUP', ['open', 'closed'], 'open'),
    userScopes: read.parsed('USER_SCOPES', parseUserScopes, ['read', 'write']),
    adminEmail: admin.email,
    adminPassword: admin.password,
    passwordMinLength,
    passwordHashConcurrency: read.integer(
      'PASSWORD_HASH_CONCURRENCY',
      { min: 1, max: 64 },
      defaultHashers(options),
    ),
    apiKeyPrefix: read.parsed('API_KEY_PREFIX', parseApiKeyPrefix, 'sk_'),
    apiKeyHeaders: read.parsed('API_KEY_HEADERS', parseKeyHeaders, []),
    apiKeySchemes: read.parsed('API_KEY_SCHEMES', parseKeySchemes, []),
    apiKeyDefaultExpireDays: read.integer('API_KEY_DEFAULT_EXPIRE_DAYS', days, null),
    apiKeyMaxExpireDays: read.integer('API_KEY_MAX_EXPIRE_DAYS', days, null),
    apiKeysPerOwner: read.integer('API_KEYS_PER_OWNER', { min: 1, max: 1_000_000 }, 1000),
    serviceAccountsPerUser: read.integer('SERVICE_ACCOUNTS_PER_USER', { min: 0, max: 1_000_000 }, 20),
    trustedProxies: read.parsed('TRUSTED_PROXIES', parseCidrs, []),
    corsOrigins: read.parsed('CORS_ORIGINS', parseOrigins, []),
    rateLimits: read.parsed('RATE_LIMITS', parseRateLimits, DEFAULT_RATE_LIMITS),
    redisUrl: readRedisUrl(read),
    auditRetentionDays: read.integer('AUDIT_RETENTION_DAYS', days, 365),
    usageRetentionDays: read.integer('USAGE_RETENTION_DAYS', days, 90),
    refusalsRetentionDays: read.integer('REFUSALS_RETENTION_DAYS', { min: 0, max: 3650 }, 7),
    shutdownDelaySeconds: read.integer(
      'SHUTDOWN_DELAY_SECONDS',
      { min: 0, max: 300 },
      options.isTerminal ? 0 : 5,
    ),
    logLevel: read.choice('LOG_LEVEL', ['debug', 'info', 'warn', 'error'], 'info'),
    logFormat: read.choice('LOG_FORMAT', ['json', 'pretty'], options.isRead ? 'pretty' : 'json'),
    logProbes: read.flag('LOG_PROBES', isLoopback(host)),
    refreshTokenInQuery: read.flag('REFRESH_TOKEN_IN_QUERY', false),
    oauthPasswordGrant: read.flag('OAUTH_PASSWORD_GRANT', true),
    adminResetsAdmin: read.flag('ADMIN_RESETS_ADMIN', false),
    docs: read.flag('DOCS', true),
    oauthClientMetadata: read.choice('OAUTH_CLIENT_METADATA', ['on', 'off'], 'on'),
    oauthClientMetadataAllow: read.parsed('OAUTH_CLIENT_METADATA_ALLOW', parseHostPatterns, null),
    oauthClientMetadataDeny: read.parsed('OAUTH_CLIENT_METADATA_DENY', parseHostPatterns, []),
    oauthRegistration: read.choice('OAUTH_REGISTRATION', ['off', 'token', 'open'], 'off'),
    console: read.choice('CONSOLE', ['on', 'off'], 'on'),
    portalName: read.parsed('PORTAL_NAME', parseBrandName, brandName),
    portalAccent: read.parsed('PORTAL_ACCENT', parseBrandAccent, brandAccent),
    portalFrameAncestors: read.parsed('PORTAL_FRAME_ANCESTORS', parseOrigins, []),
    portalReturnOrigins: read.parsed('PORTAL_RETURN_ORIGINS', parseOrigins, []),
    smtpUrl,
    mailFrom: read.parsed('MAIL_FROM', parseMailFrom, null),
    mailTemplates: read.text('MAIL_TEMPLATES'),
    emailVerification: read.choice(
      'EMAIL_VERIFICATION',
      ['off', 'optional', 'required'],
      smtpUrl === null ? 'off' : 'optional',
    ),
    browserSessionIdleMinutes: read.integer('BROWSER_SESSION_IDLE_MINUTES', idleMinutes, 1440),
    adminSessionIdleMinutes: read.integer('ADMIN_SESSION_IDLE_MINUTES', idleMinutes, 60),
    requireMfa: read.choice('REQUIRE_MFA', ['none', 'admins', 'all'], 'none'),
    reauthenticateForKeys: read.flag('REAUTHENTICATE_FOR_KEYS', false),
    deleteAccount: read.flag('DELETE_ACCOUNT', true),
    setupPage: read.flag('SETUP_PAGE', true),
    brandName,
    brandLogo: read.text('BRAND_LOGO'),
    brandAccent,
    latchkeyPassphrase: read.secret('LATCHKEY_PASSPHRASE'),
    metricsToken: readMetricsToken(read),
    metricsPort: read.integer('METRICS_PORT', { min: 1, max: 65535 }, null),
  }
  checkTogether(config, read)
  if (mode === 'verify') checkRegion(config, read)
  config.settingSources = findSources(sources, merged, read.names)
  const faults = [...faultsOfNames(sources, [...read.names]), ...unreadable, ...read.faults]
  return faults.length > 0 ? { faults } : { config, warnings: warningsOf(config) }
}

/** A byte order mark at the start is not part of the first name. */
function parseDotenv(text: string | undefined): Environment {
  return text === undefined ? {} : { ...parseEnv(text.replace(/^\uFEFF/, '')) }
}

function defaultHashers({ cores = availableParallelism() }: ReadOptions): number {
  return Math.min(64, Math.max(1, cores - 1))
}

function readDirectUrl(read: Reader, databaseUrl: string | null): Secret | null {
  const url = read.parsed('DATABASE_DIRECT_URL', parseDatabaseUrl, databaseUrl)
  return url === null ? null : secret(url)
}

function readRedisUrl(read: Reader): Secret | null {
  const url = read.parsed('REDIS_URL', parseRedisUrl, null)
  return url === null ? null : secret(url)
}

function readSmtpUrl(read: Reader): Secret | null {
  const url = read.parsed('SMTP_URL', parseSmtpUrl, null)
  return url === null ? null : secret(url)
}
