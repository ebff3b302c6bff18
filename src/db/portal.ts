import { sql } from 'drizzle-orm'
import { check, index, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { bytes, latchkey, time } from './columns.ts'
import { apiKeys, serviceAccounts, users } from './schema.ts'

/** Sessions of customers in the portal. A session is made with a link, which is exchanged once for its bearer. */
export const portalSessions = latchkey.table(
  'portal_sessions',
  {
    id: uuid('id').primaryKey(),
    /** The owner whose keys are shown: a user or a service account. */
    userId: uuid('user_id').references(() => users.id, { onDelete: 'cascade' }),
    serviceAccountId: uuid('service_account_id').references(() => serviceAccounts.id, {
      onDelete: 'cascade',
    }),
    /** Who made it: an admin or a key. The session ends with its maker. */
    madeByUser: uuid('made_by_user').references(() => users.id, { onDelete: 'cascade' }),
    madeByKey: uuid('made_by_key').references(() => apiKeys.id, { onDelete: 'cascade' }),
    scopes: text('scopes').array().notNull(),
    may: text('may', { enum: ['read', 'create', 'rotate', 'revoke'] })
      .array()
      .notNull(),
    returnUrl: text('return_url'),
    /** SHA-256 of the token in the link. */
    linkHash: bytes('link_hash').notNull(),
    linkExpiresAt: time('link_expires_at').notNull(),
    /** SHA-256 of the bearer. null: the link was not used yet. */
    bearerHash: bytes('bearer_hash'),
    createdAt: time('created_at').notNull(),
    expiresAt: time('expires_at').notNull(),
    endedAt: time('ended_at'),
  },
  (t) => [
    uniqueIndex('portal_sessions_link_hash_key').on(t.linkHash),
    uniqueIndex('portal_sessions_bearer_hash_key').on(t.bearerHash),
    index('portal_sessions_user_id_idx').on(t.userId),
    index('portal_sessions_service_account_id_idx').on(t.serviceAccountId),
    index('portal_sessions_made_by_user_idx').on(t.madeByUser),
    index('portal_sessions_made_by_key_idx').on(t.madeByKey),
    index('portal_sessions_expires_at_idx').on(t.expiresAt),
    check('portal_sessions_owner_check', sql`num_nonnulls(${t.userId}, ${t.serviceAccountId}) = 1`),
    check('portal_sessions_maker_check', sql`num_nonnulls(${t.madeByUser}, ${t.madeByKey}) = 1`),
    check('portal_sessions_scopes_check', sql`cardinality(${t.scopes}) <= 50`),
    check(
      'portal_sessions_may_check',
      sql`'read' = ANY (${t.may}) AND ${t.may} <@ ARRAY['read', 'create', 'rotate', 'revoke']`,
    ),
    check('portal_sessions_return_url_check', sql`char_length(${t.returnUrl}) <= 2048`),
    check('portal_sessions_link_hash_check', sql`octet_length(${t.linkHash}) = 32`),
    check('portal_sessions_bearer_hash_check', sql`octet_length(${t.bearerHash}) = 32`),
  ],
)
