import { sql } from 'drizzle-orm'
import { check, index, integer, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { bytes, latchkey, time } from './columns.ts'
import { audience, isAudience, oauthClients, oauthGrants, resourceId } from './oauth.ts'
import { sessions } from './schema.ts'

/** Requests of apps that wait for a person's consent. */
export const authorizationRequests = latchkey.table(
  'authorization_requests',
  {
    id: uuid('id').primaryKey(),
    /** The browser session that asked. */
    sessionId: uuid('session_id')
      .notNull()
      .references(() => sessions.id, { onDelete: 'cascade' }),
    clientId: uuid('client_id')
      .notNull()
      .references(() => oauthClients.id, { onDelete: 'cascade' }),
    redirectUri: text('redirect_uri').notNull(),
    audience: audience(),
    resourceId: resourceId(),
    /** What the person is asked for. */
    scopes: text('scopes').array().notNull(),
    state: text('state'),
    nonce: text('nonce'),
    codeChallenge: text('code_challenge').notNull(),
    createdAt: time('created_at').notNull(),
    expiresAt: time('expires_at').notNull(),
    usedAt: time('used_at'),
  },
  (t) => [
    index('authorization_requests_session_id_idx').on(t.sessionId),
    index('authorization_requests_client_id_idx').on(t.clientId),
    index('authorization_requests_resource_id_idx').on(t.resourceId),
    index('authorization_requests_expires_at_idx').on(t.expiresAt),
    check('authorization_requests_audience_check', isAudience(t)),
  ],
)

/** Authorization codes (RFC 6749, section 4.1.2). */
export const authorizationCodes = latchkey.table(
  'authorization_codes',
  {
    id: uuid('id').primaryKey(),
    /** SHA-256 of the code. */
    hash: bytes('hash').notNull(),
    grantId: uuid('grant_id')
      .notNull()
      .references(() => oauthGrants.id, { onDelete: 'cascade' }),
    /** The browser session that consented. A code is good only while it lives. */
    sessionId: uuid('session_id')
      .notNull()
      .references(() => sessions.id, { onDelete: 'cascade' }),
    redirectUri: text('redirect_uri').notNull(),
    codeChallenge: text('code_challenge').notNull(),
    nonce: text('nonce'),
    /** Of the audience; null: all that the person has, of `users` alone. */
    scopes: text('scopes').array(),
    identityScopes: text('identity_scopes').array().notNull(),
    createdAt: time('created_at').notNull(),
    expiresAt: time('expires_at').notNull(),
    usedAt: time('used_at'),
    /** The client session that its first use made. A second use ends that session. */
    madeSessionId: uuid('made_session_id').references(() => sessions.id, { onDelete: 'cascade' }),
  },
  (t) => [
    uniqueIndex('authorization_codes_hash_key').on(t.hash),
    index('authorization_codes_grant_id_idx').on(t.grantId),
    index('authorization_codes_session_id_idx').on(t.sessionId),
    index('authorization_codes_made_session_id_idx').on(t.madeSessionId),
    index('authorization_codes_expires_at_idx').on(t.expiresAt),
    check('authorization_codes_hash_check', sql`octet_length(${t.hash}) = 32`),
  ],
)

/** Devices that wait for a person to allow them (RFC 8628). */
export const deviceCodes = latchkey.table(
  'device_codes',
  {
    id: uuid('id').primaryKey(),
    /** SHA-256 of the device code. */
    hash: bytes('hash').notNull(),
    /** Eight letters, without the hyphen. */
    userCode: text('user_code').notNull(),
    clientId: uuid('client_id')
      .notNull()
      .references(() => oauthClients.id, { onDelete: 'cascade' }),
    audience: audience(),
    resourceId: resourceId(),
    /** What is asked for. */
    scopes: text('scopes').array().notNull(),
    /** The address and user agent of the device. */
    ip: text('ip'),
    userAgent: text('user_agent'),
    createdAt: time('created_at').notNull(),
    expiresAt: time('expires_at').notNull(),
    intervalSeconds: integer('interval_seconds').notNull(),
    lastPolledAt: time('last_polled_at'),
    deniedAt: time('denied_at'),
    /** Set with the yes. */
    grantId: uuid('grant_id').references(() => oauthGrants.id, { onDelete: 'cascade' }),
    /** The browser session in which the code was typed last: it alone answers. */
    sessionId: uuid('session_id').references(() => sessions.id, { onDelete: 'cascade' }),
    allowedScopes: text('allowed_scopes').array(),
    usedAt: time('used_at'),
  },
  (t) => [
    uniqueIndex('device_codes_hash_key').on(t.hash),
    uniqueIndex('device_codes_user_code_key').on(t.userCode),
    index('device_codes_client_id_idx').on(t.clientId),
    index('device_codes_resource_id_idx').on(t.resourceId),
    index('device_codes_grant_id_idx').on(t.grantId),
    index('device_codes_session_id_idx').on(t.sessionId),
    index('device_codes_expires_at_idx').on(t.expiresAt),
    check('device_codes_hash_check', sql`octet_length(${t.hash}) = 32`),
    check('device_codes_audience_check', isAudience(t)),
  ],
)
