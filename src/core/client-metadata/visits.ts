import type { SharedCounters } from '../../db/redis.ts'
import type { Rate } from '../../lib/rate.ts'
import { type Clock, SECOND_MS } from '../../lib/time.ts'

/** Counts the different documents that each person lets be fetched. */
export type Visits = {
  /**
   * Counts a document, unless it was counted in this window.
   * @returns null, or the seconds to wait where the person has reached the limit
   */
  count(userId: string, url: string, rate: Rate): Promise<number | null>
}

/** People whom one process remembers. Beyond that it forgets the one whose window began first. */
const MAX_PEOPLE = 50_000

/** Adds a document to a person's set, while the set has room. Gives 1 where it had none, and the milliseconds that remain. */
const COUNT = `
local left = redis.call('PTTL', KEYS[1])
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then return {0, left} end
if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[2]) then return {1, left} end
redis.call('SADD', KEYS[1], ARGV[1])
if left < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return {0, left}`

/** Counts on Redis for all instances together; without Redis, or while it does not answer, in this process. */
export function createVisits(clock: Clock, shared: SharedCounters | null): Visits {
  const people = new Map<string, { documents: Set<number>; endsAtMs: number }>()

  const windowOf = (userId: string, windowMs: number) => {
    const known = people.get(userId)
    if (known && clock() < known.endsAtMs) return known
    people.delete(userId)
    const [oldest] = people.size >= MAX_PEOPLE ? people.keys() : []
    if (oldest !== undefined) people.delete(oldest)
    const begun = { documents: new Set<number>(), endsAtMs: clock() + windowMs }
    people.set(userId, begun)
    return begun
  }
  const countHere = (userId: string, document: number, limit: number, windowMs: number) => {
    const { documents, endsAtMs } = windowOf(userId, windowMs)
    if (!documents.has(document) && documents.size >= limit) return endsAtMs - clock()
    documents.add(document)
    return null
  }

  return {
    async count(userId, url, { limit, windowSeconds }) {
      const windowMs = windowSeconds * SECOND_MS
      const document = numberOf(url)
      const [isFull, leftMs = 0] =
        (await shared?.run(COUNT, [`documents:${userId}`], [document, limit, windowMs])) ?? []
      const waitMs =
        isFull === undefined ? countHere(userId, document, limit, windowMs) : isFull === 1 ? leftMs : null
      return waitMs === null ? null : Math.max(1, Math.ceil(waitMs / SECOND_MS))
    },
  }
}

/** 48 bits of a hash in which collisions cannot be made on purpose. A counter on Redis takes numbers alone. */
const numberOf = (url: string): number => Buffer.from(Bun.SHA256.hash(url) as Uint8Array).readUIntBE(0, 6)
