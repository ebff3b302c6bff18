import { and, eq, sql } from 'drizzle-orm'
import type { Database } from '../../db/open.ts'
import { apiKeySecrets, apiKeys, serviceAccounts, sessions, users } from '../../db/schema.ts'

const owner = {
  email: users.email,
  emailVerified: users.emailVerified,
  role: users.role,
  isActive: users.isActive,
  scopes: users.scopes,
  createdAt: users.createdAt,
}

/** The two look-ups behind every verification, prepared once a database. */
export function prepareVerifyQueries(db: Database) {
  return {
    /** A live or dead secret with its key and its owner, by the hash of what was shown. */
    findSecret: db
      .select({
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
        },
        user: owner,
        serviceAccount: {
          name: serviceAccounts.name,
          isActive: serviceAccounts.isActive,
          scopes: serviceAccounts.scopes,
        },
      })
      .from(apiKeySecrets)
      .innerJoin(apiKeys, eq(apiKeys.id, apiKeySecrets.keyId))
      .leftJoin(users, eq(users.id, apiKeys.userId))
      .leftJoin(serviceAccounts, eq(serviceAccounts.id, apiKeys.serviceAccountId))
      .where(eq(apiKeySecrets.hash, sql.placeholder('hash')))
      .prepare('latchkey_find_secret'),

    /** A session with its user, if the token's subject is that user. */
    findSession: db
      .select({ expiresAt: sessions.expiresAt, endedAt: sessions.endedAt, user: owner })
      .from(sessions)
      .innerJoin(users, eq(users.id, sessions.userId))
      .where(and(eq(sessions.id, sql.placeholder('sessionId')), eq(users.id, sql.placeholder('userId'))))
      .prepare('latchkey_find_session'),
  }
}

export type VerifyQueries = ReturnType<typeof prepareVerifyQueries>
