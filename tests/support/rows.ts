import { randomBytes } from 'node:crypto'
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

const now = () => new Date()
const id = () => Bun.randomUUIDv7()
const bytes = (length: number) => new Uint8Array(randomBytes(length))

/** Valid rows, one function for each table. Each row is new in every unique column. */
export const rows = {
  user: () => ({ id: id(), email: `${id()}@example.com`, createdAt: now() }),
  serviceAccount: () => ({ id: id(), name: 'builder', scopes: ['read'], createdAt: now() }),
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
  usage: (keyId: string) => ({ keyId, hour: now(), outcome: 'VALID', count: 1 }),
  ownerUsage: (ownerId: string) => ({ ownerId, hour: now(), outcome: 'VALID', count: 1 }),
  refusal: (keyId: string) => ({ keyId, at: now(), outcome: 'EXPIRED' as const, count: 1 }),
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
}

/** Inserts one row into each table. The rows belong together. Returns the identifiers that a test needs. */
export async function insertOneOfEach(db: Database) {
  const user = rows.user()
  const serviceAccount = rows.serviceAccount()
  const apiKey = rows.apiKey(user.id)
  const secret = rows.secret(apiKey.id)
  const credits = rows.credits(apiKey.id)
  const usage = rows.usage(apiKey.id)
  const ownerUsage = rows.ownerUsage(user.id)
  const creation = rows.creation(apiKey.id)
  const session = rows.session(user.id)
  const signingKey = rows.signingKey()
  const auditEvent = rows.auditEvent()
  const loginAttempt = rows.loginAttempt()
  const passwordReset = rows.passwordReset(user.id)
  const revokedToken = rows.revokedToken(secret.id)
  const sharedSetting = rows.sharedSetting()
  await db.insert(users).values(user)
  await db.insert(serviceAccounts).values(serviceAccount)
  await db.insert(apiKeys).values(apiKey)
  await db.insert(apiKeySecrets).values(secret)
  await db.insert(apiKeyCredits).values(credits)
  await db.insert(keyUsage).values(usage)
  await db.insert(keyRefusals).values(rows.refusal(apiKey.id))
  await db.insert(usageByOwner).values(ownerUsage)
  await db.insert(keyCreations).values(creation)
  await db.insert(sessions).values(session)
  await db.insert(signingKeys).values(signingKey)
  await db.insert(auditEvents).values(auditEvent)
  await db.insert(loginAttempts).values(loginAttempt)
  await db.insert(passwordResets).values(passwordReset)
  await db.insert(revokedTokens).values(revokedToken)
  await db.insert(sharedSettings).values(sharedSetting)
  return {
    user,
    serviceAccount,
    apiKey,
    secret,
    credits,
    usage,
    ownerUsage,
    creation,
    session,
    signingKey,
    auditEvent,
    loginAttempt,
    passwordReset,
    revokedToken,
    sharedSetting,
  }
}
