import { sql } from 'drizzle-orm'
import { keyRefusals, usageByOwner } from '../../src/db/console.ts'
import type { Database } from '../../src/db/database.ts'
import {
  apiKeyCredits,
  apiKeySecrets,
  apiKeys,
  auditEvents,
  keyCreations,
  keyUsage,
  loginAttempts,
  passwordResets,
  revokedTokens,
  serviceAccounts,
  sessions,
  sharedSettings,
  signingKeys,
  users,
} from '../../src/db/schema.ts'
import { type insertOneOfEach, rows } from './rows.ts'

type Existing = Awaited<ReturnType<typeof insertOneOfEach>>
type Statement = (db: Database, existing: Existing) => PromiseLike<unknown>

const unknownId = '00000000-0000-7000-8000-000000000000'
const fiftyOne = Array.from({ length: 51 }, (_, i) => `s${i}`)
const refill = { refillAmount: 5, refillInterval: 'daily', refillsAt: new Date() }
const bytes = (length: number) => new Uint8Array(length)

const user = (bad: object) => (db: Database) => db.insert(users).values({ ...rows.user(), ...bad })
const account = (bad: object) => (db: Database) =>
  db.insert(serviceAccounts).values({ ...rows.serviceAccount(), ...bad })
const key = (bad: object) => (db: Database, e: Existing) =>
  db.insert(apiKeys).values({ ...rows.apiKey(e.user.id), ...bad })
const secret = (bad: object) => (db: Database, e: Existing) =>
  db.insert(apiKeySecrets).values({ ...rows.secret(e.apiKey.id), ...bad })
/** Uses a new key, because a key has at most one row of credits. */
const credits = (bad: object) => async (db: Database, e: Existing) => {
  const apiKey = rows.apiKey(e.user.id)
  await db.insert(apiKeys).values(apiKey)
  await db.insert(apiKeyCredits).values({ ...rows.credits(apiKey.id), ...bad })
}
const usage = (bad: object) => (db: Database, e: Existing) =>
  db.insert(keyUsage).values({ ...rows.usage(e.apiKey.id), ...bad })
const refusal = (bad: object) => (db: Database, e: Existing) =>
  db.insert(keyRefusals).values({ ...rows.refusal(e.apiKey.id), ...bad })
const ownerUsage = (bad: object) => (db: Database) =>
  db.insert(usageByOwner).values({ ...rows.ownerUsage(unknownId), ...bad })
const creation = (bad: object) => (db: Database, e: Existing) =>
  db.insert(keyCreations).values({ ...rows.creation(e.apiKey.id), ...bad })
const session = (bad: object) => (db: Database, e: Existing) =>
  db.insert(sessions).values({ ...rows.session(e.user.id), ...bad })
const signingKey = (bad: object) => (db: Database) =>
  db.insert(signingKeys).values({ ...rows.signingKey(), ...bad })
const event = (bad: object) => (db: Database) =>
  db.insert(auditEvents).values({ ...rows.auditEvent(), ...bad })
const attempt = (bad: object) => (db: Database) =>
  db.insert(loginAttempts).values({ ...rows.loginAttempt(), ...bad })
const reset = (bad: object) => (db: Database, e: Existing) =>
  db.insert(passwordResets).values({ ...rows.passwordReset(e.user.id), ...bad })
const revokedToken = (bad: object) => (db: Database, e: Existing) =>
  db.insert(revokedTokens).values({ ...rows.revokedToken(e.secret.id), ...bad })

/** For each constraint, statements that no other constraint refuses. A new constraint needs an entry here. */
export const constraintCases: Record<string, Statement[]> = {
  users_pkey: [(db, e) => user({ id: e.user.id })(db)],
  users_email_key: [(db, e) => user({ email: e.user.email })(db)],
  users_role_check: [user({ role: 'root' }), user({ role: 'Admin' })],
  users_email_check: [user({ email: 'a@' }), user({ email: `${'a'.repeat(250)}@b.cd` })],
  users_scopes_check: [user({ scopes: fiftyOne })],
  service_accounts_pkey: [(db, e) => account({ id: e.serviceAccount.id })(db)],
  service_accounts_created_by_users_id_fk: [account({ createdBy: unknownId })],
  service_accounts_counts_for_users_id_fk: [account({ countsFor: unknownId })],
  service_accounts_name_check: [account({ name: '' }), account({ name: 'n'.repeat(101) })],
  service_accounts_description_check: [account({ description: 'd'.repeat(501) })],
  service_accounts_scopes_check: [account({ scopes: fiftyOne })],
  api_keys_pkey: [(db, e) => key({ id: e.apiKey.id })(db, e)],
  api_keys_user_id_users_id_fk: [key({ userId: unknownId })],
  api_keys_service_account_id_service_accounts_id_fk: [key({ userId: null, serviceAccountId: unknownId })],
  api_keys_owner_check: [
    key({ userId: null }),
    (db, e) => key({ serviceAccountId: e.serviceAccount.id })(db, e),
  ],
  api_keys_name_check: [key({ name: 'n'.repeat(101) })],
  api_keys_scopes_check: [key({ scopes: fiftyOne })],
  api_keys_revoked_reason_check: [key({ revokedReason: 'r'.repeat(501) })],
  api_keys_description_check: [key({ description: 'd'.repeat(501) })],
  api_keys_external_id_check: [key({ externalId: 'x'.repeat(256) })],
  api_keys_metadata_check: [key({ metadata: [] }), key({ metadata: { x: 'x'.repeat(16384) } })],
  api_keys_rate_check: [key({ rateLimit: 1 }), key({ rateWindowSeconds: 1 })],
  api_keys_rate_limit_check: [
    key({ rateLimit: 0, rateWindowSeconds: 1 }),
    key({ rateLimit: 1, rateWindowSeconds: 0 }),
  ],
  api_keys_allowed_ips_check: [key({ allowedIps: fiftyOne })],
  api_key_credits_pkey: [(db, e) => credits({ keyId: e.apiKey.id })(db, e)],
  api_key_credits_key_id_api_keys_id_fk: [credits({ keyId: unknownId })],
  api_key_credits_remaining_check: [credits({ remaining: -1 })],
  api_key_credits_refill_amount_check: [credits({ ...refill, refillAmount: 0 })],
  api_key_credits_refill_interval_check: [credits({ ...refill, refillInterval: 'hourly' })],
  api_key_credits_refill_check: [credits({ ...refill, refillsAt: null }), credits({ refillAmount: 5 })],
  key_usage_pkey: [(db, e) => usage(e.usage)(db, e)],
  key_usage_key_id_api_keys_id_fk: [usage({ keyId: unknownId })],
  key_usage_count_check: [usage({ outcome: 'EXPIRED', count: 0 })],
  key_refusals_key_id_api_keys_id_fk: [refusal({ keyId: unknownId })],
  key_refusals_count_check: [refusal({ count: 0 })],
  usage_by_owner_pkey: [(db, e) => ownerUsage(e.ownerUsage)(db)],
  usage_by_owner_count_check: [ownerUsage({ outcome: 'EXPIRED', count: 0 })],
  key_creations_pkey: [(db, e) => creation({ hash: e.creation.hash })(db, e)],
  key_creations_hash_check: [creation({ hash: bytes(31) }), creation({ hash: bytes(33) })],
  api_key_secrets_pkey: [(db, e) => secret({ id: e.secret.id })(db, e)],
  api_key_secrets_key_id_api_keys_id_fk: [secret({ keyId: unknownId })],
  api_key_secrets_hash_key: [(db, e) => secret({ hash: e.secret.hash })(db, e)],
  api_key_secrets_hash_check: [secret({ hash: bytes(31) }), secret({ hash: bytes(33) })],
  api_key_secrets_start_check: [secret({ start: 's'.repeat(33) })],
  sessions_pkey: [(db, e) => session({ id: e.session.id })(db, e)],
  sessions_user_id_users_id_fk: [session({ userId: unknownId })],
  sessions_salt_check: [session({ salt: bytes(15) }), session({ salt: bytes(17) })],
  sessions_generation_check: [session({ generation: -1 }), session({ generation: 2 ** 32 })],
  sessions_user_agent_check: [session({ userAgent: 'u'.repeat(256) })],
  sessions_last_user_agent_check: [session({ lastUserAgent: 'u'.repeat(256) })],
  sessions_scopes_check: [session({ scopes: fiftyOne })],
  shared_settings_pkey: [(db, e) => db.insert(sharedSettings).values(e.sharedSetting)],
  signing_keys_pkey: [(db, e) => signingKey({ id: e.signingKey.id })(db)],
  signing_keys_algorithm_check: [signingKey({ algorithm: 'HS256' }), signingKey({ algorithm: 'none' })],
  audit_events_pkey: [(db, e) => event({ id: e.auditEvent.id })(db)],
  audit_events_outcome_check: [event({ outcome: 'maybe' })],
  audit_events_actor_type_check: [event({ actorType: 'robot' })],
  login_attempts_pkey: [(db, e) => attempt({ emailHmac: e.loginAttempt.emailHmac })(db)],
  login_attempts_attempts_check: [attempt({ attempts: -1 })],
  password_resets_pkey: [(db, e) => reset({ id: e.passwordReset.id })(db, e)],
  password_resets_user_id_users_id_fk: [reset({ userId: unknownId })],
  password_resets_created_by_users_id_fk: [reset({ createdBy: unknownId })],
  password_resets_hash_key: [(db, e) => reset({ hash: e.passwordReset.hash })(db, e)],
  password_resets_hash_check: [reset({ hash: bytes(31) }), reset({ hash: bytes(33) })],
  revoked_tokens_pkey: [(db, e) => revokedToken({ id: e.revokedToken.id })(db, e)],
  revoked_tokens_secret_id_api_key_secrets_id_fk: [revokedToken({ secretId: unknownId })],
}

/**
 * Every constraint and unique index of Latchkey's tables except the journal's, by the name that a violation
 * reports.
 */
export const constraintNames = sql`
  SELECT conname AS name FROM pg_constraint
  WHERE connamespace = 'latchkey'::regnamespace AND contype IN ('c', 'f', 'p', 'u', 'x')
    AND conrelid <> 'latchkey.migrations'::regclass
  UNION
  SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
  WHERE c.relnamespace = 'latchkey'::regnamespace AND i.indisunique
    AND i.indrelid <> 'latchkey.migrations'::regclass`
