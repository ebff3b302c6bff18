import { getTableColumns } from 'drizzle-orm'
import { getTableConfig, type PgTable } from 'drizzle-orm/pg-core'
import { oauthClients, oauthGrants, resources } from './oauth.ts'
import { heartbeats } from './regions.ts'
import {
  apiKeySecrets,
  apiKeys,
  revokedTokens,
  serviceAccounts,
  sessions,
  sharedSettings,
  signingKeys,
  users,
} from './schema.ts'

/** The names of the publication at home, of the role that copies it, and of the role of verifiers in a region. */
export const PUBLICATION = 'latchkey'
export const REPLICATION_ROLE = 'latchkey_region'
export const VERIFIER_ROLE = 'latchkey_verifier'

/** A table whose rows regions get: the names of its columns in the database, and which of them never leave home. */
export type PublishedTable = { table: PgTable; name: string; columns: string[]; kept: string[] }

/**
 * Decides for each column of a table whether regions get it. A column without a decision is an error of the compiler.
 * @param columns true: what verification reads in a region. false: what stays at home, as every secret does
 */
function publish<T extends PgTable>(
  table: T,
  columns: Record<keyof T['_']['columns'], boolean>,
): PublishedTable {
  const named = Object.entries(getTableColumns(table)).map(([key, column]) => ({
    name: column.name,
    isPublished: columns[key as keyof T['_']['columns']],
  }))
  return {
    table,
    name: getTableConfig(table).name,
    columns: named.filter(({ isPublished }) => isPublished).map(({ name }) => name),
    kept: named.filter(({ isPublished }) => !isPublished).map(({ name }) => name),
  }
}

/**
 * What regions get of home (docs/decisions/0057). Memberships, passwords, second factors, mails, the audit trail, credits and
 * usage are in no list. Every list has the primary key, by which a region finds the row that changes.
 */
export const PUBLISHED: readonly PublishedTable[] = [
  publish(users, {
    id: true,
    email: true,
    emailVerified: true,
    role: true,
    isActive: true,
    scopes: true,
    createdAt: true,
    hasSecondFactor: true,
    rateLimit: true,
    rateWindowSeconds: true,
    hasCredits: true,
    passwordHash: false,
    passwordChangedAt: false,
    lockedSettings: false,
    isSignUp: false,
    firstLoginAt: false,
  }),
  publish(serviceAccounts, {
    id: true,
    name: true,
    scopes: true,
    isActive: true,
    externalId: true,
    rateLimit: true,
    rateWindowSeconds: true,
    hasCredits: true,
    description: false,
    createdBy: false,
    createdAt: false,
    lockedSettings: false,
    countsFor: false,
  }),
  publish(apiKeys, {
    id: true,
    userId: true,
    serviceAccountId: true,
    name: true,
    scopes: true,
    isActive: true,
    expiresAt: true,
    revokedAt: true,
    externalId: true,
    metadata: true,
    rateLimit: true,
    rateWindowSeconds: true,
    rateRoot: true,
    rootRateLimit: true,
    rootRateWindowSeconds: true,
    allowedIps: true,
    hasCredits: true,
    createdAt: false,
    createdBy: false,
    revokedReason: false,
    description: false,
    limitsOfOthers: false,
    lockedSettings: false,
    lastUsedAt: false,
  }),
  publish(apiKeySecrets, {
    id: true,
    keyId: true,
    hash: true,
    expiresAt: true,
    endedAt: true,
    start: false,
    createdAt: false,
    lastUsedAt: false,
  }),
  publish(sessions, {
    id: true,
    userId: true,
    expiresAt: true,
    endedAt: true,
    scopes: true,
    kind: true,
    grantId: true,
    identityScopes: true,
    authTime: true,
    amr: true,
    salt: false,
    generation: false,
    createdAt: false,
    rotatedAt: false,
    idleExpiresAt: false,
    endedReason: false,
    ip: false,
    userAgent: false,
    lastIp: false,
    lastUserAgent: false,
    remember: false,
  }),
  publish(oauthGrants, {
    id: true,
    clientId: true,
    audience: true,
    resourceId: true,
    userId: false,
    scopes: false,
    firstAllowedAt: false,
    lastAllowedAt: false,
    lastUsedAt: false,
  }),
  publish(oauthClients, {
    id: true,
    clientId: true,
    source: true,
    isActive: true,
    firstParty: true,
    scopes: true,
    kind: false,
    name: false,
    redirectUris: false,
    postLogoutRedirectUris: false,
    grants: false,
    jwks: false,
    jwksUri: false,
    createdAt: false,
    createdBy: false,
    lastUsedAt: false,
  }),
  publish(resources, {
    id: true,
    identifier: true,
    slug: true,
    name: true,
    scopes: true,
    isActive: true,
    tokenLifetimeSeconds: false,
    createdAt: false,
    createdBy: false,
  }),
  publish(revokedTokens, { id: true, secretId: true, expiresAt: true }),
  publish(signingKeys, {
    id: true,
    algorithm: true,
    publicJwk: true,
    createdAt: true,
    signsFrom: true,
    revokedAt: true,
    privateKey: false,
  }),
  publish(sharedSettings, { name: true, value: true }),
  publish(heartbeats, {
    only: true,
    n: true,
    at: true,
    token: true,
    previous: true,
    timeline: true,
    serverVersion: true,
    slots: true,
    copyTimeline: false,
  }),
]

/** Tables that a verifier reads besides, which are its region's own; `portal_sessions` is empty there. */
export const READ_IN_REGION = ['portal_sessions', 'region_state', 'region_migrations'] as const
