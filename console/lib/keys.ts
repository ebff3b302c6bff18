import { askWhole, usePages } from './api.ts'
import { isAdmin } from './me.ts'
import type { KeysQuery, ListedKey, Me, ServiceAccount } from './types.ts'

/** What a list shows of keys: how often each was used lately, and whose it is. */
const EXPAND = 'owner,usage'
const LIMIT = 50
/** The API finds nothing by less. */
const MIN_SEARCH = 2

/** Keys that a filter lists. A search is answered with one page: `isTruncated` says that there are more. */
export function useKeys(filter: KeysQuery, { first }: { first?: string } = {}) {
  const { query = '', status, ...owner } = filter
  const asked: KeysQuery = {
    ...owner,
    ...(status && { status }),
    ...(query.trim().length >= MIN_SEARCH && { query: query.trim() }),
    expand: EXPAND,
    limit: LIMIT,
  }
  return usePages<ListedKey>(['keys', asked], (cursor) => readKeys({ ...asked, ...cursor }), {
    ...(first !== undefined && { first }),
  })
}

/** One page of keys. */
export async function readKeys(query: KeysQuery) {
  const { data, response } = await askWhole((api) => api.keys.get({ query }))
  return { items: data ?? [], next_cursor: cursorIn(response), isTruncated: isTruncated(response) }
}

/** Where the next page of keys begins, which is in `Link` (RFC 8288). */
const cursorIn = ({ headers }: Response): string | null =>
  new URLSearchParams(/<\?([^>]*)>; rel="next"/.exec(headers.get('link') ?? '')?.[1]).get('cursor')

/** Whether a search found more than was answered. */
export const isTruncated = ({ headers }: Response): boolean => headers.get('x-search-truncated') === 'true'

/** Whether a person may edit an account: its managers and admins may. Support only cuts it off. */
export const managesAccount = ({ managers }: ServiceAccount, me: Me | undefined): boolean =>
  isAdmin(me) || managers.some(({ type, id }) => type === 'user' && id === me?.id)
