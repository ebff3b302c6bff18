import { ask } from './api.ts'
import type { App, AppSource } from './types.ts'

/** How many apps a request lists, and by how many requests a search goes on before it asks. */
const LIMIT = 100
const MAX_REQUESTS = 10

/** Apps whose name or id holds a text. The API lists them all: they are searched here. */
export async function findApps({ query, source }: { query: string; source: AppSource | '' }, from?: string) {
  const text = query.trim().toLowerCase()
  const isFound = ({ name, client_id }: App) =>
    name.toLowerCase().includes(text) || client_id.toLowerCase().includes(text)
  const items: App[] = []
  let cursor: string | null = from ?? null
  for (let asked = 0; asked < MAX_REQUESTS; asked++) {
    const page = { limit: LIMIT, ...(cursor !== null && { cursor }), ...(source !== '' && { source }) }
    const answer = await ask((api) => api.oauth.clients.get({ query: page }))
    items.push(...answer.items.filter(isFound))
    cursor = answer.next_cursor
    if (cursor === null || text === '') break
  }
  return { items, next_cursor: cursor }
}
