import { fail, failField } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import { MAX_OWNER_PAGE, MAX_PAGE, type PageQuery, type PageRows, readPage } from '../../lib/page.ts'
import type { Context } from '../context.ts'
import { type Owner, ownerOf } from '../owners.ts'
import { idOf, isAdmin } from '../principal.ts'
import type { ListedStatus } from './model.ts'
import { type KeyFilter, listKeys, type WholeKey } from './queries.ts'
import { boundsOf, isWithinReach, type KeyManager, requireKeysAccount } from './reach.ts'

/** Which keys are listed, and which page of them. */
export type KeyQuery = PageQuery & {
  service_account_id?: string
  external_id?: string
  status?: ListedStatus
  user_id?: string
  all?: 'true' | 'false'
}

/**
 * A page of keys of the caller, of a service account that the caller manages, or, for admins, of any user or of
 * everybody; newest first.
 * @throws Problem not_found for another's service account, forbidden, validation_failed for a forged cursor, or for too
 * large a page of everybody's keys
 */
export async function listVisibleKeys(context: Context, caller: KeyManager, query: KeyQuery) {
  const owner = await chooseListed(context, caller, query)
  const filter: KeyFilter = {
    owner,
    externalId: query.external_id ?? null,
    status: query.status ?? null,
    within: caller.kind === 'key' ? { scopes: caller.scopes, expiresAt: caller.keyExpiresAt } : null,
  }
  const find = (rows: PageRows) => listKeys(context.db, filter, new Date(context.clock()), rows)
  const { cursor, limit = owner === null ? MAX_PAGE : MAX_OWNER_PAGE } = query
  if (owner === null && limit > MAX_PAGE && caller.kind !== 'operator')
    failField('?limit', `Must be at most ${MAX_PAGE} with all=true`)
  const callerId = caller.kind === 'operator' ? caller.kind : idOf(caller)
  const list = `keys ${JSON.stringify([callerId, owner, filter.externalId, filter.status])}`
  const { rows, nextCursor } = await readPage(context.keys.cursor, list, { limit, cursor }, find)
  return { keys: rows.filter((key) => isVisible(caller, key)), nextCursor }
}

/** A managing key sees what lies within all of its bounds; the statement has narrowed by scopes and expiry already. */
export function isVisible(caller: KeyManager, key: WholeKey): boolean {
  return caller.kind !== 'key' || isWithinReach(caller, boundsOf(key))
}

async function chooseListed(context: Context, caller: KeyManager, query: KeyQuery): Promise<Owner | null> {
  if (query.service_account_id !== undefined) {
    const { id } = await requireKeysAccount(context, caller, query.service_account_id)
    return { type: 'service_account', id }
  }
  const isOperator = caller.kind === 'operator'
  if (!isOperator && query.user_id === undefined && query.all !== 'true') return ownerOf(caller)
  if (!isOperator && !isAdmin(caller))
    fail('forbidden', { detail: "Only an admin lists other people's keys." })
  if (query.user_id === undefined) return null
  return isId(query.user_id) ? { type: 'user', id: query.user_id } : fail('not_found')
}
