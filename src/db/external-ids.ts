import { type SQL, sql } from 'drizzle-orm'
import { apiKeys, serviceAccounts } from './schema.ts'

/**
 * Whether a key has an external id: its own, else that of its service account. `effectiveExternalId` in core/owners.ts is
 * the same in TypeScript. Two conditions with an index each: `COALESCE` would have none.
 */
export const hasExternalId = (externalId: string): SQL =>
  sql`(${apiKeys.externalId} = ${externalId} OR (${apiKeys.externalId} IS NULL AND ${apiKeys.serviceAccountId} =
    (SELECT account.id FROM ${serviceAccounts} AS account WHERE account.external_id = ${externalId})))`
