import { sql } from 'drizzle-orm'
import {
  type AnyPgColumn,
  boolean,
  check,
  index,
  integer,
  jsonb,
  text,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core'
import type { JWK } from 'jose'
import { bytes, latchkey, time } from './columns.ts'
import { users } from './users.ts'

/** One scope of a resource. `grantable_by`: any active person, or only one whose ceiling holds it. */
export type ResourceScope = { name: string; description: string; grantable_by: 'everyone' | 'ceiling' }

/** APIs for which apps get access tokens. Latchkey's own is no row (core/resources). */
export const resources = latchkey.table(
  'resources',
  {
    id: uuid('id').primaryKey(),
    /** The `aud` of its tokens. */
    identifier: text('identifier').notNull(),
    slug: text('slug').notNull(),
    name: text('name').notNull(),
    scopes: jsonb('scopes').$type<ResourceScope[]>().notNull(),
    /** null: ACCESS_TOKEN_EXPIRE_MINUTES, one hour at most. */
    tokenLifetimeSeconds: integer('token_lifetime_seconds'),
    isActive: boolean('is_active').notNull().default(true),
    createdAt: time('created_at').notNull(),
    createdBy: uuid('created_by').references(() => users.id, { onDelete: 'set null' }),
  },
  (t) => [
    uniqueIndex('resources_identifier_key').on(t.identifier),
    uniqueIndex('resources_slug_key').on(t.slug),
    index('resources_created_by_idx').on(t.createdBy),
    check('resources_identifier_check', sql`char_length(${t.identifier}) BETWEEN 1 AND 500`),
    check('resources_slug_check', sql`${t.slug} ~ '^[a-z0-9-]{1,50}$' AND ${t.slug} <> 'latchkey'`),
    check('resources_name_check', sql`char_length(${t.name}) BETWEEN 1 AND 100`),
    check('resources_lifetime_check', sql`${t.tokenLifetimeSeconds} BETWEEN 60 AND 3600`),
  ],
)

/** Apps that act for people. */
export const oauthClients = latchkey.table(
  'oauth_clients',
  {
    id: uuid('id').primaryKey(),
    /** As the app names itself: the id of a registered one, the URL of a metadata document. */
    clientId: text('client_id').notNull(),
    source: text('source', { enum: ['registered', 'metadata', 'dynamic'] }).notNull(),
    kind: text('kind', { enum: ['public', 'confidential'] }).notNull(),
    name: text('name').notNull(),
    redirectUris: text('redirect_uris').array().notNull(),
    postLogoutRedirectUris: text('post_logout_redirect_uris').array().notNull().default(sql`'{}'`),
    grants: text('grants').array().notNull(),
    /** The most that it gets; null: no limit by the client, and no `latchkey:*`. */
    scopes: text('scopes').array(),
    firstParty: boolean('first_party').notNull().default(false),
    isActive: boolean('is_active').notNull().default(true),
    /** The public keys of `private_key_jwt`: themselves, or where they are. At most one of the two is set. */
    jwks: jsonb('jwks').$type<{ keys: JWK[] }>(),
    jwksUri: text('jwks_uri'),
    createdAt: time('created_at').notNull(),
    createdBy: uuid('created_by').references(() => users.id, { onDelete: 'set null' }),
    lastUsedAt: time('last_used_at'),
  },
  (t) => [
    uniqueIndex('oauth_clients_client_id_key').on(t.clientId),
    index('oauth_clients_created_by_idx').on(t.createdBy),
    index('oauth_clients_source_idx').on(t.source, t.lastUsedAt),
    check('oauth_clients_client_id_check', sql`char_length(${t.clientId}) BETWEEN 1 AND 500`),
    check('oauth_clients_source_check', sql`${t.source} IN ('registered', 'metadata', 'dynamic')`),
    check('oauth_clients_kind_check', sql`${t.kind} IN ('public', 'confidential')`),
    check('oauth_clients_name_check', sql`char_length(${t.name}) BETWEEN 1 AND 100`),
    check('oauth_clients_redirect_uris_check', sql`cardinality(${t.redirectUris}) <= 20`),
    check('oauth_clients_scopes_check', sql`cardinality(${t.scopes}) <= 50`),
    check('oauth_clients_keys_check', sql`num_nonnulls(${t.jwks}, ${t.jwksUri}) <= 1`),
  ],
)

/** The secrets of confidential clients. */
export const oauthClientSecrets = latchkey.table(
  'oauth_client_secrets',
  {
    id: uuid('id').primaryKey(),
    clientId: uuid('client_id')
      .notNull()
      .references(() => oauthClients.id, { onDelete: 'cascade' }),
    /** SHA-256 of the secret. */
    hash: bytes('hash').notNull(),
    /** By which people recognise it. */
    start: text('start').notNull(),
    createdAt: time('created_at').notNull(),
    /** null: no end. */
    expiresAt: time('expires_at'),
    lastUsedAt: time('last_used_at'),
  },
  (t) => [
    uniqueIndex('oauth_client_secrets_hash_key').on(t.hash),
    index('oauth_client_secrets_client_id_idx').on(t.clientId),
    check('oauth_client_secrets_hash_check', sql`octet_length(${t.hash}) = 32`),
  ],
)

/**
 * For what a token is made. `resource`: one of the rows of `resources`. The others are Latchkey itself: `latchkey` its own
 * resource, `userinfo` its endpoint of OpenID Connect, `users` its own API, for first-party apps.
 */
export const TOKEN_AUDIENCES = ['resource', 'latchkey', 'userinfo', 'users'] as const
export type TokenAudience = (typeof TOKEN_AUDIENCES)[number]

export const audience = () => text('audience', { enum: TOKEN_AUDIENCES }).notNull()
export const resourceId = () => uuid('resource_id').references(() => resources.id, { onDelete: 'cascade' })
export const isAudience = (t: { audience: AnyPgColumn; resourceId: AnyPgColumn }) =>
  sql`${t.audience} IN ('resource', 'latchkey', 'userinfo', 'users') AND (${t.audience} = 'resource') = (${t.resourceId} IS NOT NULL)`

/** What a person allowed an app: one row for each person, client and audience. */
export const oauthGrants = latchkey.table(
  'oauth_grants',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    clientId: uuid('client_id')
      .notNull()
      .references(() => oauthClients.id, { onDelete: 'cascade' }),
    audience: audience(),
    resourceId: resourceId(),
    /** All that was allowed so far. */
    scopes: text('scopes').array().notNull(),
    firstAllowedAt: time('first_allowed_at').notNull(),
    lastAllowedAt: time('last_allowed_at').notNull(),
    lastUsedAt: time('last_used_at'),
  },
  (t) => [
    uniqueIndex('oauth_grants_resource_key')
      .on(t.userId, t.clientId, t.resourceId)
      .where(sql`${t.resourceId} IS NOT NULL`),
    uniqueIndex('oauth_grants_audience_key')
      .on(t.userId, t.clientId, t.audience)
      .where(sql`${t.resourceId} IS NULL`),
    index('oauth_grants_user_id_idx').on(t.userId),
    index('oauth_grants_client_id_idx').on(t.clientId),
    index('oauth_grants_resource_id_idx').on(t.resourceId),
    check('oauth_grants_audience_check', isAudience(t)),
  ],
)

/** The assertions by which clients authenticated (RFC 7523), until they expire: each works once. */
export const usedAssertions = latchkey.table(
  'used_assertions',
  {
    id: uuid('id').primaryKey(),
    clientId: uuid('client_id')
      .notNull()
      .references(() => oauthClients.id, { onDelete: 'cascade' }),
    /** SHA-256 of the `jti`. */
    hash: bytes('hash').notNull(),
    expiresAt: time('expires_at').notNull(),
  },
  (t) => [
    uniqueIndex('used_assertions_key').on(t.clientId, t.hash),
    index('used_assertions_expires_at_idx').on(t.expiresAt),
    check('used_assertions_hash_check', sql`octet_length(${t.hash}) = 32`),
  ],
)
