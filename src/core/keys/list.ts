import { findRows } from '../../db/search.ts'
import { fail, failField } from '../../lib/errors.ts'
import { readExternalId } from '../../lib/external-id.ts'
import { isId } from '../../lib/ids.ts'
import { MAX_OWNER_PAGE, MAX_PAGE, type PageQuery, type PageRows, readPage } from '../../lib/page.ts'
import { readSearch } from '../../lib/search.ts'
import { readInstant } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { type Owner, ownerOf } from '../owners.ts'
import { idOf, isDelegate, readsAll } from '../principal.ts'
import { findAccount } from '../service-accounts/service-accounts.ts'
import { describeDays } from '../usage/usage.ts'
import { type KeySort, type ListedKey, type ListedStatus, USAGE_DAYS } from './model.ts'
import { lastUseOf, presentKey, presentOwner } from './present.ts'
import {
  hasKey,
  type KeyFilter,
  listKeys,
  NEVER_USED_MS,
  NO_END_MS,
  searchAllKeys,
  searchKeysOf,
  type WholeKey,
} from './queries.ts'
import { boundsOf, isWithinReach, type KeyManager, requireKeysAccount } from './reach.ts'

/** The query parameters of a list of keys: its conditions and its page. */
export type KeyQuery = PageQuery & {
  service_account_id?: string
  external_id?: string
  query?: string
  status?: ListedStatus
  expires_before?: string
  unused_since?: string
  sort?: KeySort
  expand?: string
  user_id?: string
  all?: 'true' | 'false'
}

/**
 * A page of keys, newest first: the caller's own, those of a service account that the caller manages, or, for admins,
 * those of any user or of all owners.
 * @throws Problem not_found for another user's service account, forbidden, validation_failed for a forged cursor, or
 * for too large a page of all owners' keys
 */
export async function listVisibleKeys(context: Context, caller: KeyManager, query: KeyQuery) {
  const owner = await chooseListed(context, caller, query)
  const filter: KeyFilter = {
    ids: null,
    owner,
    externalId: query.external_id === undefined ? null : readExternalId('?external_id', query.external_id),
    status: query.status ?? null,
    expiresBefore: readInstant('?expires_before', query.expires_before),
    unusedSince: readInstant('?unused_since', query.unused_since),
    within:
      isDelegate(caller) && !readsAll(caller)
        ? { scopes: caller.scopes, expiresAt: caller.kind === 'key' ? caller.keyExpiresAt : null }
        : null,
  }
  const { cursor, sort = 'created_at' } = query
  const isForAll = owner === null && caller.kind !== 'operator'
  if (isForAll && (sort === 'name' || sort === 'last_used_at'))
    failField('?sort', 'Must be created_at or expires_at with all=true')
  const isShort = owner === null || readExpand(query.expand).usage
  const { limit = isShort ? MAX_PAGE : MAX_OWNER_PAGE } = query
  if (isShort && limit > MAX_PAGE && caller.kind !== 'operator')
    failField('?limit', `Must be at most ${MAX_PAGE} with all=true or expand=usage`)
  if (query.query !== undefined) return searchVisibleKeys(context, caller, query.query, query, filter, sort)
  const callerId = caller.kind === 'operator' ? caller.kind : idOf(caller)
  const list = `keys ${JSON.stringify([callerId, filter, sort])}`
  const find = async (rows: PageRows) => {
    if (sort === 'name' && rows.after !== null && !(await hasKey(context.db, rows.after)))
      failField('?cursor', 'The key at its place was deleted; begin at the first page')
    return listKeys(context.db, filter, sort, new Date(context.clock()), rows)
  }
  const { rows, nextCursor } = await readPage(
    context.keys.cursor,
    list,
    { limit, cursor },
    find,
    TIME_OF[sort],
  )
  return { keys: rows.filter((key) => isVisible(caller, key)), nextCursor, isTruncated: false }
}

/** The keys of a list that a search finds, on one page. */
async function searchVisibleKeys(
  { db, clock }: Context,
  caller: KeyManager,
  text: string,
  page: PageQuery,
  filter: KeyFilter,
  sort: KeySort,
) {
  const search = readSearch(text, page)
  const found = await (filter.owner ? searchKeysOf(db, filter.owner, search) : searchAllKeys(db, search))
  const { rows, isTruncated } = await findRows(found, search.limit, (ids, limit) =>
    listKeys(db, { ...filter, ids }, sort, new Date(clock()), { limit, after: null, afterAt: null }),
  )
  return { keys: rows.filter((key) => isVisible(caller, key)), nextCursor: null, isTruncated }
}

/** What a cursor has of a key, by the order of the list. */
const TIME_OF: Record<KeySort, (key: WholeKey) => Date> = {
  created_at: (key) => key.createdAt,
  last_used_at: (key) => lastUseOf(key) ?? new Date(NEVER_USED_MS),
  expires_at: (key) => key.expiresAt ?? new Date(NO_END_MS),
  name: (key) => key.createdAt,
}

/**
 * The keys of a page as they are answered.
 * @param expand what is shown besides each key: `owner`, `usage` or both, separated by a comma
 * @throws Problem validation_failed for another `expand`
 */
export async function presentKeys(
  context: Context,
  keys: readonly WholeKey[],
  expand: string | undefined,
): Promise<ListedKey[]> {
  const shows = readExpand(expand)
  const ids = keys.map(({ id }) => id)
  const usage = shows.usage ? await describeDays(context, ids, USAGE_DAYS) : null
  return keys.map((key) => ({
    ...presentKey(key, context.clock()),
    ...(shows.owner && { owner: presentOwner(key) }),
    ...(usage && { usage: usage.get(key.id) ?? Array(USAGE_DAYS).fill(0) }),
  }))
}

function readExpand(expand = '') {
  const words = expand === '' ? [] : expand.split(',')
  if (words.some((word) => word !== 'owner' && word !== 'usage'))
    failField('?expand', 'Must be owner, usage, or both, separated by a comma')
  return { owner: words.includes('owner'), usage: words.includes('usage') }
}

/** A managing key sees what lies within all of its bounds; the statement has narrowed by scopes and expiry already. */
export function isVisible(caller: KeyManager, key: WholeKey): boolean {
  return !isDelegate(caller) || readsAll(caller) || isWithinReach(caller, boundsOf(key))
}

async function chooseListed(context: Context, caller: KeyManager, query: KeyQuery): Promise<Owner | null> {
  if (query.service_account_id !== undefined) {
    const { id } = readsAll(caller)
      ? await findAccount(context, query.service_account_id)
      : await requireKeysAccount(context, caller, query.service_account_id)
    return { type: 'service_account', id }
  }
  const isOperator = caller.kind === 'operator'
  if (!isOperator && query.user_id === undefined && query.all !== 'true') return ownerOf(caller)
  if (!readsAll(caller)) fail('forbidden', { detail: "Admins and support list other people's keys." })
  if (query.user_id === undefined) return null
  return isId(query.user_id) ? { type: 'user', id: query.user_id } : fail('not_found')
}
