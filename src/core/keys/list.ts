import { fail } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import { type PageQuery, readPage } from '../../lib/page.ts'
import type { Context } from '../context.ts'
import { type Owner, ownerOf } from '../owners.ts'
import { idOf, isAdmin } from '../principal.ts'
import type { KeyStatus } from './model.ts'
import { type KeyFilter, listKeys, type WholeKey } from './queries.ts'
import { boundsOf, isWithinReach, type KeyManager, requireKeysAccount } from './reach.ts'

/** Which keys are listed, and which page of them. */
export type KeyQuery = PageQuery & {
  service_account_id?: string
  external_id?: string
  status?: KeyStatus
  user_id?: string
  all?: 'true' | 'false'
}

/**
 * Keys of the caller, of a service account that the caller manages, or, for admins, of any user or of everybody; newest
 * first. Complete unless a page is asked for; everybody's keys always come in pages.
 * @throws Problem not_found for another's service account, forbidden, validation_failed for a forged cursor
 */
export async function listVisibleKeys(context: Context, caller: KeyManager, query: KeyQuery) {
  const owner = await chooseListed(context, caller, query)
  const filter: KeyFilter = {
    owner,
    externalId: query.external_id ?? null,
    status: query.status ?? null,
    within: caller.kind === 'key' ? { scopes: caller.scopes, expiresAt: caller.keyExpiresAt } : null,
  }
  const find = (rows: { limit: number | null; after: string | null }) =>
    listKeys(context.db, filter, new Date(context.clock()), rows)
  const isPaged = query.limit !== undefined || query.cursor !== undefined || owner === null
  const callerId = caller.kind === 'operator' ? caller.kind : idOf(caller)
  const list = `keys ${JSON.stringify([callerId, owner, filter.externalId, filter.status])}`
  const { rows, nextCursor } = isPaged
    ? await readPage(context.keys.cursor, list, query, find)
    : { rows: await find({ limit: null, after: null }), nextCursor: null }
  return { keys: rows.filter((key) => isVisible(caller, key)), nextCursor }
}

/** A managing key sees what lies within all of its bounds; the statement has narrowed by scopes and expiry already. */
function isVisible(caller: KeyManager, key: WholeKey): boolean {
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
