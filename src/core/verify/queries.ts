import { and, desc, eq, exists, isNull, sql } from 'drizzle-orm'
import { alias } from 'drizzle-orm/pg-core'
import type { Database } from '../../db/database.ts'
import { oauthClients, oauthGrants, resources } from '../../db/oauth.ts'
import { portalSessions } from '../../db/portal.ts'
import { preparedFor } from '../../db/prepared.ts'
import {
  apiKeySecrets,
  apiKeys,
  revokedTokens,
  serviceAccounts,
  sessions,
  signingKeys,
  users,
} from '../../db/schema.ts'

const owner = {
  email: users.email,
  emailVerified: users.emailVerified,
  role: users.role,
  isActive: users.isActive,
  scopes: users.scopes,
  createdAt: users.createdAt,
}

/** A key has one of the two. */
const ownerOfKey = sql`COALESCE(${apiKeys.userId}, ${apiKeys.serviceAccountId})`

/** All columns that decide whether a key is valid, and for what. */
const secretAndOwner = {
  secretId: apiKeySecrets.id,
  secretExpiresAt: apiKeySecrets.expiresAt,
  key: {
    id: apiKeys.id,
    name: apiKeys.name,
    scopes: apiKeys.scopes,
    isActive: apiKeys.isActive,
    expiresAt: apiKeys.expiresAt,
    revokedAt: apiKeys.revokedAt,
    userId: apiKeys.userId,
    serviceAccountId: apiKeys.serviceAccountId,
    externalId: apiKeys.externalId,
    metadata: apiKeys.metadata,
    rateLimit: apiKeys.rateLimit,
    rateWindowSeconds: apiKeys.rateWindowSeconds,
    rateRoot: apiKeys.rateRoot,
    rootRateLimit: apiKeys.rootRateLimit,
    rootRateWindowSeconds: apiKeys.rootRateWindowSeconds,
    allowedIps: apiKeys.allowedIps,
    hasCredits: apiKeys.hasCredits,
  },
  user: {
    ...owner,
    rateLimit: users.rateLimit,
    rateWindowSeconds: users.rateWindowSeconds,
    hasCredits: users.hasCredits,
  },
  serviceAccount: {
    name: serviceAccounts.name,
    isActive: serviceAccounts.isActive,
    scopes: serviceAccounts.scopes,
    externalId: serviceAccounts.externalId,
    rateLimit: serviceAccounts.rateLimit,
    rateWindowSeconds: serviceAccounts.rateWindowSeconds,
    hasCredits: serviceAccounts.hasCredits,
  },
}

/** The facts of a key by its newest secret: the one without an end. */
export async function findNewestSecret(db: Database, keyId: string) {
  const [row] = await db
    .select(secretAndOwner)
    .from(apiKeySecrets)
    .innerJoin(apiKeys, eq(apiKeys.id, apiKeySecrets.keyId))
    .leftJoin(users, eq(users.id, apiKeys.userId))
    .leftJoin(serviceAccounts, eq(serviceAccounts.id, apiKeys.serviceAccountId))
    .where(and(eq(apiKeySecrets.keyId, keyId), isNull(apiKeySecrets.endedAt)))
    .orderBy(sql`${apiKeySecrets.expiresAt} DESC NULLS FIRST`, desc(apiKeySecrets.createdAt))
    .limit(1)
  return row ?? null
}

const keyMakers = alias(users, 'key_maker')
const accountMakers = alias(serviceAccounts, 'account_maker')
const makers = alias(users, 'maker')

/** All columns that decide whether a portal session is good, and for what. */
const sessionAndMaker = {
  session: portalSessions,
  user: owner,
  serviceAccount: {
    name: serviceAccounts.name,
    isActive: serviceAccounts.isActive,
    scopes: serviceAccounts.scopes,
  },
  maker: { isActive: makers.isActive, role: makers.role },
  makerKey: {
    id: apiKeys.id,
    scopes: apiKeys.scopes,
    isActive: apiKeys.isActive,
    expiresAt: apiKeys.expiresAt,
    revokedAt: apiKeys.revokedAt,
    userId: apiKeys.userId,
    serviceAccountId: apiKeys.serviceAccountId,
  },
  makerUser: {
    email: keyMakers.email,
    emailVerified: keyMakers.emailVerified,
    role: keyMakers.role,
    isActive: keyMakers.isActive,
    scopes: keyMakers.scopes,
    createdAt: keyMakers.createdAt,
  },
  makerAccount: {
    name: accountMakers.name,
    isActive: accountMakers.isActive,
    scopes: accountMakers.scopes,
  },
}

const selectPortalSession = (db: Database) =>
  db
    .select(sessionAndMaker)
    .from(portalSessions)
    .leftJoin(users, eq(users.id, portalSessions.userId))
    .leftJoin(serviceAccounts, eq(serviceAccounts.id, portalSessions.serviceAccountId))
    .leftJoin(makers, eq(makers.id, portalSessions.madeByUser))
    .leftJoin(apiKeys, eq(apiKeys.id, portalSessions.madeByKey))
    .leftJoin(keyMakers, eq(keyMakers.id, apiKeys.userId))
    .leftJoin(accountMakers, eq(accountMakers.id, apiKeys.serviceAccountId))

/** The columns of an app and of an API that decide what a token does. */
const client = {
  id: oauthClients.id,
  clientId: oauthClients.clientId,
  source: oauthClients.source,
  isActive: oauthClients.isActive,
  firstParty: oauthClients.firstParty,
  scopes: oauthClients.scopes,
}
const resource = {
  id: resources.id,
  identifier: resources.identifier,
  slug: resources.slug,
  isActive: resources.isActive,
  scopes: resources.scopes,
}

const signingKey = { id: signingKeys.id, revokedAt: signingKeys.revokedAt }

/** The queries of every verification, prepared once per database. */
function prepareVerifyQueries(db: Database) {
  return {
    /** A secret, valid or not, with its key and its owner, by the SHA-256 of the presented key. */
    findSecret: db
      .select(secretAndOwner)
      .from(apiKeySecrets)
      .innerJoin(apiKeys, eq(apiKeys.id, apiKeySecrets.keyId))
      .leftJoin(users, eq(users.id, apiKeys.userId))
      .leftJoin(serviceAccounts, eq(serviceAccounts.id, apiKeys.serviceAccountId))
      .where(and(eq(apiKeySecrets.hash, sql.placeholder('hash')), isNull(apiKeySecrets.endedAt)))
      .prepare('latchkey_find_secret'),

    /** The same for several secrets at once. The hashes are `\\x…` in hexadecimal. */
    findSecrets: db
      .select({ ...secretAndOwner, hash: apiKeySecrets.hash })
      .from(apiKeySecrets)
      .innerJoin(apiKeys, eq(apiKeys.id, apiKeySecrets.keyId))
      .leftJoin(users, eq(users.id, apiKeys.userId))
      .leftJoin(serviceAccounts, eq(serviceAccounts.id, apiKeys.serviceAccountId))
      .where(
        and(
          sql`${apiKeySecrets.hash} = ANY (${sql.placeholder('hashes')}::text[]::bytea[])`,
          isNull(apiKeySecrets.endedAt),
        ),
      )
      .prepare('latchkey_find_secrets'),

    /**
     * The secret of the key for which an access token stands, if the token's subject still owns it, and the resource for
     * which the token was made. Joins the signing key: the database knows of its revocation before the keys in memory do
     * (docs/decisions/0007).
     */
    findSecretById: db
      .select({
        ...secretAndOwner,
        signingKey,
        resource,
        isTokenRevoked: exists(
          db
            .select({ id: revokedTokens.id })
            .from(revokedTokens)
            .where(eq(revokedTokens.id, sql.placeholder('tokenId'))),
        ).as<boolean>('is_token_revoked'),
      })
      .from(apiKeySecrets)
      .innerJoin(apiKeys, eq(apiKeys.id, apiKeySecrets.keyId))
      .leftJoin(serviceAccounts, eq(serviceAccounts.id, apiKeys.serviceAccountId))
      .leftJoin(users, eq(users.id, apiKeys.userId))
      .leftJoin(resources, eq(resources.identifier, sql.placeholder('audience')))
      .leftJoin(signingKeys, eq(signingKeys.id, sql.placeholder('signingKeyId')))
      .where(
        and(
          eq(apiKeySecrets.id, sql.placeholder('secretId')),
          isNull(apiKeySecrets.endedAt),
          sql`${ownerOfKey} = ${sql.placeholder('ownerId')}::uuid`,
        ),
      )
      .prepare('latchkey_find_secret_by_id'),

    /** A portal session with its owner and its maker, by the SHA-256 of its bearer. */
    findPortalSession: selectPortalSession(db)
      .where(eq(portalSessions.bearerHash, sql.placeholder('hash')))
      .prepare('latchkey_find_portal_session'),

    /** The same, by the SHA-256 of the token in its link. */
    findPortalLink: selectPortalSession(db)
      .where(eq(portalSessions.linkHash, sql.placeholder('hash')))
      .prepare('latchkey_find_portal_link'),

    /**
     * A session with its user, and of an app's session what the person allowed, if the token's subject is that user, and the signing key of the token
     * (docs/decisions/0007).
     */
    findSession: db
      .select({
        kind: sessions.kind,
        expiresAt: sessions.expiresAt,
        endedAt: sessions.endedAt,
        authTime: sessions.authTime,
        amr: sessions.amr,
        scopes: sessions.scopes,
        identityScopes: sessions.identityScopes,
        user: { ...owner, hasSecondFactor: users.hasSecondFactor },
        grant: { id: oauthGrants.id, audience: oauthGrants.audience },
        client,
        resource,
        signingKey,
      })
      .from(sessions)
      .innerJoin(users, eq(users.id, sessions.userId))
      .leftJoin(oauthGrants, eq(oauthGrants.id, sessions.grantId))
      .leftJoin(oauthClients, eq(oauthClients.id, oauthGrants.clientId))
      .leftJoin(resources, eq(resources.id, oauthGrants.resourceId))
      .leftJoin(signingKeys, eq(signingKeys.id, sql.placeholder('signingKeyId')))
      .where(and(eq(sessions.id, sql.placeholder('sessionId')), eq(users.id, sql.placeholder('userId'))))
      .prepare('latchkey_find_session'),
  }
}

export type VerifyQueries = ReturnType<typeof prepareVerifyQueries>

/** The prepared queries of a database. */
export const verifyQueriesOf = preparedFor(prepareVerifyQueries)
