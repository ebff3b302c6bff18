import { type SQL, sql } from 'drizzle-orm'
import { RESERVED_PREFIX } from '../lib/scopes.ts'
import { accountManagers, apiKeys, serviceAccounts, users } from './schema.ts'

const anyOf = (ids: readonly string[]) => sql`ANY (${sql.param([...ids])}::uuid[])`

/** The ids of the accounts that one of these users manages. */
export const accountsOfUsers = (userIds: readonly string[]): SQL =>
  sql`(SELECT managed.service_account_id FROM ${accountManagers} AS managed
    WHERE managed.user_id = ${anyOf(userIds)})`

/** The ids of the accounts that this owner manages. */
export const accountsManagedBy = ({ type, id }: { type: 'user' | 'service_account'; id: string }): SQL =>
  sql`(SELECT managed.service_account_id FROM ${accountManagers} AS managed
    WHERE ${type === 'user' ? sql`managed.user_id` : sql`managed.manager_account_id`} = ${id})`

/**
 * The ids of the accounts of which one of these users is the only active manager. An account that manages itself is not
 * counted.
 */
export const accountsOfUsersAlone = (userIds: readonly string[]): SQL =>
  sql`(SELECT managed.service_account_id FROM ${accountManagers} AS managed
    WHERE managed.user_id = ${anyOf(userIds)} AND NOT EXISTS (
      SELECT FROM ${accountManagers} AS other
        LEFT JOIN ${users} AS person ON person.id = other.user_id
        LEFT JOIN ${serviceAccounts} AS program ON program.id = other.manager_account_id
      WHERE other.service_account_id = managed.service_account_id AND other.id <> managed.id
        AND other.manager_account_id IS DISTINCT FROM managed.service_account_id
        AND COALESCE(person.is_active, program.is_active)))`

/**
 * Whether an account holds no scope of Latchkey's own API but these of a key. `manages` in core/service-accounts is the
 * same in TypeScript.
 */
export const isWithinKey = (scopes: readonly string[]): SQL =>
  sql`NOT EXISTS (SELECT FROM unnest(${serviceAccounts.scopes}) AS held (scope)
    WHERE starts_with(held.scope, ${RESERVED_PREFIX}) AND held.scope <> ALL (${sql.param([...scopes])}::text[]))`

/**
 * Whether a key belongs to an account that an owner manages.
 * @param scopes of the key by which the owner acts; null: a person does
 */
export const isOfAccountManagedBy = (
  owner: { type: 'user' | 'service_account'; id: string },
  scopes: readonly string[] | null,
): SQL => {
  const isReached = scopes === null ? sql`true` : isWithinKey(scopes)
  return sql`${apiKeys.serviceAccountId} IN (SELECT ${serviceAccounts.id} FROM ${serviceAccounts}
    WHERE ${serviceAccounts.id} IN ${accountsManagedBy(owner)} AND ${isReached})`
}
