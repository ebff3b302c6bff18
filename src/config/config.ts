import type { Secret } from '../lib/secret.ts'
import type { RateLimits } from './rate-limits.ts'

export const ALGORITHMS = ['HS256', 'ES256', 'RS256', 'EdDSA'] as const
export type Algorithm = (typeof ALGORITHMS)[number]

/** Where a setting that is set comes from. `file`: `.env`, or the file that NAME_FILE names. */
export type SettingSource = 'environment' | 'file'

/**
 * The effective settings, parsed: every setting in the table of API.md. A duration has its unit in its name.
 */
export type Config = {
  /** `verify`: answers questions about credentials from a region's copy of home's tables (docs/regions.md). */
  mode: 'serve' | 'verify'
  /** Where home is, without a trailing slash; null: this is home. */
  homeUrl: string | null
  /** The key by which a verifier asks home; null: nothing is asked, and no usage is sent. */
  homeKey: Secret | null
  /** The name of the region in home's audit trail. */
  regionName: string | null
  /** How old the last proof of the copy may be, in seconds. */
  verifyMaxStalenessSeconds: number
  /** What a verifier does with questions while the proof is older. */
  verifyWhenStale: 'refuse' | 'allow'
  /** Where the uses of a key with a rate are counted. */
  regionRateLimits: 'home' | 'local'
  /** null: the embedded database in `dataDir`. */
  databaseUrl: Secret | null
  databaseDirectUrl: Secret | null
  databasePoolSize: number
  databaseStatementTimeoutMs: number
  databasePrepare: boolean
  /** The number of verified credentials that an instance keeps in memory. */
  cacheMaxCredentials: number
  /** How long a starting server waits for the database. */
  databaseWaitSeconds: number
  migrate: 'auto' | 'check'
  dataDir: string
  host: string
  port: number
  /** The issuer of access tokens and the base of links. No trailing slash. */
  publicUrl: string
  publicUrlIsSet: boolean
  /** Where the settings come from that are set, by name; the others have their defaults. */
  settingSources: ReadonlyMap<string, SettingSource>
  jwtAudience: string
  /** null only with the embedded database, which makes a key and keeps it. */
  secretKey: Secret | null
  secretKeyPrevious: Secret | null
  algorithm: Algorithm
  accessTokenExpireMinutes: number
  refreshTokenExpireDays: number
  sessionMaxDays: number
  /** The longest time of an app's session. */
  clientSessionMaxDays: number
  refreshGraceSeconds: number
  signingKeyRotationDays: number
  signup: 'open' | 'closed'
  userScopes: 'any' | readonly string[]
  adminEmail: string | null
  adminPassword: Secret | null
  passwordMinLength: number
  passwordHashConcurrency: number
  apiKeyPrefix: string
  /** Further headers, and schemes of Authorization, that carry a key; in lower case. */
  apiKeyHeaders: readonly string[]
  apiKeySchemes: readonly string[]
  apiKeyDefaultExpireDays: number | null
  apiKeyMaxExpireDays: number | null
  apiKeysPerOwner: number
  serviceAccountsPerUser: number
  trustedProxies: readonly string[]
  corsOrigins: readonly string[]
  /** null: each instance counts rate limits by itself. */
  redisUrl: Secret | null
  /** null: rate limits are off. */
  rateLimits: RateLimits | null
  auditRetentionDays: number
  usageRetentionDays: number
  /** 0: refusals of keys are counted, and not kept one by one. */
  refusalsRetentionDays: number
  shutdownDelaySeconds: number
  logLevel: 'debug' | 'info' | 'warn' | 'error'
  logFormat: 'json' | 'pretty'
  /** Whether the access log contains /livez and /readyz. */
  logProbes: boolean
  refreshTokenInQuery: boolean
  oauthPasswordGrant: boolean
  /** Whether an admin may create a password reset for another admin. */
  adminResetsAdmin: boolean
  docs: boolean
  /** Whether apps may name themselves by the URL of a metadata document. */
  oauthClientMetadata: 'on' | 'off'
  /** Hosts of such documents; `*.example.com` covers names below. null: any host. */
  oauthClientMetadataAllow: readonly string[] | null
  /** Hosts whose documents are refused, also where they are allowed. */
  oauthClientMetadataDeny: readonly string[]
  /** Who may register an app at /oauth/register. */
  oauthRegistration: 'off' | 'token' | 'open'
  /** Whether the console is served, at /console. */
  console: 'on' | 'off'
  /** What the portal is called, and its colour: BRAND_NAME and BRAND_ACCENT unless set. */
  portalName: string
  portalAccent: string | null
  /** The origins that may show the portal in a frame, and those to which its links may lead back. */
  portalFrameAncestors: readonly string[]
  portalReturnOrigins: readonly string[]
  /** null: no mail is sent. */
  smtpUrl: Secret | null
  /** The sender of every mail: `name <address>`, or the address alone. */
  mailFrom: string | null
  /** A directory with templates that replace ours; null: none. */
  mailTemplates: string | null
  emailVerification: 'off' | 'optional' | 'required'
  browserSessionIdleMinutes: number
  adminSessionIdleMinutes: number
  /** Who must have a second factor. */
  requireMfa: 'none' | 'admins' | 'all'
  /** Whether changes of keys and service accounts need recent authentication. */
  reauthenticateForKeys: boolean
  /** Whether people may delete their own account. */
  deleteAccount: boolean
  /** Whether the first admin may be made in a browser. */
  setupPage: boolean
  brandName: string
  /** The path of a PNG or SVG file; null: none. */
  brandLogo: string | null
  /** `#rrggbb`; null: ours. */
  brandAccent: string | null
  /** The passphrase of exports. null: the command asks for it. */
  latchkeyPassphrase: Secret | null
  /** null: /metrics is not served on PORT. */
  metricsToken: Secret | null
  /** null: /metrics has no port of its own. */
  metricsPort: number | null
}
