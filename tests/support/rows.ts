import { randomBytes } from 'node:crypto'
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

const now = () => new Date()
const id = () => Bun.randomUUIDv7()
const bytes = (length: number) => new Uint8Array(randomBytes(length))

/** Valid rows, one function for each table. Each row is new in every unique column. */
export const rows = {
  user: () => ({ id: id(), email: `${id()}@example.com`, createdAt: now() }),
  serviceAccount: () => ({
    id: id(),
    name: 'builder',
    scopes: ['read'],
    externalId: id(),
    createdAt: now(),
  }),
  manager: (serviceAccountId: string, userId: string) => ({
    id: id(),
    serviceAccountId,
    userId,
    createdAt: now(),
  }),
  apiKey: (userId: string) => ({ id: id(), userId, scopes: ['read'], createdAt: now() }),
  secret: (keyId: string) => ({ id: id(), keyId, hash: bytes(32), start: 'sk_AbCdEfGh', createdAt: now() }),
  session: (userId: string) => ({
    id: id(),
    userId,
    salt: bytes(16),
    createdAt: now(),
    rotatedAt: now(),
    idleExpiresAt: now(),
    expiresAt: now(),
  }),
  signingKey: () => ({
    id: id(),
    algorithm: 'ES256' as const,
    publicJwk: { kty: 'EC' },
    privateKey: bytes(64),
    createdAt: now(),
    signsFrom: now(),
  }),
  credits: (keyId: string) => ({ keyId, remaining: 10 }),
  ownerCredits: (userId: string) => ({ ownerId: userId, userId, remaining: 10 }),
  topUp: () => ({ hash: bytes(32), bodyHash: bytes(32), remaining: 10, createdAt: now() }),
  usage: (keyId: string) => ({ keyId, hour: now(), outcome: 'VALID', count: 1 }),
  ownerUsage: (ownerId: string) => ({ ownerId, hour: now(), outcome: 'VALID', count: 1 }),
  refusal: (keyId: string) => ({ keyId, at: now(), outcome: 'EXPIRED' as const, count: 1 }),
  activity: (keyId: string) => ({ keyId, lastUsedAt: now(), lastUsedDay: '2026-01-01' }),
  export: (adminId: string) => ({ adminId, id: id(), expiresAt: now() }),
  region: () => ({ name: `eu ${id()}`, registeredAt: now(), reportedAt: now() }),
  usageReport: () => ({ id: id(), receivedAt: now() }),
  heartbeat: () => ({
    only: true,
    n: 1,
    at: now(),
    token: id(),
    previous: id(),
    timeline: 1,
    serverVersion: 180000,
  }),
  instance: () => ({ id: id(), version: '0.1.0', startedAt: now(), seenAt: now() }),
  creation: (keyId: string) => ({ hash: bytes(32), keyId, createdAt: now() }),
  auditEvent: () => ({
    id: id(),
    at: now(),
    action: 'user.signup',
    outcome: 'success' as const,
    actorType: 'anonymous' as const,
    details: {},
  }),
  loginAttempt: () => ({ emailHmac: bytes(32), attempts: 1, windowStartedAt: now() }),
  passwordReset: (userId: string) => ({
    id: id(),
    userId,
    hash: bytes(32),
    createdAt: now(),
    expiresAt: now(),
  }),
  revokedToken: (secretId: string) => ({ id: id(), secretId, expiresAt: now() }),
  sharedSetting: () => ({ name: id(), value: 'https://auth.example.com' }),
  oneTimeToken: (userId: string) => ({
    id: id(),
    purpose: 'reset' as const,
    userId,
    createdAt: now(),
    expiresAt: now(),
  }),
  setupToken: () => ({
    id: id(),
    purpose: 'setup' as const,
    hash: bytes(32),
    createdAt: now(),
    expiresAt: now(),
  }),
  mail: () => ({
    id: id(),
    kind: 'password_changed',
    recipient: `${id()}@example.com`,
    parameters: {},
    createdAt: now(),
    nextAttemptAt: now(),
  }),
  mailboxCount: () => ({ emailHmac: bytes(32), count: 1, windowStartedAt: now() }),
  totpSecret: (userId: string) => ({
    id: id(),
    userId,
    secret: bytes(48),
    createdAt: now(),
    confirmedAt: now(),
  }),
  recoveryCode: (userId: string) => ({ hash: bytes(32), userId, createdAt: now() }),
  passkey: (userId: string) => ({
    id: id(),
    userId,
    name: 'laptop',
    credentialId: bytes(32),
    publicKey: bytes(77),
    signCount: 0,
    transports: ['internal'],
    isBackedUp: false,
    createdAt: now(),
  }),
  pendingStep: (userId: string) => ({
    id: id(),
    hash: bytes(32),
    userId,
    kind: 'api' as const,
    createdAt: now(),
    expiresAt: now(),
  }),
  passkeyChallenge: (userId: string) => ({
    challenge: bytes(32),
    purpose: 'register' as const,
    userId,
    createdAt: now(),
    expiresAt: now(),
  }),
  codeFailure: (userId: string) => ({ userId, failures: 1, lastFailedAt: now() }),
  portalSession: (serviceAccountId: string, madeByKey: string) => ({
    id: id(),
    serviceAccountId,
    madeByKey,
    scopes: ['read'],
    may: ['read' as const],
    linkHash: bytes(32),
    linkExpiresAt: now(),
    bearerHash: bytes(32),
    createdAt: now(),
    expiresAt: now(),
  }),
}

const lasting = () => ({ createdAt: now(), expiresAt: now() })
const ownAudience = { audience: 'latchkey' as const, scopes: ['latchkey:keys.read'] }

/** The same for the tables of apps. */
export const appRows = {
  resource: () => ({
    id: id(),
    identifier: `https://${id()}.example.com`,
    slug: id(),
    name: 'API',
    scopes: [{ name: 'read', description: 'Read', grantable_by: 'everyone' as const }],
    createdAt: now(),
  }),
  client: () => ({
    id: id(),
    clientId: id(),
    source: 'registered' as const,
    kind: 'public' as const,
    name: 'App',
    redirectUris: ['https://app.example.com/callback'],
    grants: ['authorization_code', 'refresh_token'],
    createdAt: now(),
  }),
  clientSecret: (clientId: string) => ({
    id: id(),
    clientId,
    hash: bytes(32),
    start: 'cs_AbCdEfGh',
    createdAt: now(),
  }),
  grant: (userId: string, clientId: string, resourceId: string) => ({
    id: id(),
    userId,
    clientId,
    audience: 'resource' as const,
    resourceId,
    scopes: ['read'],
    firstAllowedAt: now(),
    lastAllowedAt: now(),
  }),
  request: (sessionId: string, clientId: string) => ({
    id: id(),
    sessionId,
    clientId,
    redirectUri: 'https://app.example.com/callback',
    ...ownAudience,
    codeChallenge: 'c',
    ...lasting(),
  }),
  code: (grantId: string, sessionId: string) => ({
    id: id(),
    hash: bytes(32),
    grantId,
    sessionId,
    redirectUri: 'https://app.example.com/callback',
    codeChallenge: 'c',
    identityScopes: [],
    ...lasting(),
  }),
  device: (clientId: string) => ({
    id: id(),
    hash: bytes(32),
    userCode: id(),
    clientId,
    ...ownAudience,
    intervalSeconds: 5,
    ...lasting(),
  }),
  assertion: (clientId: string) => ({ id: id(), clientId, hash: bytes(32), expiresAt: now() }),
}

/** Inserts one row into each table of apps, for a user and one of their sessions. */
export async function insertAppRows(db: Database, userId: string, sessionId: string) {
  const resource = appRows.resource()
  const client = appRows.client()
  const clientSecret = appRows.clientSecret(client.id)
  const grant = appRows.grant(userId, client.id, resource.id)
  const request = appRows.request(sessionId, client.id)
  const code = appRows.code(grant.id, sessionId)
  const device = appRows.device(client.id)
  const assertion = appRows.assertion(client.id)
  await db.insert(resources).values(resource)
  await db.insert(oauthClients).values(client)
  await db.insert(oauthClientSecrets).values(clientSecret)
  await db.insert(oauthGrants).values(grant)
  await db.insert(authorizationRequests).values(request)
  await db.insert(authorizationCodes).values(code)
  await db.insert(deviceCodes).values(device)
  await db.insert(usedAssertions).values(assertion)
  return { resource, client, clientSecret, grant, request, code, device, assertion }
}

/** Inserts one row into each table. The rows belong together. Returns the identifiers that a test needs. */
export async function insertOneOfEach(db: Database) {
  const user = rows.user()
  const serviceAccount = rows.serviceAccount()
  const manager = rows.manager(serviceAccount.id, user.id)
  const apiKey = rows.apiKey(user.id)
  const secret = rows.secret(apiKey.id)
  const credits = rows.credits(apiKey.id)
  const ofOwner = rows.ownerCredits(user.id)
  const topUp = rows.topUp()
  const usage = rows.usage(apiKey.id)
  const ownerUsage = rows.ownerUsage(user.id)
  const activity = rows.activity(apiKey.id)
  const instance = rows.instance()
  const region = rows.region()
  const usageReport = rows.usageReport()
  const creation = rows.creation(apiKey.id)
  const session = rows.session(user.id)
  const signingKey = rows.signingKey()
  const auditEvent = rows.auditEvent()
  const loginAttempt = rows.loginAttempt()
  const passwordReset = rows.passwordReset(user.id)
  const revokedToken = rows.revokedToken(secret.id)
  const sharedSetting = rows.sharedSetting()
  const oneTimeToken = rows.oneTimeToken(user.id)
  const setupToken = rows.setupToken()
  const mail = rows.mail()
  const mailboxCount = rows.mailboxCount()
  const totpSecret = rows.totpSecret(user.id)
  const recoveryCode = rows.recoveryCode(user.id)
  const passkey = rows.passkey(user.id)
  const pendingStep = rows.pendingStep(user.id)
  const passkeyChallenge = rows.passkeyChallenge(user.id)
  const codeFailure = rows.codeFailure(user.id)
  const portalSession = rows.portalSession(serviceAccount.id, apiKey.id)
  await db.insert(users).values(user)
  await db.insert(serviceAccounts).values(serviceAccount)
  await db.insert(accountManagers).values(manager)
  await db.insert(apiKeys).values(apiKey)
  await db.insert(apiKeySecrets).values(secret)
  await db.insert(apiKeyCredits).values(credits)
  await db.insert(ownerCredits).values(ofOwner)
  await db.insert(topUps).values(topUp)
  await db.insert(keyUsage).values(usage)
  await db.insert(keyRefusals).values(rows.refusal(apiKey.id))
  await db.insert(usageByOwner).values(ownerUsage)
  await db.insert(keyActivity).values(activity)
  await db.insert(instances).values(instance)
  await db.insert(runningExports).values(rows.export(user.id))
  // One row for the whole database.
  await db.insert(overview).values({ only: true, computedAt: new Date(), body: {} }).onConflictDoNothing()
  await db.insert(keyCreations).values(creation)
  await db.insert(sessions).values(session)
  await db.insert(signingKeys).values(signingKey)
  await db.insert(auditEvents).values(auditEvent)
  await db.insert(loginAttempts).values(loginAttempt)
  await db.insert(passwordResets).values(passwordReset)
  await db.insert(revokedTokens).values(revokedToken)
  await db.insert(sharedSettings).values(sharedSetting)
  await db.insert(oneTimeTokens).values(oneTimeToken)
  await db.insert(oneTimeTokens).values(setupToken)
  await db.insert(mails).values(mail)
  await db.insert(mailboxCounts).values(mailboxCount)
  await db.insert(totpSecrets).values(totpSecret)
  await db.insert(recoveryCodes).values(recoveryCode)
  await db.insert(passkeys).values(passkey)
  await db.insert(pendingSteps).values(pendingStep)
  await db.insert(passkeyChallenges).values(passkeyChallenge)
  await db.insert(codeFailures).values(codeFailure)
  await db.insert(portalSessions).values(portalSession)
  // A row alone in its table, as `overview`.
  await db.insert(heartbeats).values(rows.heartbeat()).onConflictDoNothing()
  await db
    .insert(regionState)
    .values({ only: true, brokenAt: new Date(), reason: 'chain' })
    .onConflictDoNothing()
  await db.insert(regions).values(region)
  await db.insert(usageReports).values(usageReport)
  const app = await insertAppRows(db, user.id, session.id)
  return {
    app,
    user,
    serviceAccount,
    manager,
    apiKey,
    secret,
    credits,
    usage,
    ownerUsage,
    activity,
    instance,
    region,
    usageReport,
    creation,
    session,
    signingKey,
    auditEvent,
    loginAttempt,
    passwordReset,
    revokedToken,
    topUp,
    ownerCredits: ofOwner,
    sharedSetting,
    oneTimeToken,
    setupToken,
    mail,
    mailboxCount,
    totpSecret,
    recoveryCode,
    passkey,
    pendingStep,
    passkeyChallenge,
    codeFailure,
    portalSession,
  }
}
