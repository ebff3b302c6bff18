import { sql } from 'drizzle-orm'
import { boolean, check, index, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { hasCredits, latchkey, lockedSettings, rate, time } from './columns.ts'

/** People. A user logs in and owns keys. */
export const users = latchkey.table(
  'users',
  {
    id: uuid('id').primaryKey(),
    /** The identity of the user: trimmed, NFC, lower case. */
    email: text('email').notNull(),
    emailVerified: boolean('email_verified').notNull().default(false),
    /** argon2id or bcrypt in crypt format. null: no password can log in. */
    passwordHash: text('password_hash'),
    /** When the password was last set. A login that checked an older password starts no session. */
    passwordChangedAt: time('password_changed_at'),
    role: text('role', { enum: ['admin', 'user'] })
      .notNull()
      .default('user'),
    isActive: boolean('is_active').notNull().default(true),
    /** The user's own ceiling. null: USER_SCOPES applies. */
    scopes: text('scopes').array(),
    createdAt: time('created_at').notNull(),
    lockedSettings: lockedSettings(),
    /** Whether the user has a confirmed TOTP or a passkey: kept by every change of factors, read at every use. */
    hasSecondFactor: boolean('has_second_factor').notNull().default(false),
    /** Whether the user made the account by sign-up. */
    isSignUp: boolean('is_sign_up').notNull().default(false),
    /** The first log-in; null: none. */
    firstLoginAt: time('first_login_at'),
    hasCredits: hasCredits(),
    ...rate(),
  },
  (t) => [
    uniqueIndex('users_email_key').on(t.email),
    index('users_never_verified_idx')
      .on(t.createdAt)
      .where(sql`${t.isSignUp} AND NOT ${t.emailVerified} AND ${t.firstLoginAt} IS NULL`),
    // What a list of keys asks of their owners: few are disabled.
    index('users_disabled_idx').on(t.id).where(sql`NOT ${t.isActive}`),
    index('users_active_admins_idx').on(t.id).where(sql`${t.role} = 'admin' AND ${t.isActive}`),
    check('users_role_check', sql`${t.role} IN ('admin', 'user')`),
    check('users_email_check', sql`char_length(${t.email}) BETWEEN 3 AND 254`),
    check('users_scopes_check', sql`cardinality(${t.scopes}) <= 50`),
    check('users_rate_check', sql`(${t.rateLimit} IS NULL) = (${t.rateWindowSeconds} IS NULL)`),
    check('users_rate_limit_check', sql`${t.rateLimit} > 0 AND ${t.rateWindowSeconds} > 0`),
  ],
)
