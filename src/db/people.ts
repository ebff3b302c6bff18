import { sql } from 'drizzle-orm'
import { bigint, boolean, check, index, integer, jsonb, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { bytes, latchkey, time } from './columns.ts'
import { sessions, users } from './schema.ts'

/**
 * Tokens that work once: mailed as a link, or handed over by an admin. All but the set-up token are computed from their
 * row (core/one-time-tokens), so that the row holds nothing that could be used.
 */
export const oneTimeTokens = latchkey.table(
  'one_time_tokens',
  {
    id: uuid('id').primaryKey(),
    purpose: text('purpose', { enum: ['verify', 'change_email', 'reset', 'invite', 'setup'] }).notNull(),
    /** null for the set-up token alone. */
    userId: uuid('user_id').references(() => users.id, { onDelete: 'cascade' }),
    /** The address that the token is mailed to, and proves; null: an admin or an operator hands it over. */
    email: text('email'),
    /** The admin who made it; null: its user, or an operator. It is good only while that admin is an active admin. */
    issuedBy: uuid('issued_by').references(() => users.id, { onDelete: 'cascade' }),
    /** SHA-256 of a set-up token; null for the others. */
    hash: bytes('hash'),
    createdAt: time('created_at').notNull(),
    /** Of a mailed token: moved once, when its mail is first handed to the mail server. */
    expiresAt: time('expires_at').notNull(),
    usedAt: time('used_at'),
    /** When something else ended it: a newer token, another password, another address. */
    voidedAt: time('voided_at'),
  },
  (t) => [
    index('one_time_tokens_user_id_idx').on(t.userId, t.purpose),
    index('one_time_tokens_issued_by_idx').on(t.issuedBy),
    index('one_time_tokens_expires_at_idx').on(t.expiresAt),
    uniqueIndex('one_time_tokens_hash_key').on(t.hash),
    check(
      'one_time_tokens_purpose_check',
      sql`${t.purpose} IN ('verify', 'change_email', 'reset', 'invite', 'setup')`,
    ),
    check('one_time_tokens_user_check', sql`(${t.purpose} = 'setup') = (${t.userId} IS NULL)`),
    check('one_time_tokens_hash_check', sql`(${t.purpose} = 'setup') = (${t.hash} IS NOT NULL)`),
    check('one_time_tokens_hash_length_check', sql`octet_length(${t.hash}) = 32`),
    check('one_time_tokens_email_check', sql`char_length(${t.email}) BETWEEN 3 AND 254`),
  ],
)

/** The outbox: mails that are to be sent, or were. A mail is written in the transaction of what it tells of. */
export const mails = latchkey.table(
  'mails',
  {
    id: uuid('id').primaryKey(),
    kind: text('kind').notNull(),
    recipient: text('recipient').notNull(),
    /** Whose account the mail is about. No foreign key: a mail about a deleted account is still sent. */
    userId: uuid('user_id'),
    /** What the template needs. Never a token, a link or a body. */
    parameters: jsonb('parameters').$type<Record<string, string>>().notNull(),
    /** The token whose link the mail carries; null where it carries none. */
    tokenId: uuid('token_id').references(() => oneTimeTokens.id, { onDelete: 'set null' }),
    createdAt: time('created_at').notNull(),
    attempts: integer('attempts').notNull().default(0),
    nextAttemptAt: time('next_attempt_at').notNull(),
    /** When it was accepted, or given up. The row is deleted seven days later. */
    endedAt: time('ended_at'),
    outcome: text('outcome', { enum: ['sent', 'failed'] }),
    /** What the mail server said last, without the address and without secrets. */
    lastError: text('last_error'),
  },
  (t) => [
    index('mails_waiting_idx').on(t.nextAttemptAt).where(sql`${t.endedAt} IS NULL`),
    index('mails_user_id_idx').on(t.userId, t.kind, t.createdAt),
    index('mails_token_id_idx').on(t.tokenId),
    index('mails_ended_at_idx').on(t.endedAt),
    check('mails_outcome_check', sql`${t.outcome} IN ('sent', 'failed')`),
    check('mails_ended_check', sql`(${t.endedAt} IS NULL) = (${t.outcome} IS NULL)`),
    check('mails_attempts_check', sql`${t.attempts} >= 0`),
    check('mails_recipient_check', sql`char_length(${t.recipient}) BETWEEN 3 AND 254`),
    check('mails_last_error_check', sql`char_length(${t.lastError}) <= 500`),
  ],
)

/** Mails with a link that were asked for, by mailbox, known or not, in the present window. */
export const mailboxCounts = latchkey.table(
  'mailbox_counts',
  {
    /** HMAC of the address under a key derived from SECRET_KEY: the table names no address. */
    emailHmac: bytes('email_hmac').primaryKey(),
    count: integer('count').notNull(),
    windowStartedAt: time('window_started_at').notNull(),
  },
  (t) => [
    index('mailbox_counts_window_idx').on(t.windowStartedAt),
    check('mailbox_counts_count_check', sql`${t.count} >= 0`),
  ],
)

/** Secrets of authenticator apps (RFC 6238). A user has at most one that is confirmed and one that is pending. */
export const totpSecrets = latchkey.table(
  'totp_secrets',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    /** The secret, encrypted under a key derived from SECRET_KEY. */
    secret: bytes('secret').notNull(),
    createdAt: time('created_at').notNull(),
    /** null: pending, for ten minutes. */
    confirmedAt: time('confirmed_at'),
    /** The last time step whose code was accepted; that step and every earlier one are refused. */
    lastStep: bigint('last_step', { mode: 'number' }),
  },
  (t) => [
    uniqueIndex('totp_secrets_confirmed_key').on(t.userId).where(sql`${t.confirmedAt} IS NOT NULL`),
    uniqueIndex('totp_secrets_pending_key').on(t.userId).where(sql`${t.confirmedAt} IS NULL`),
    index('totp_secrets_user_id_idx').on(t.userId),
    index('totp_secrets_created_at_idx').on(t.createdAt).where(sql`${t.confirmedAt} IS NULL`),
  ],
)

/** Codes that stand in for a lost second factor, each once. */
export const recoveryCodes = latchkey.table(
  'recovery_codes',
  {
    /** SHA-256 of the user's id and the code. */
    hash: bytes('hash').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    createdAt: time('created_at').notNull(),
    usedAt: time('used_at'),
  },
  (t) => [
    index('recovery_codes_user_id_idx').on(t.userId),
    check('recovery_codes_hash_check', sql`octet_length(${t.hash}) = 32`),
  ],
)

/** Passkeys (WebAuthn credentials). A user has at most 20. */
export const passkeys = latchkey.table(
  'passkeys',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    name: text('name').notNull(),
    credentialId: bytes('credential_id').notNull(),
    /** In COSE form. */
    publicKey: bytes('public_key').notNull(),
    signCount: bigint('sign_count', { mode: 'number' }).notNull(),
    transports: text('transports').array().notNull(),
    /** Whether it is synchronised between devices. */
    isBackedUp: boolean('is_backed_up').notNull(),
    createdAt: time('created_at').notNull(),
    lastUsedAt: time('last_used_at'),
    /** When its sign count went back, which a copy of it does. It cannot be used from then on. */
    suspendedAt: time('suspended_at'),
  },
  (t) => [
    uniqueIndex('passkeys_credential_id_key').on(t.credentialId),
    index('passkeys_user_id_idx').on(t.userId),
    check('passkeys_name_check', sql`char_length(${t.name}) BETWEEN 1 AND 100`),
    check('passkeys_credential_id_check', sql`octet_length(${t.credentialId}) BETWEEN 1 AND 1023`),
    check('passkeys_sign_count_check', sql`${t.signCount} BETWEEN 0 AND 4294967295`),
  ],
)

/** The rows behind `mfa_token`s: the password was right, the second factor is still missing. */
export const pendingSteps = latchkey.table(
  'pending_steps',
  {
    id: uuid('id').primaryKey(),
    /** SHA-256 of the token. */
    hash: bytes('hash').notNull(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    /** The kind of session that it may be finished as. */
    kind: text('kind', { enum: ['api', 'browser'] }).notNull(),
    /** The scopes that the session is narrowed to; null: it is all of the user. */
    scopes: text('scopes').array(),
    remember: boolean('remember').notNull().default(false),
    createdAt: time('created_at').notNull(),
    expiresAt: time('expires_at').notNull(),
  },
  (t) => [
    uniqueIndex('pending_steps_hash_key').on(t.hash),
    index('pending_steps_user_id_idx').on(t.userId),
    index('pending_steps_expires_at_idx').on(t.expiresAt),
    check('pending_steps_hash_check', sql`octet_length(${t.hash}) = 32`),
    check('pending_steps_kind_check', sql`${t.kind} IN ('api', 'browser')`),
  ],
)

/** Challenges that a passkey has to sign, each used once, even by a failed try. */
export const passkeyChallenges = latchkey.table(
  'passkey_challenges',
  {
    challenge: bytes('challenge').primaryKey(),
    purpose: text('purpose', { enum: ['register', 'login', 'second_step', 'reauthenticate'] }).notNull(),
    userId: uuid('user_id').references(() => users.id, { onDelete: 'cascade' }),
    sessionId: uuid('session_id').references(() => sessions.id, { onDelete: 'cascade' }),
    pendingStepId: uuid('pending_step_id').references(() => pendingSteps.id, { onDelete: 'cascade' }),
    createdAt: time('created_at').notNull(),
    expiresAt: time('expires_at').notNull(),
  },
  (t) => [
    index('passkey_challenges_user_id_idx').on(t.userId),
    index('passkey_challenges_session_id_idx').on(t.sessionId),
    index('passkey_challenges_pending_step_id_idx').on(t.pendingStepId),
    index('passkey_challenges_expires_at_idx').on(t.expiresAt),
    check('passkey_challenges_challenge_check', sql`octet_length(${t.challenge}) = 32`),
    check(
      'passkey_challenges_purpose_check',
      sql`${t.purpose} IN ('register', 'login', 'second_step', 'reauthenticate')`,
    ),
  ],
)

/** Wrong codes in a row of each account, and until when its codes are locked. A right code deletes the row. */
export const codeFailures = latchkey.table(
  'code_failures',
  {
    userId: uuid('user_id')
      .primaryKey()
      .references(() => users.id, { onDelete: 'cascade' }),
    failures: integer('failures').notNull(),
    lockedUntil: time('locked_until'),
    lastFailedAt: time('last_failed_at').notNull(),
  },
  (t) => [
    index('code_failures_last_failed_at_idx').on(t.lastFailedAt),
    check('code_failures_failures_check', sql`${t.failures} >= 0`),
  ],
)
