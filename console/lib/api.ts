import { keepPreviousData, QueryClient, useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { management } from 'latchkey/client/management'
import { API_URL } from './place.ts'
import { asRefusal, Refusal, refusalOf } from './refusal.ts'
import { askInPlace, begin, dropToken, getToken, onReturn } from './session.ts'

export { useChange } from './change.ts'

type Api = ReturnType<typeof management>
/** What Eden gives for one call. */
type Answer = { data: unknown; error: unknown; response: Response; status: number }

/**
 * Asks the API, typed by its routes. A session that has ended, and a change that needs recent authentication, ask the person
 * in place; then the request is sent again.
 * @throws Refusal
 * @example const key = await ask((api) => api.keys({ id }).get())
 */
export async function ask<A extends Answer>(call: (api: Api) => Promise<A>): Promise<NonNullable<A['data']>> {
  return (await askWhole(call)).data as NonNullable<A['data']>
}

/** The same, with the headers. */
export async function askWhole<A extends Answer>(call: (api: Api, token: string) => Promise<A>): Promise<A> {
  let isRepeated = false
  for (;;) {
    const token = await getToken()
    const answer = await call(management(API_URL, token), token).catch((error: unknown) => {
      throw asRefusal(error)
    })
    begin()
    if (!answer.error) return answer
    const { value } = answer.error as { value: unknown }
    const refusal = refusalOf(answer.status, value)
    if (refusal.code === 'reauthentication_required') await askInPlace('prove')
    else if (refusal.status === 401 && !isRepeated) {
      isRepeated = true
      dropToken()
    } else throw refusal
  }
}

const MAX_TRIES = 2

/** Data is kept while it is asked for again, and when that fails: pages say how old it is. */
export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      retry: (tries, error) =>
        tries < MAX_TRIES && [0, 503].includes(asRefusal(error).status) && !isAway(error),
    },
  },
})
const isAway = (error: unknown) => error instanceof Refusal && error.code === 'idle'
onReturn(() => void queries.invalidateQueries())

/**
 * What a page reads.
 * @param key names it, for the cache: what a change makes outdated
 */
export function useAsk<A extends Answer>(
  key: readonly unknown[],
  call: (api: Api) => Promise<A>,
  isOn = true,
) {
  return useQuery<NonNullable<A['data']>>({ queryKey: key, queryFn: () => ask(call), enabled: isOn })
}

/** A page of a list, and where the next one begins. */
type ListPage<Row> = { items: readonly Row[]; next_cursor: string | null; isTruncated?: boolean }

/** The end of a list. */
export const NO_PAGE = { items: [], next_cursor: null }

/**
 * A list that is read page by page. What another filter listed stays until the answer is there.
 * @param first where the list begins, for the list whose page is in the URL; such a list shows one page at a time
 */
export function usePages<Row>(
  key: readonly unknown[],
  read: (cursor: { cursor?: string }) => Promise<ListPage<Row>>,
  { first, refetchInterval = false }: { first?: string; refetchInterval?: number | false } = {},
) {
  const { data, ...rest } = useInfiniteQuery({
    queryKey: [...key, first],
    queryFn: ({ pageParam }) => read(pageParam === '' ? {} : { cursor: pageParam }),
    initialPageParam: first ?? '',
    getNextPageParam: (page) => page.next_cursor,
    placeholderData: keepPreviousData,
    refetchInterval,
  })
  const isTruncated = data?.pages.some((page) => page.isTruncated) ?? false
  const next = data?.pages.at(-1)?.next_cursor ?? null
  return { ...rest, data: data?.pages.flatMap(({ items }) => items), isTruncated, first, next }
}
