import { sql } from 'drizzle-orm'
import { authorizationCodes, authorizationRequests, deviceCodes } from '../../src/db/authorization.ts'
import { instances, keyRefusals, overview, runningExports, usageByOwner } from '../../src/db/console.ts'
import type { Database } from '../../src/db/database.ts'
import {
  oauthClientSecrets,
  oauthClients,
  oauthGrants,
  resources,
  usedAssertions,
} from '../../src/db/oauth.ts'
import {
  codeFailures,
  mailboxCounts,
  mails,
  oneTimeTokens,
  passkeyChallenges,
  passkeys,
  pendingSteps,
  recoveryCodes,
  totpSecrets,
} from '../../src/db/people.ts'
import { portalSessions } from '../../src/db/portal.ts'
import { heartbeats, regionState, regions, usageReports } from '../../src/db/regions.ts'
import {
  accountManagers,
  apiKeyCredits,
  apiKeySecrets,
  apiKeys,
  auditEvents,
  keyActivity,
  keyCreations,
  keyUsage,
  loginAttempts,
  ownerCredits,
  passwordResets,
  revokedTokens,
  serviceAccounts,
  sessions,
  sharedSettings,
  signingKeys,
  topUps,
  users,
} from '../../src/db/schema.ts'
import { appRows, type insertOneOfEach, rows } from './rows.ts'

type Existing = Awaited<ReturnType<typeof insertOneOfEach>>
type Statement = (db: Database, existing: Existing) => PromiseLike<unknown>

const unknownId = '00000000-0000-7000-8000-000000000000'
const fiftyOne = Array.from({ length: 51 }, (_, i) => `s${i}`)
const refill = { refillAmount: 5, refillInterval: 'daily', refillsAt: new Date() }
const bytes = (length: number) => new Uint8Array(length)

const user = (bad: object) => (db: Database) => db.insert(users).values({ ...rows.user(), ...bad })
const account = (bad: object) => (db: Database) =>
  db.insert(serviceAccounts).values({ ...rows.serviceAccount(), ...bad })
const manager = (bad: object) => async (db: Database, e: Existing) => {
  const managed = rows.serviceAccount()
  await db.insert(serviceAccounts).values(managed)
  await db.insert(accountManagers).values({ ...rows.manager(managed.id, e.user.id), ...bad })
}
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
/** Uses a new user, because an owner has at most one row of credits. */
const ofOwner = (bad: object) => async (db: Database) => {
  const owner = rows.user()
  await db.insert(users).values(owner)
  await db.insert(ownerCredits).values({ ...rows.ownerCredits(owner.id), ...bad })
}
const own = { audience: 'latchkey', resourceId: null }
const resource = (bad: object) => (db: Database) =>
  db.insert(resources).values({ ...appRows.resource(), ...bad })
const client = (bad: object) => (db: Database) =>
  db.insert(oauthClients).values({ ...appRows.client(), ...bad })
const clientSecret = (bad: object) => (db: Database, e: Existing) =>
  db.insert(oauthClientSecrets).values({ ...appRows.clientSecret(e.app.client.id), ...bad })
const grant = (bad: object) => (db: Database, e: Existing) =>
  db.insert(oauthGrants).values({ ...appRows.grant(e.user.id, e.app.client.id, e.app.resource.id), ...bad })
const request = (bad: object) => (db: Database, e: Existing) =>
  db.insert(authorizationRequests).values({ ...appRows.request(e.session.id, e.app.client.id), ...bad })
const code = (bad: object) => (db: Database, e: Existing) =>
  db.insert(authorizationCodes).values({ ...appRows.code(e.app.grant.id, e.session.id), ...bad })
const device = (bad: object) => (db: Database, e: Existing) =>
  db.insert(deviceCodes).values({ ...appRows.device(e.app.client.id), ...bad })
const assertion = (bad: object) => (db: Database, e: Existing) =>
  db.insert(usedAssertions).values({ ...appRows.assertion(e.app.client.id), ...bad })
const topUp = (bad: object) => (db: Database) => db.insert(topUps).values({ ...rows.topUp(), ...bad })

/** Columns of credits that a table of credits refuses, by the constraint that refuses them. */
const creditCases = (table: string, insert: (bad: object) => Statement) => ({
  [`${table}_remaining_check`]: [insert({ remaining: -1 })],
  [`${table}_refill_amount_check`]: [insert({ ...refill, refillAmount: 0 })],
  [`${table}_refill_interval_check`]: [insert({ ...refill, refillInterval: 'hourly' })],
  [`${table}_refill_day_check`]: [insert({ ...refill, refillDay: 0 }), insert({ ...refill, refillDay: 32 })],
  [`${table}_refill_hour_check`]: [
    insert({ ...refill, refillHour: -1 }),
    insert({ ...refill, refillHour: 24 }),
  ],
  [`${table}_refill_time_zone_check`]: [insert({ ...refill, refillTimeZone: '' })],
  [`${table}_refill_mode_check`]: [insert({ ...refill, refillMode: 'multiply' })],
  [`${table}_refill_max_check`]: [insert({ ...refill, refillMax: 4 })],
  [`${table}_refill_check`]: [insert({ ...refill, refillsAt: null }), insert({ refillAmount: 5 })],
})
const usage = (bad: object) => (db: Database, e: Existing) =>
  db.insert(keyUsage).values({ ...rows.usage(e.apiKey.id), ...bad })
const refusal = (bad: object) => (db: Database, e: Existing) =>
  db.insert(keyRefusals).values({ ...rows.refusal(e.apiKey.id), ...bad })
const ownerUsage = (bad: object) => (db: Database) =>
  db.insert(usageByOwner).values({ ...rows.ownerUsage(unknownId), ...bad })
const activity = (bad: object) => (db: Database, e: Existing) =>
  db.insert(keyActivity).values({ ...rows.activity(e.apiKey.id), ...bad })
const heartbeat = (bad: object) => (db: Database) =>
  db.insert(heartbeats).values({ ...rows.heartbeat(), ...bad })
const broken = (bad: object) => (db: Database) =>
  db.insert(regionState).values({ only: true, brokenAt: new Date(), reason: 'chain', ...bad })
const region = (bad: object) => (db: Database) => db.insert(regions).values({ ...rows.region(), ...bad })
const usageReport = (bad: object) => (db: Database) =>
  db.insert(usageReports).values({ ...rows.usageReport(), ...bad })
const instance = (bad: object) => (db: Database) =>
  db.insert(instances).values({ ...rows.instance(), ...bad })
const running = (bad: object) => (db: Database, e: Existing) =>
  db.insert(runningExports).values({ ...rows.export(e.user.id), ...bad })
const stored = (only: boolean) => (db: Database) =>
  db.insert(overview).values({ only, computedAt: new Date(), body: {} })
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
const oneTimeToken = (bad: object) => (db: Database, e: Existing) =>
  db.insert(oneTimeTokens).values({ ...rows.oneTimeToken(e.user.id), ...bad })
const setupToken = (bad: object) => (db: Database) =>
  db.insert(oneTimeTokens).values({ ...rows.setupToken(), ...bad })
const mail = (bad: object) => (db: Database) => db.insert(mails).values({ ...rows.mail(), ...bad })
const mailboxCount = (bad: object) => (db: Database) =>
  db.insert(mailboxCounts).values({ ...rows.mailboxCount(), ...bad })
const totpSecret = (bad: object) => (db: Database, e: Existing) =>
  db.insert(totpSecrets).values({ ...rows.totpSecret(e.user.id), ...bad })
const recoveryCode = (bad: object) => (db: Database, e: Existing) =>
  db.insert(recoveryCodes).values({ ...rows.recoveryCode(e.user.id), ...bad })
const passkey = (bad: object) => (db: Database, e: Existing) =>
  db.insert(passkeys).values({ ...rows.passkey(e.user.id), ...bad })
const pendingStep = (bad: object) => (db: Database, e: Existing) =>
  db.insert(pendingSteps).values({ ...rows.pendingStep(e.user.id), ...bad })
const challenge = (bad: object) => (db: Database, e: Existing) =>
  db.insert(passkeyChallenges).values({ ...rows.passkeyChallenge(e.user.id), ...bad })
const portalSession = (bad: object) => (db: Database, e: Existing) =>
  db.insert(portalSessions).values({ ...rows.portalSession(e.serviceAccount.id, e.apiKey.id), ...bad })
/** Of a user of its own, since each has one at most. */
const codeFailure = (bad: object) => async (db: Database) => {
  const other = rows.user()
  await db.insert(users).values(other)
  await db.insert(codeFailures).values({ ...rows.codeFailure(other.id), ...bad })
}

/** For each constraint, statements that no other constraint refuses. A new constraint needs an entry here. */
export const constraintCases: Record<string, Statement[]> = {
  users_pkey: [(db, e) => user({ id: e.user.id })(db)],
  users_email_key: [(db, e) => user({ email: e.user.email })(db)],
  users_role_check: [user({ role: 'root' }), user({ role: 'Admin' })],
  users_email_check: [user({ email: 'a@' }), user({ email: `${'a'.repeat(250)}@b.cd` })],
  users_scopes_check: [user({ scopes: fiftyOne })],
  users_rate_check: [user({ rateLimit: 1 }), user({ rateWindowSeconds: 1 })],
  users_rate_limit_check: [
    user({ rateLimit: 0, rateWindowSeconds: 1 }),
    user({ rateLimit: 1, rateWindowSeconds: 0 }),
  ],
  service_accounts_pkey: [(db, e) => account({ id: e.serviceAccount.id })(db)],
  service_accounts_created_by_users_id_fk: [account({ createdBy: unknownId })],
  service_accounts_counts_for_users_id_fk: [account({ countsFor: unknownId })],
  service_accounts_name_check: [account({ name: '' }), account({ name: 'n'.repeat(101) })],
  service_accounts_description_check: [account({ description: 'd'.repeat(501) })],
  service_accounts_scopes_check: [account({ scopes: fiftyOne })],
  service_accounts_rate_check: [account({ rateLimit: 1 }), account({ rateWindowSeconds: 1 })],
  service_accounts_rate_limit_check: [
    account({ rateLimit: 0, rateWindowSeconds: 1 }),
    account({ rateLimit: 1, rateWindowSeconds: 0 }),
  ],
  service_accounts_external_id_check: [account({ externalId: '' }), account({ externalId: 'x'.repeat(256) })],
  service_accounts_external_id_key: [(db, e) => account({ externalId: e.serviceAccount.externalId })(db)],

  account_managers_pkey: [(db, e) => manager({ id: e.manager.id })(db, e)],
  account_managers_service_account_id_service_accounts_id_fk: [manager({ serviceAccountId: unknownId })],
  account_managers_user_id_users_id_fk: [manager({ userId: unknownId })],
  account_managers_manager_account_id_service_accounts_id_fk: [
    manager({ userId: null, managerAccountId: unknownId }),
  ],
  account_managers_user_key: [(db, e) => manager({ serviceAccountId: e.serviceAccount.id })(db, e)],
  account_managers_account_key: [
    async (db, e) => {
      const ofAccount = () => ({
        ...rows.manager(e.serviceAccount.id, e.user.id),
        userId: null,
        managerAccountId: e.serviceAccount.id,
      })
      await db.insert(accountManagers).values(ofAccount())
      await db.insert(accountManagers).values(ofAccount())
    },
  ],
  account_managers_manager_check: [
    manager({ userId: null }),
    (db, e) => manager({ managerAccountId: e.serviceAccount.id })(db, e),
  ],
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
  api_keys_root_rate_check: [
    key({ rateRoot: unknownId, rootRateLimit: 1 }),
    key({ rootRateLimit: 1, rootRateWindowSeconds: 1 }),
  ],
  api_keys_root_rate_limit_check: [
    key({ rateRoot: unknownId, rootRateLimit: 0, rootRateWindowSeconds: 1 }),
    key({ rateRoot: unknownId, rootRateLimit: 1, rootRateWindowSeconds: 0 }),
  ],
  api_keys_limits_of_others_check: [key({ limitsOfOthers: ['scopes'] })],
  api_keys_allowed_ips_check: [key({ allowedIps: fiftyOne })],
  api_key_credits_pkey: [(db, e) => credits({ keyId: e.apiKey.id })(db, e)],
  api_key_credits_key_id_api_keys_id_fk: [credits({ keyId: unknownId })],
  ...creditCases('api_key_credits', credits),
  owner_credits_pkey: [(db, e) => ofOwner({ ownerId: e.user.id, userId: e.user.id })(db)],
  owner_credits_user_id_users_id_fk: [ofOwner({ ownerId: unknownId, userId: unknownId })],
  owner_credits_service_account_id_service_accounts_id_fk: [
    ofOwner({ ownerId: unknownId, userId: null, serviceAccountId: unknownId }),
  ],
  owner_credits_owner_check: [
    ofOwner({ userId: null }),
    ofOwner({ ownerId: unknownId }),
    (db, e) => ofOwner({ serviceAccountId: e.serviceAccount.id })(db),
  ],
  ...creditCases('owner_credits', ofOwner),
  top_ups_pkey: [(db, e) => topUp({ hash: e.topUp.hash })(db)],
  top_ups_hash_check: [topUp({ hash: bytes(31) }), topUp({ bodyHash: bytes(33) })],
  top_ups_remaining_check: [topUp({ remaining: -1 })],
  key_usage_pkey: [(db, e) => usage(e.usage)(db, e)],
  key_usage_key_id_api_keys_id_fk: [usage({ keyId: unknownId })],
  key_usage_count_check: [usage({ outcome: 'EXPIRED', count: 0 })],
  key_refusals_key_id_api_keys_id_fk: [refusal({ keyId: unknownId })],
  key_refusals_count_check: [refusal({ count: 0 })],
  usage_by_owner_pkey: [(db, e) => ownerUsage(e.ownerUsage)(db)],
  usage_by_owner_count_check: [ownerUsage({ outcome: 'EXPIRED', count: 0 })],
  key_activity_pkey: [activity({})],
  key_activity_key_id_api_keys_id_fk: [activity({ keyId: unknownId })],
  exports_pkey: [running({})],
  exports_admin_id_users_id_fk: [running({ adminId: unknownId })],
  instances_pkey: [(db, e) => instance({ id: e.instance.id })(db)],
  heartbeats_pkey: [heartbeat({})],
  heartbeats_only_check: [heartbeat({ only: false })],
  region_state_pkey: [broken({})],
  region_state_only_check: [broken({ only: false })],
  region_state_reason_check: [broken({ reason: 'other' })],
  regions_pkey: [(db, e) => region({ name: e.region.name })(db)],
  regions_name_check: [region({ name: '' }), region({ name: 'r'.repeat(101) })],
  usage_reports_pkey: [(db, e) => usageReport({ id: e.usageReport.id })(db)],
  overview_pkey: [stored(true)],
  overview_only_check: [stored(false)],
  key_creations_pkey: [(db, e) => creation({ hash: e.creation.hash })(db, e)],
  key_creations_hash_check: [creation({ hash: bytes(31) }), creation({ hash: bytes(33) })],
  api_key_secrets_pkey: [(db, e) => secret({ id: e.secret.id })(db, e)],
  api_key_secrets_key_id_api_keys_id_fk: [secret({ keyId: unknownId })],
  api_key_secrets_hash_key: [(db, e) => secret({ hash: e.secret.hash })(db, e)],
  api_key_secrets_hash_check: [secret({ hash: bytes(31) }), secret({ hash: bytes(33) })],
  api_key_secrets_ended_check: [
    secret({ endedAt: new Date() }),
    secret({ endedAt: new Date(), expiresAt: new Date(Date.now() + 1000) }),
  ],
  api_key_secrets_start_check: [secret({ start: 's'.repeat(33) })],
  sessions_pkey: [(db, e) => session({ id: e.session.id })(db, e)],
  sessions_user_id_users_id_fk: [session({ userId: unknownId })],
  sessions_salt_check: [session({ salt: bytes(15) }), session({ salt: bytes(17) })],
  sessions_generation_check: [session({ generation: -1 }), session({ generation: 2 ** 32 })],
  sessions_user_agent_check: [session({ userAgent: 'u'.repeat(256) })],
  sessions_last_user_agent_check: [session({ lastUserAgent: 'u'.repeat(256) })],
  sessions_kind_check: [session({ kind: 'device' }), session({ kind: '' })],
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
  one_time_tokens_pkey: [(db, e) => oneTimeToken({ id: e.oneTimeToken.id })(db, e)],
  one_time_tokens_user_id_users_id_fk: [oneTimeToken({ userId: unknownId })],
  one_time_tokens_issued_by_users_id_fk: [oneTimeToken({ issuedBy: unknownId })],
  one_time_tokens_hash_key: [(db, e) => setupToken({ hash: e.setupToken.hash })(db)],
  one_time_tokens_purpose_check: [oneTimeToken({ purpose: 'login' })],
  one_time_tokens_user_check: [
    oneTimeToken({ userId: null }),
    (db, e) => setupToken({ userId: e.user.id })(db),
  ],
  one_time_tokens_hash_check: [oneTimeToken({ hash: bytes(32) }), setupToken({ hash: null })],
  one_time_tokens_hash_length_check: [setupToken({ hash: bytes(31) }), setupToken({ hash: bytes(33) })],
  one_time_tokens_email_check: [oneTimeToken({ email: 'a@' }), oneTimeToken({ email: 'a'.repeat(255) })],
  mails_pkey: [(db, e) => mail({ id: e.mail.id })(db)],
  mails_token_id_one_time_tokens_id_fk: [mail({ tokenId: unknownId })],
  mails_outcome_check: [mail({ endedAt: new Date(), outcome: 'lost' })],
  mails_ended_check: [mail({ endedAt: new Date() }), mail({ outcome: 'sent' })],
  mails_attempts_check: [mail({ attempts: -1 })],
  mails_recipient_check: [mail({ recipient: 'a@' }), mail({ recipient: 'a'.repeat(255) })],
  mails_last_error_check: [mail({ lastError: 'e'.repeat(501) })],
  mailbox_counts_pkey: [(db, e) => mailboxCount({ emailHmac: e.mailboxCount.emailHmac })(db)],
  mailbox_counts_count_check: [mailboxCount({ count: -1 })],
  totp_secrets_pkey: [(db, e) => totpSecret({ id: e.totpSecret.id, confirmedAt: null })(db, e)],
  totp_secrets_user_id_users_id_fk: [totpSecret({ userId: unknownId })],
  totp_secrets_confirmed_key: [totpSecret({})],
  totp_secrets_pending_key: [
    async (db, e) => {
      await totpSecret({ confirmedAt: null })(db, e)
      await totpSecret({ confirmedAt: null })(db, e)
    },
  ],
  recovery_codes_pkey: [(db, e) => recoveryCode({ hash: e.recoveryCode.hash })(db, e)],
  recovery_codes_user_id_users_id_fk: [recoveryCode({ userId: unknownId })],
  recovery_codes_hash_check: [recoveryCode({ hash: bytes(31) }), recoveryCode({ hash: bytes(33) })],
  passkeys_pkey: [(db, e) => passkey({ id: e.passkey.id })(db, e)],
  passkeys_user_id_users_id_fk: [passkey({ userId: unknownId })],
  passkeys_credential_id_key: [(db, e) => passkey({ credentialId: e.passkey.credentialId })(db, e)],
  passkeys_name_check: [passkey({ name: '' }), passkey({ name: 'n'.repeat(101) })],
  passkeys_credential_id_check: [passkey({ credentialId: bytes(0) }), passkey({ credentialId: bytes(1024) })],
  passkeys_sign_count_check: [passkey({ signCount: -1 }), passkey({ signCount: 2 ** 32 })],
  pending_steps_pkey: [(db, e) => pendingStep({ id: e.pendingStep.id })(db, e)],
  pending_steps_user_id_users_id_fk: [pendingStep({ userId: unknownId })],
  pending_steps_hash_key: [(db, e) => pendingStep({ hash: e.pendingStep.hash })(db, e)],
  pending_steps_hash_check: [pendingStep({ hash: bytes(31) }), pendingStep({ hash: bytes(33) })],
  pending_steps_kind_check: [pendingStep({ kind: 'client' })],
  passkey_challenges_pkey: [(db, e) => challenge({ challenge: e.passkeyChallenge.challenge })(db, e)],
  passkey_challenges_user_id_users_id_fk: [challenge({ userId: unknownId })],
  passkey_challenges_session_id_sessions_id_fk: [challenge({ sessionId: unknownId })],
  passkey_challenges_pending_step_id_pending_steps_id_fk: [challenge({ pendingStepId: unknownId })],
  passkey_challenges_challenge_check: [
    challenge({ challenge: bytes(31) }),
    challenge({ challenge: bytes(33) }),
  ],
  passkey_challenges_purpose_check: [challenge({ purpose: 'sign' })],
  code_failures_pkey: [
    (db, e) => db.insert(codeFailures).values({ ...rows.codeFailure(e.user.id), failures: 2 }),
  ],
  code_failures_user_id_users_id_fk: [codeFailure({ userId: unknownId })],
  portal_sessions_pkey: [(db, e) => portalSession({ id: e.portalSession.id })(db, e)],
  portal_sessions_user_id_users_id_fk: [portalSession({ userId: unknownId, serviceAccountId: null })],
  portal_sessions_service_account_id_service_accounts_id_fk: [portalSession({ serviceAccountId: unknownId })],
  portal_sessions_made_by_user_users_id_fk: [portalSession({ madeByUser: unknownId, madeByKey: null })],
  portal_sessions_made_by_key_api_keys_id_fk: [portalSession({ madeByKey: unknownId })],
  portal_sessions_link_hash_key: [(db, e) => portalSession({ linkHash: e.portalSession.linkHash })(db, e)],
  portal_sessions_bearer_hash_key: [
    (db, e) => portalSession({ bearerHash: e.portalSession.bearerHash })(db, e),
  ],
  portal_sessions_owner_check: [
    portalSession({ serviceAccountId: null }),
    (db, e) => portalSession({ userId: e.user.id })(db, e),
  ],
  portal_sessions_maker_check: [
    portalSession({ madeByKey: null }),
    (db, e) => portalSession({ madeByUser: e.user.id })(db, e),
  ],
  portal_sessions_scopes_check: [portalSession({ scopes: fiftyOne })],
  portal_sessions_may_check: [
    portalSession({ may: [] }),
    portalSession({ may: ['create'] }),
    portalSession({ may: ['read', 'delete'] }),
  ],
  portal_sessions_return_url_check: [portalSession({ returnUrl: 'u'.repeat(2049) })],
  portal_sessions_link_hash_check: [
    portalSession({ linkHash: bytes(31) }),
    portalSession({ linkHash: bytes(33) }),
  ],
  portal_sessions_bearer_hash_check: [
    portalSession({ bearerHash: bytes(31) }),
    portalSession({ bearerHash: bytes(33) }),
  ],
  code_failures_failures_check: [codeFailure({ failures: -1 })],
  sessions_grant_id_oauth_grants_id_fk: [session({ kind: 'client', grantId: unknownId })],
  sessions_grant_check: [(db, e) => session({ grantId: e.app.grant.id })(db, e)],
  resources_pkey: [(db, e) => resource({ id: e.app.resource.id })(db)],
  resources_identifier_key: [(db, e) => resource({ identifier: e.app.resource.identifier })(db)],
  resources_slug_key: [(db, e) => resource({ slug: e.app.resource.slug })(db)],
  resources_created_by_users_id_fk: [resource({ createdBy: unknownId })],
  resources_identifier_check: [resource({ identifier: '' }), resource({ identifier: 'i'.repeat(501) })],
  resources_slug_check: [
    resource({ slug: '' }),
    resource({ slug: 'A' }),
    resource({ slug: 's'.repeat(51) }),
    resource({ slug: 'latchkey' }),
  ],
  resources_name_check: [resource({ name: '' }), resource({ name: 'n'.repeat(101) })],
  resources_lifetime_check: [
    resource({ tokenLifetimeSeconds: 59 }),
    resource({ tokenLifetimeSeconds: 3601 }),
  ],
  oauth_clients_pkey: [(db, e) => client({ id: e.app.client.id })(db)],
  oauth_clients_client_id_key: [(db, e) => client({ clientId: e.app.client.clientId })(db)],
  oauth_clients_created_by_users_id_fk: [client({ createdBy: unknownId })],
  oauth_clients_client_id_check: [client({ clientId: '' }), client({ clientId: 'c'.repeat(501) })],
  oauth_clients_source_check: [client({ source: 'found' })],
  oauth_clients_kind_check: [client({ kind: 'secret' })],
  oauth_clients_name_check: [client({ name: '' }), client({ name: 'n'.repeat(101) })],
  oauth_clients_redirect_uris_check: [client({ redirectUris: fiftyOne })],
  oauth_clients_scopes_check: [client({ scopes: fiftyOne })],
  oauth_clients_keys_check: [client({ jwks: { keys: [] }, jwksUri: 'https://app.example.com/jwks' })],
  oauth_client_secrets_pkey: [(db, e) => clientSecret({ id: e.app.clientSecret.id })(db, e)],
  oauth_client_secrets_client_id_oauth_clients_id_fk: [clientSecret({ clientId: unknownId })],
  oauth_client_secrets_hash_key: [(db, e) => clientSecret({ hash: e.app.clientSecret.hash })(db, e)],
  oauth_client_secrets_hash_check: [clientSecret({ hash: bytes(31) }), clientSecret({ hash: bytes(33) })],
  oauth_grants_pkey: [(db, e) => grant({ id: e.app.grant.id, ...own })(db, e)],
  oauth_grants_user_id_users_id_fk: [grant({ userId: unknownId })],
  oauth_grants_client_id_oauth_clients_id_fk: [grant({ clientId: unknownId })],
  oauth_grants_resource_id_resources_id_fk: [grant({ resourceId: unknownId })],
  oauth_grants_resource_key: [grant({})],
  oauth_grants_audience_key: [
    async (db, e) => {
      await grant({ ...own, audience: 'userinfo' })(db, e)
      await grant({ ...own, audience: 'userinfo' })(db, e)
    },
  ],
  oauth_grants_audience_check: [
    grant({ ...own, audience: 'service' }),
    grant({ resourceId: null }),
    grant({ audience: 'users' }),
  ],
  authorization_requests_pkey: [(db, e) => request({ id: e.app.request.id })(db, e)],
  authorization_requests_session_id_sessions_id_fk: [request({ sessionId: unknownId })],
  authorization_requests_client_id_oauth_clients_id_fk: [request({ clientId: unknownId })],
  authorization_requests_resource_id_resources_id_fk: [
    request({ audience: 'resource', resourceId: unknownId }),
  ],
  authorization_requests_audience_check: [
    request({ audience: 'resource' }),
    request({ audience: 'service' }),
  ],
  authorization_codes_pkey: [(db, e) => code({ id: e.app.code.id })(db, e)],
  authorization_codes_grant_id_oauth_grants_id_fk: [code({ grantId: unknownId })],
  authorization_codes_session_id_sessions_id_fk: [code({ sessionId: unknownId })],
  authorization_codes_made_session_id_sessions_id_fk: [code({ madeSessionId: unknownId })],
  authorization_codes_hash_key: [(db, e) => code({ hash: e.app.code.hash })(db, e)],
  authorization_codes_hash_check: [code({ hash: bytes(31) }), code({ hash: bytes(33) })],
  device_codes_pkey: [(db, e) => device({ id: e.app.device.id })(db, e)],
  device_codes_client_id_oauth_clients_id_fk: [device({ clientId: unknownId })],
  device_codes_resource_id_resources_id_fk: [device({ audience: 'resource', resourceId: unknownId })],
  device_codes_grant_id_oauth_grants_id_fk: [device({ grantId: unknownId })],
  device_codes_session_id_sessions_id_fk: [device({ sessionId: unknownId })],
  device_codes_hash_key: [(db, e) => device({ hash: e.app.device.hash })(db, e)],
  device_codes_user_code_key: [(db, e) => device({ userCode: e.app.device.userCode })(db, e)],
  device_codes_hash_check: [device({ hash: bytes(31) }), device({ hash: bytes(33) })],
  device_codes_audience_check: [device({ audience: 'resource' }), device({ audience: 'service' })],
  used_assertions_pkey: [(db, e) => assertion({ id: e.app.assertion.id })(db, e)],
  used_assertions_client_id_oauth_clients_id_fk: [assertion({ clientId: unknownId })],
  used_assertions_key: [(db, e) => assertion({ hash: e.app.assertion.hash })(db, e)],
  used_assertions_hash_check: [assertion({ hash: bytes(31) }), assertion({ hash: bytes(33) })],
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
