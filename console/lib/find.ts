import { texts } from '../texts.ts'
import { ask } from './api.ts'
import { isAdmin, isStaff } from './me.ts'
import { HAS_APPS } from './place.ts'
import { Refusal } from './refusal.ts'
import type { FoundKey, Me } from './types.ts'

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const REQUEST_ID = /^[0-9a-f]{12}-[0-9a-z]{6}$/
const MIN_SECRET_LENGTH = 20

/** Where a search leads: to a place of the console, or to keys of which one is chosen. */
export type Found = { place: string } | { keys: readonly FoundKey[] }

/** Whether text may be a whole key (console.md, section 2.1). It is then neither shown nor sent. */
const isSecret = (text: string): boolean =>
  text.length >= MIN_SECRET_LENGTH && !/[\s@]/.test(text) && !UUID.test(text) && !REQUEST_ID.test(text)

/**
 * Finds what a text names: a whole key, an id, an address, a request id, or the beginning of a name or key.
 * @throws Refusal where it names nothing
 */
export async function find(text: string, me: Me | undefined): Promise<Found> {
  if (isSecret(text)) {
    if (!isStaff(me)) throw new Refusal(0, 'forbidden', texts.find.onlyStaff)
    return findSecret(text)
  }
  if (UUID.test(text)) return { place: await placeOf(text, me) }
  if (REQUEST_ID.test(text)) return { place: `/audit?${new URLSearchParams({ request_id: text })}` }
  const list = !isStaff(me) ? 'keys' : text.includes('@') ? 'users' : 'all-keys'
  return { place: `/${list}?${new URLSearchParams({ query: text })}` }
}

/** Asks for the key by its hash alone: neither a log nor the history gets to know it. */
async function findSecret(text: string): Promise<Found> {
  // Browsers have no SubtleCrypto on plain http beyond loopback.
  if (!globalThis.crypto?.subtle) throw new Refusal(0, 'insecure', texts.find.insecure)
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))
  const hash = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  const { items } = await ask((api) => api.keys.lookup.post({ hash }))
  const [first] = items
  if (!first) throw new Refusal(0, 'not_found', texts.find.noKey)
  return items.length === 1 && first.matched.state === 'current'
    ? { place: `/keys/${first.id}` }
    : { keys: items }
}

/** What an id belongs to: the API knows, by answering at one of its places. */
async function placeOf(id: string, me: Me | undefined): Promise<string> {
  const tries = [
    ['keys', () => ask((api) => api.keys({ id }).get())],
    ['service-accounts', () => ask((api) => api['service-accounts']({ id }).get())],
    ['users', () => ask((api) => api.users({ id }).get())],
    ...(HAS_APPS && isAdmin(me)
      ? ([
          ['apps', () => ask((api) => api.oauth.clients({ id }).get())],
          ['apis', () => ask((api) => api.resources({ id }).get())],
        ] as const)
      : []),
  ] as const
  for (const [place, read] of tries) {
    const isThere = await read().then(
      () => true,
      (error: unknown) => {
        if (error instanceof Refusal && [403, 404].includes(error.status)) return false
        throw error
      },
    )
    if (isThere) return `/${place}/${id}`
  }
  throw new Refusal(0, 'not_found', texts.find.noId)
}
