import { QueryClient, useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { management } from 'latchkey/client/management'
import { API_URL } from '../lib/place.ts'
import { asRefusal, refusalOf } from '../lib/refusal.ts'
import type { ListedKey } from '../lib/types.ts'
import { close, session } from './session.ts'

type Api = ReturnType<typeof management>
type Answer = { data: unknown; error: unknown; response: Response; status: number }

const LIMIT = 100
const MAX_TRIES = 2

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      retry: (tries, error) => tries < MAX_TRIES && [0, 503].includes(asRefusal(error).status),
    },
  },
})

const bearerOf = (state: ReturnType<typeof session.get>): string =>
  state.kind === 'open' ? state.access.access_token : ''

let shown = bearerOf(session.get())
// A new session may be another customer's. It must not show what the session before has read.
session.subscribe(() => {
  const bearer = bearerOf(session.get())
  if (bearer === shown) return
  shown = bearer
  queries.clear()
})

/**
 * Asks the API by the session's bearer, typed by its routes. A session that has ended closes the page.
 * @throws Refusal
 */
async function askWhole<A extends Answer>(call: (api: Api) => Promise<A>): Promise<A> {
  const bearer = bearerOf(session.get())
  const answer = await call(management(API_URL, bearer)).catch((error: unknown) => {
    throw asRefusal(error)
  })
  if (!answer.error) return answer
  // An answer to a session before says nothing about the present one.
  if (answer.status === 401 && bearer === bearerOf(session.get())) close()
  throw refusalOf(answer.status, (answer.error as { value: unknown }).value)
}

/** The same, without the headers. */
export async function ask<A extends Answer>(call: (api: Api) => Promise<A>): Promise<NonNullable<A['data']>> {
  return (await askWhole(call)).data as NonNullable<A['data']>
}

/** What the page reads. */
export function useAsk<A extends Answer>(key: readonly unknown[], call: (api: Api) => Promise<A>) {
  return useQuery<NonNullable<A['data']>>({ queryKey: key, queryFn: () => ask(call) })
}

/** The owner's keys, newest first, page by page. */
export function useKeys() {
  const { data, ...rest } = useInfiniteQuery({
    queryKey: ['keys'],
    queryFn: async ({ pageParam }) => {
      const query = { expand: 'usage', limit: LIMIT, ...(pageParam !== null && { cursor: pageParam }) }
      const { data, response } = await askWhole((api) => api.keys.get({ query }))
      return { items: (data ?? []) as ListedKey[], next: cursorIn(response) }
    },
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next,
  })
  return { ...rest, data: data?.pages.flatMap(({ items }) => items), isTruncated: false }
}

/** Where the next page begins, which is in `Link` (RFC 8288). */
const cursorIn = ({ headers }: Response): string | null =>
  new URLSearchParams(/<\?([^>]*)>; rel="next"/.exec(headers.get('link') ?? '')?.[1]).get('cursor')
