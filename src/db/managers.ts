import { type SQL, sql } from 'drizzle-orm'
import { RESERVED_PREFIX } from '../lib/scopes.ts'
import { accountManagers, apiKeys, serviceAccounts, users } from './schema.ts'

const anyOf = (ids: readonly string[]) => sql`ANY (${sql.param([...ids])}::uuid[])`

/** The ids of the accounts that one of these users manages. */
export const accountsOfUsers = (userIds: readonly string[]): SQL =>
  sql`(SELECT managed.service_account_id FROM ${accountManagers} AS managed
    WHERE managed.user_id = ${anyOf(userIds)})`

/**
 * Whether an account counts for the user who made it: as long as the user manages it, and also where no user does. A user who
 * hands accounts over to an account of their own still has them.
 */
export const countsForUser = (userId: string): SQL =>
  sql`(${serviceAccounts.countsFor} = ${userId} AND (
    ${serviceAccounts.id} IN ${accountsOfUsers([userId])} OR NOT EXISTS (SELECT FROM ${accountManagers} AS managed
      WHERE managed.service_account_id = ${serviceAccounts.id} AND managed.user_id IS NOT NULL)))`

/** The ids of the accounts that this owner manages. */
export const accountsManagedBy = ({ type, id }: { type: 'user' | 'service_account'; id: string }): SQL =>
  sql`(SELECT managed.service_account_id FROM ${accountManagers} AS managed
    WHERE ${type === 'user' ? sql`managed.user_id` : sql`managed.manager_account_id`} = ${id})`

/**
 * The ids of the accounts of which one of these users is the only active manager. An account that manages another counts
 * only where somebody else stands behind it: an active user who manages it, directly or through active accounts, or the
 * admins, whose it is without a manager. Accounts that manage themselves or each other do not count.
 * The planner expects far more rows than there are: OFFSET keeps it at the index.
 */
export const accountsOfUsersAlone = (userIds: readonly string[]): SQL =>
  sql`(WITH RECURSIVE above (id) AS (
      SELECT managed.service_account_id FROM ${accountManagers} AS managed
      WHERE managed.user_id = ${anyOf(userIds)}
      UNION SELECT program.id FROM above
        JOIN ${accountManagers} AS managed ON managed.service_account_id = above.id
        JOIN ${serviceAccounts} AS program ON program.id = managed.manager_account_id AND program.is_active
    ), others (id) AS (
      SELECT above.id FROM above WHERE COALESCE((
        SELECT bool_or(COALESCE(person.is_active AND person.id <> ALL (${sql.param([...userIds])}::uuid[]), false))
        FROM ${accountManagers} AS managed LEFT JOIN ${users} AS person ON person.id = managed.user_id
        WHERE managed.service_account_id = above.id), true)
      UNION SELECT above.id FROM others
        JOIN ${serviceAccounts} AS program ON program.id = others.id AND program.is_active
        CROSS JOIN LATERAL (SELECT managed.service_account_id AS id FROM ${accountManagers} AS managed
          WHERE managed.manager_account_id = others.id OFFSET 0) AS below
        JOIN above ON above.id = below.id
    )
    SELECT managed.service_account_id FROM ${accountManagers} AS managed WHERE managed.user_id = ${anyOf(userIds)}
      AND NOT EXISTS (SELECT FROM others WHERE others.id = managed.service_account_id))`

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
