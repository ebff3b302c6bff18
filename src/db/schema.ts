import { sql } from 'drizzle-orm'
import {
  type AnyPgColumn,
  bigint,
  boolean,
  check,
  date,
  index,
  integer,
  jsonb,
  primaryKey,
  text,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core'
import { bytes, hasCredits, latchkey, lockedSettings, rate, time } from './columns.ts'
import { oauthGrants } from './oauth.ts'
import { users } from './users.ts'

export { users }

/** Accounts of programs. A service account owns keys and cannot log in. */
export const serviceAccounts = latchkey.table(
  'service_accounts',
  {
    id: uuid('id').primaryKey(),
    name: text('name').notNull(),
    description: text('description'),
    /** The ceiling of the account's keys. */
    scopes: text('scopes').array().notNull(),
    isActive: boolean('is_active').notNull().default(true),
    createdBy: uuid('created_by').references(() => users.id, { onDelete: 'set null' }),
    createdAt: time('created_at').notNull(),
    lockedSettings: lockedSettings(),
    /**
     * The user whose SERVICE_ACCOUNTS_PER_USER and API_KEYS_PER_OWNER the account counts towards. null: it
     * counts towards no user's.
     */
    countsFor: uuid('counts_for').references(() => users.id, { onDelete: 'set null' }),
    /** The name of the account's customer in the system that manages it, in NFC. */
    externalId: text('external_id'),
    hasCredits: hasCredits(),
    ...rate(),
  },
  (t) => [
    index('service_accounts_created_by_idx').on(t.createdBy),
    index('service_accounts_counts_for_idx').on(t.countsFor),
    index('service_accounts_disabled_idx').on(t.id).where(sql`NOT ${t.isActive}`),
    uniqueIndex('service_accounts_external_id_key').on(t.externalId),
    check('service_accounts_external_id_check', sql`char_length(${t.externalId}) BETWEEN 1 AND 255`),
    check('service_accounts_name_check', sql`char_length(${t.name}) BETWEEN 1 AND 100`),
    check('service_accounts_description_check', sql`char_length(${t.description}) <= 500`),
    check('service_accounts_scopes_check', sql`cardinality(${t.scopes}) <= 50`),
    check('service_accounts_rate_check', sql`(${t.rateLimit} IS NULL) = (${t.rateWindowSeconds} IS NULL)`),
    check('service_accounts_rate_limit_check', sql`${t.rateLimit} > 0 AND ${t.rateWindowSeconds} > 0`),
  ],
)

/** Who manages a service account: users, and service accounts by their keys. */
export const accountManagers = latchkey.table(
  'account_managers',
  {
    id: uuid('id').primaryKey(),
    serviceAccountId: uuid('service_account_id')
      .notNull()
      .references(() => serviceAccounts.id, { onDelete: 'cascade' }),
    /** The manager: exactly one of these two is set. */
    userId: uuid('user_id').references(() => users.id, { onDelete: 'cascade' }),
    managerAccountId: uuid('manager_account_id').references(() => serviceAccounts.id, {
      onDelete: 'cascade',
    }),
    createdAt: time('created_at').notNull(),
  },
  (t) => [
    uniqueIndex('account_managers_user_key').on(t.serviceAccountId, t.userId),
    uniqueIndex('account_managers_account_key').on(t.serviceAccountId, t.managerAccountId),
    index('account_managers_user_id_idx').on(t.userId),
    index('account_managers_manager_account_id_idx').on(t.managerAccountId),
    check('account_managers_manager_check', sql`num_nonnulls(${t.userId}, ${t.managerAccountId}) = 1`),
  ],
)

/** API keys. The secrets of a key are in `apiKeySecrets`, because a rotation adds a secret to the same key. */
export const apiKeys = latchkey.table(
  'api_keys',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id').references(() => users.id, { onDelete: 'cascade' }),
    serviceAccountId: uuid('service_account_id').references(() => serviceAccounts.id, {
      onDelete: 'cascade',
    }),
    name: text('name'),
    scopes: text('scopes').array().notNull(),
    isActive: boolean('is_active').notNull().default(true),
    createdAt: time('created_at').notNull(),
    /**
     * The id of the user or key that created this key. No foreign key, because the key may outlive its
     * creator.
     */
    createdBy: uuid('created_by'),
    expiresAt: time('expires_at'),
    revokedAt: time('revoked_at'),
    revokedReason: text('revoked_reason'),
    description: text('description'),
    /** The caller's own name for the key's customer. */
    externalId: text('external_id'),
    metadata: jsonb('metadata').$type<Record<string, unknown>>(),
    /** At most `rate_limit` uses in each window. Both columns are set, or neither. */
    rateLimit: integer('rate_limit'),
    rateWindowSeconds: integer('rate_window_seconds'),
    /**
     * The key in whose counter each use counts too: the topmost key with a rate among those that made this one. No foreign
     * key, because it goes on counting when that key is deleted. null: none.
     */
    rateRoot: uuid('rate_root'),
    /** Its rate. A trigger copies each change of that key's rate to here. */
    rootRateLimit: integer('root_rate_limit'),
    rootRateWindowSeconds: integer('root_rate_window_seconds'),
    /** Which of `rate_limit` and `credits` somebody else than the owner set or lowered last: the owner only lowers these. */
    limitsOfOthers: text('limits_of_others').array().notNull().default(sql`'{}'`),
    /** The networks (CIDR) from which the key may be used. null: every address. */
    allowedIps: text('allowed_ips').array(),
    lockedSettings: lockedSettings(),
    /**
     * The last use of secrets that an earlier release deleted. Nothing writes it any more: `keyActivity` has what it had.
     */
    lastUsedAt: time('last_used_at'),
    hasCredits: hasCredits(),
  },
  (t) => [
    index('api_keys_user_id_idx').on(t.userId, t.createdAt),
    index('api_keys_service_account_id_idx').on(t.serviceAccountId, t.createdAt),
    index('api_keys_created_by_idx').on(t.createdBy),
    index('api_keys_created_at_idx').on(t.createdAt, t.id),
    index('api_keys_unrevoked_idx').on(t.id).where(sql`${t.revokedAt} IS NULL`),
    index('api_keys_revoked_at_idx').on(t.revokedAt).where(sql`${t.revokedAt} IS NOT NULL`),
    index('api_keys_disabled_idx')
      .on(t.createdAt, t.id)
      .where(sql`NOT ${t.isActive} AND ${t.revokedAt} IS NULL`),
    check('api_keys_owner_check', sql`num_nonnulls(${t.userId}, ${t.serviceAccountId}) = 1`),
    index('api_keys_external_id_idx').on(t.externalId),
    check('api_keys_description_check', sql`char_length(${t.description}) <= 500`),
    check('api_keys_external_id_check', sql`char_length(${t.externalId}) <= 255`),
    check(
      'api_keys_metadata_check',
      sql`jsonb_typeof(${t.metadata}) = 'object' AND octet_length(${t.metadata}::text) <= 16384`,
    ),
    check('api_keys_rate_check', sql`(${t.rateLimit} IS NULL) = (${t.rateWindowSeconds} IS NULL)`),
    check('api_keys_rate_limit_check', sql`${t.rateLimit} > 0 AND ${t.rateWindowSeconds} > 0`),
    index('api_keys_rate_root_idx').on(t.rateRoot).where(sql`${t.rateRoot} IS NOT NULL`),
    check(
      'api_keys_root_rate_check',
      sql`(${t.rootRateLimit} IS NULL) = (${t.rootRateWindowSeconds} IS NULL)
        AND (${t.rateRoot} IS NOT NULL OR ${t.rootRateLimit} IS NULL)`,
    ),
    check('api_keys_root_rate_limit_check', sql`${t.rootRateLimit} > 0 AND ${t.rootRateWindowSeconds} > 0`),
    check('api_keys_limits_of_others_check', sql`${t.limitsOfOthers} <@ '{rate_limit,credits}'`),
    check('api_keys_allowed_ips_check', sql`cardinality(${t.allowedIps}) <= 50`),
    check('api_keys_name_check', sql`char_length(${t.name}) <= 100`),
    check('api_keys_scopes_check', sql`cardinality(${t.scopes}) <= 50`),
    check('api_keys_revoked_reason_check', sql`char_length(${t.revokedReason}) <= 500`),
  ],
)

/** The secrets of keys. A key has one live secret, or two while a rotation overlaps. */
export const apiKeySecrets = latchkey.table(
  'api_key_secrets',
  {
    id: uuid('id').primaryKey(),
    keyId: uuid('key_id')
      .notNull()
      .references(() => apiKeys.id, { onDelete: 'cascade' }),
    /** SHA-256 of the whole key. */
    hash: bytes('hash').notNull(),
    /** The first characters of the key, by which a person recognises it. */
    start: text('start').notNull(),
    createdAt: time('created_at').notNull(),
    expiresAt: time('expires_at'),
    lastUsedAt: time('last_used_at'),
    /**
     * When the secret ended; its `expires_at` is not later. It is then found by its hash alone, by `POST /keys/lookup`.
     */
    endedAt: time('ended_at'),
  },
  (t) => [
    uniqueIndex('api_key_secrets_hash_key').on(t.hash),
    index('api_key_secrets_ended_at_idx').on(t.endedAt).where(sql`${t.endedAt} IS NOT NULL`),
    index('api_key_secrets_expires_at_idx').on(t.expiresAt).where(sql`${t.endedAt} IS NULL`),
    check(
      'api_key_secrets_ended_check',
      sql`${t.endedAt} IS NULL OR (${t.expiresAt} IS NOT NULL AND ${t.expiresAt} <= ${t.endedAt})`,
    ),
    index('api_key_secrets_key_id_idx').on(t.keyId),
    check('api_key_secrets_hash_check', sql`octet_length(${t.hash}) = 32`),
    check('api_key_secrets_start_check', sql`char_length(${t.start}) <= 32`),
  ],
)

/**
 * When each key was last used, by any of its secrets. A table without a trigger, since a use evicts nothing. Keys that were
 * never used have no row. Only a first use on a day changes an indexed column.
 */
export const keyActivity = latchkey.table(
  'key_activity',
  {
    keyId: uuid('key_id')
      .primaryKey()
      .references(() => apiKeys.id, { onDelete: 'cascade' }),
    lastUsedAt: time('last_used_at').notNull(),
    /** Its day in UTC. */
    lastUsedDay: date('last_used_day').notNull(),
  },
  (t) => [index('key_activity_last_used_day_idx').on(t.lastUsedDay)],
)

/** One row for each log-in. Refresh tokens are computed from id, salt and generation; they are not stored. */
export const sessions = latchkey.table(
  'sessions',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    salt: bytes('salt').notNull(),
    /** The generation of the only refresh token that is valid now (uint32). */
    generation: bigint('generation', { mode: 'number' }).notNull().default(0),
    createdAt: time('created_at').notNull(),
    rotatedAt: time('rotated_at').notNull(),
    idleExpiresAt: time('idle_expires_at').notNull(),
    expiresAt: time('expires_at').notNull(),
    endedAt: time('ended_at'),
    endedReason: text('ended_reason'),
    /** The address and user agent of the log-in. */
    ip: text('ip'),
    userAgent: text('user_agent'),
    /** The address and user agent of the last refresh. null if the session was never refreshed. */
    lastIp: text('last_ip'),
    lastUserAgent: text('last_user_agent'),
    /** The scopes that the log-in asked for (docs/decisions/0027). null: all scopes of the user. */
    scopes: text('scopes').array(),
    /** What its credential is: a refresh token or a cookie of the person's own, or a refresh token of an app. */
    kind: text('kind', { enum: ['api', 'browser', 'client'] })
      .notNull()
      .default('api'),
    /** Of an app: what the person allowed. null: the grant has ended, and so has the session. */
    grantId: uuid('grant_id').references((): AnyPgColumn => oauthGrants.id, { onDelete: 'set null' }),
    /** `openid`, `email` and `profile`, as far as an app got them. They are no scopes of an API. */
    identityScopes: text('identity_scopes').array().notNull().default(sql`'{}'`),
    /** When the person last proved who they are, by a log-in or by re-authentication. */
    authTime: time('auth_time').notNull().default(sql`now()`),
    /** How they proved it (RFC 8176), sorted. */
    amr: text('amr').array().notNull().default(sql`'{pwd}'`),
    /** Whether the cookie outlives the browser's window. */
    remember: boolean('remember').notNull().default(false),
  },
  (t) => [
    index('sessions_user_id_idx').on(t.userId, t.createdAt),
    index('sessions_expires_at_idx').on(t.expiresAt),
    index('sessions_grant_id_idx').on(t.grantId),
    check('sessions_grant_check', sql`${t.grantId} IS NULL OR ${t.kind} = 'client'`),
    check('sessions_salt_check', sql`octet_length(${t.salt}) = 16`),
    check('sessions_generation_check', sql`${t.generation} BETWEEN 0 AND 4294967295`),
    check('sessions_user_agent_check', sql`char_length(${t.userAgent}) <= 255`),
    check('sessions_last_user_agent_check', sql`char_length(${t.lastUserAgent}) <= 255`),
    check('sessions_kind_check', sql`${t.kind} IN ('api', 'browser', 'client')`),
    check('sessions_scopes_check', sql`cardinality(${t.scopes}) <= 50`),
  ],
)

/** Key pairs that sign access tokens. They are not used with ALGORITHM=HS256. */
export const signingKeys = latchkey.table(
  'signing_keys',
  {
    /** The `kid`: the RFC 7638 thumbprint of the public key. */
    id: text('id').primaryKey(),
    algorithm: text('algorithm', { enum: ['ES256', 'RS256', 'EdDSA'] }).notNull(),
    publicJwk: jsonb('public_jwk').$type<Record<string, unknown>>().notNull(),
    /** The private JWK, encrypted with AES-256-GCM under a key derived from SECRET_KEY. */
    privateKey: bytes('private_key').notNull(),
    createdAt: time('created_at').notNull(),
    /**
     * The key is published from `createdAt` and signs from this time on, so that other services know it
     * before they see its signatures.
     */
    signsFrom: time('signs_from').notNull(),
    revokedAt: time('revoked_at'),
  },
  (t) => [
    index('signing_keys_current_idx').on(t.algorithm, t.signsFrom),
    check('signing_keys_algorithm_check', sql`${t.algorithm} IN ('ES256', 'RS256', 'EdDSA')`),
  ],
)

/**
 * The audit trail. A refusal has one row for each caller, action, route, reason and minute
 * (docs/decisions/0033).
 */
export const auditEvents = latchkey.table(
  'audit_events',
  {
    id: uuid('id').primaryKey(),
    at: time('at').notNull(),
    action: text('action').notNull(),
    outcome: text('outcome', { enum: ['success', 'refused'] }).notNull(),
    actorType: text('actor_type', {
      enum: ['user', 'key', 'service_account', 'client', 'portal', 'anonymous', 'system'],
    }).notNull(),
    actorId: uuid('actor_id'),
    targetType: text('target_type'),
    targetId: text('target_id'),
    ip: text('ip'),
    requestId: text('request_id'),
    details: jsonb('details').$type<Record<string, unknown>>().notNull(),
  },
  (t) => [
    index('audit_events_at_idx').on(t.at),
    index('audit_events_actor_idx').on(t.actorId, t.at),
    index('audit_events_target_idx').on(t.targetId, t.at),
    index('audit_events_action_idx').on(t.action, t.at),
    // Refusals are few: without these, a list of them reads all that came between.
    index('audit_events_refused_idx').on(t.at).where(sql`${t.outcome} = 'refused'`),
    index('audit_events_refused_actor_idx').on(t.actorId, t.at).where(sql`${t.outcome} = 'refused'`),
    index('audit_events_refused_action_idx').on(t.action, t.at).where(sql`${t.outcome} = 'refused'`),
    index('audit_events_request_id_idx').on(t.requestId).where(sql`${t.requestId} IS NOT NULL`),
    check('audit_events_outcome_check', sql`${t.outcome} IN ('success', 'refused')`),
    check(
      'audit_events_actor_type_check',
      sql`${t.actorType} IN ('user', 'key', 'service_account', 'client', 'portal', 'anonymous', 'system')`,
    ),
  ],
)

/** Failed and pending log-ins of one account in the current window, whether or not the account exists. */
export const loginAttempts = latchkey.table(
  'login_attempts',
  {
    /**
     * HMAC of the e-mail under a key derived from SECRET_KEY, so that the table contains no e-mail addresses.
     */
    emailHmac: bytes('email_hmac').primaryKey(),
    attempts: integer('attempts').notNull(),
    windowStartedAt: time('window_started_at').notNull(),
  },
  (t) => [
    index('login_attempts_window_idx').on(t.windowStartedAt),
    check('login_attempts_attempts_check', sql`${t.attempts} >= 0`),
  ],
)

/**
 * Password resets of the releases before one-time tokens (`people.ts`). Nothing writes this table any more; it is dropped
 * by a later release, since an older server may still run on this schema.
 */
export const passwordResets = latchkey.table(
  'password_resets',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    /** SHA-256 of the token. */
    hash: bytes('hash').notNull(),
    createdAt: time('created_at').notNull(),
    expiresAt: time('expires_at').notNull(),
    /**
     * The admin who created the token. null: an operator. The token is valid only while that admin is an
     * active admin.
     */
    createdBy: uuid('created_by').references(() => users.id, { onDelete: 'cascade' }),
  },
  (t) => [
    uniqueIndex('password_resets_hash_key').on(t.hash),
    index('password_resets_user_id_idx').on(t.userId),
    index('password_resets_created_by_idx').on(t.createdBy),
    index('password_resets_expires_at_idx').on(t.expiresAt),
    check('password_resets_hash_check', sql`octet_length(${t.hash}) = 32`),
  ],
)

/**
 * Access tokens of service accounts that were revoked individually. A row is deleted when the token would
 * have expired, and together with the secret that the token was made from.
 */
export const revokedTokens = latchkey.table(
  'revoked_tokens',
  {
    /** The token's `jti`. */
    id: uuid('id').primaryKey(),
    secretId: uuid('secret_id')
      .notNull()
      .references(() => apiKeySecrets.id, { onDelete: 'cascade' }),
    expiresAt: time('expires_at').notNull(),
  },
  (t) => [
    index('revoked_tokens_secret_id_idx').on(t.secretId),
    index('revoked_tokens_expires_at_idx').on(t.expiresAt),
  ],
)

/** The credits of a key or of an owner. Of a refill, what is null was not named, and has the value that API.md says. */
const creditColumns = () => ({
  remaining: bigint('remaining', { mode: 'number' }).notNull(),
  refillAmount: bigint('refill_amount', { mode: 'number' }),
  refillInterval: text('refill_interval', { enum: ['daily', 'weekly', 'monthly'] }),
  /** Of the week, Monday first, or of the month. */
  refillDay: integer('refill_day'),
  refillHour: integer('refill_hour'),
  /** Of IANA. */
  refillTimeZone: text('refill_time_zone'),
  refillMode: text('refill_mode', { enum: ['set', 'add'] }),
  refillMax: bigint('refill_max', { mode: 'number' }),
  /** When the credits are next refilled. */
  refillsAt: time('refills_at'),
})

type CreditColumns = Record<keyof ReturnType<typeof creditColumns>, AnyPgColumn>

const creditChecks = (table: string, t: CreditColumns) => [
  check(`${table}_remaining_check`, sql`${t.remaining} >= 0`),
  check(`${table}_refill_amount_check`, sql`${t.refillAmount} > 0`),
  check(`${table}_refill_interval_check`, sql`${t.refillInterval} IN ('daily', 'weekly', 'monthly')`),
  check(`${table}_refill_day_check`, sql`${t.refillDay} BETWEEN 1 AND 31`),
  check(`${table}_refill_hour_check`, sql`${t.refillHour} BETWEEN 0 AND 23`),
  check(`${table}_refill_time_zone_check`, sql`char_length(${t.refillTimeZone}) BETWEEN 1 AND 64`),
  check(`${table}_refill_mode_check`, sql`${t.refillMode} IN ('set', 'add')`),
  check(`${table}_refill_max_check`, sql`${t.refillMax} >= ${t.refillAmount}`),
  check(
    `${table}_refill_check`,
    sql`num_nonnulls(${t.refillAmount}, ${t.refillInterval}, ${t.refillsAt}) IN (0, 3)`,
  ),
]

/**
 * The remaining credits of keys. A separate table, because a charge must not evict the key everywhere
 * (docs/decisions/0006).
 */
export const apiKeyCredits = latchkey.table(
  'api_key_credits',
  {
    keyId: uuid('key_id')
      .primaryKey()
      .references(() => apiKeys.id, { onDelete: 'cascade' }),
    ...creditColumns(),
  },
  (t) => creditChecks('api_key_credits', t),
)

/** The remaining credits of owners, which the uses of all of their keys are charged to as well. */
export const ownerCredits = latchkey.table(
  'owner_credits',
  {
    /** The one of the following two that is set. */
    ownerId: uuid('owner_id').primaryKey(),
    userId: uuid('user_id').references(() => users.id, { onDelete: 'cascade' }),
    serviceAccountId: uuid('service_account_id').references(() => serviceAccounts.id, {
      onDelete: 'cascade',
    }),
    ...creditColumns(),
  },
  (t) => [
    index('owner_credits_user_id_idx').on(t.userId),
    index('owner_credits_service_account_id_idx').on(t.serviceAccountId),
    check(
      'owner_credits_owner_check',
      sql`num_nonnulls(${t.userId}, ${t.serviceAccountId}) = 1 AND ${t.ownerId} = COALESCE(${t.userId}, ${t.serviceAccountId})`,
    ),
    ...creditChecks('owner_credits', t),
  ],
)

/** The `Idempotency-Key`s of top-ups, by caller and path, with what was answered: a repeated request adds nothing. */
export const topUps = latchkey.table(
  'top_ups',
  {
    /** SHA-256 of the caller's id, the path and the header's value. */
    hash: bytes('hash').primaryKey(),
    /** SHA-256 of the request's body. */
    bodyHash: bytes('body_hash').notNull(),
    remaining: bigint('remaining', { mode: 'number' }).notNull(),
    createdAt: time('created_at').notNull(),
  },
  (t) => [
    index('top_ups_created_at_idx').on(t.createdAt),
    check('top_ups_hash_check', sql`octet_length(${t.hash}) = 32 AND octet_length(${t.bodyHash}) = 32`),
    check('top_ups_remaining_check', sql`${t.remaining} >= 0`),
  ],
)

/** Uses of a key by hour and outcome (a code of `/keys/verify`). */
export const keyUsage = latchkey.table(
  'key_usage',
  {
    keyId: uuid('key_id')
      .notNull()
      .references(() => apiKeys.id, { onDelete: 'cascade' }),
    hour: time('hour').notNull(),
    outcome: text('outcome').notNull(),
    count: bigint('count', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ name: 'key_usage_pkey', columns: [t.keyId, t.hour, t.outcome] }),
    index('key_usage_hour_idx').on(t.hour),
    check('key_usage_count_check', sql`${t.count} > 0`),
  ],
)

/** The `Idempotency-Key`s of key creation, by caller, so that a repeated request creates no second key. */
export const keyCreations = latchkey.table(
  'key_creations',
  {
    /** SHA-256 of the caller's id and the header's value. */
    hash: bytes('hash').primaryKey(),
    keyId: uuid('key_id').notNull(),
    createdAt: time('created_at').notNull(),
  },
  (t) => [
    index('key_creations_created_at_idx').on(t.createdAt),
    check('key_creations_hash_check', sql`octet_length(${t.hash}) = 32`),
  ],
)

/**
 * Settings that all servers on this database must share, with the values of the server that started last
 * (docs/decisions/0040).
 */
export const sharedSettings = latchkey.table('shared_settings', {
  name: text('name').primaryKey(),
  value: text('value').notNull(),
})
