import {
  allSeconds,
  type Contender,
  describeSamples,
  takeTurns,
  turnsSeconds,
  weigh,
} from '../support/compare.ts'
import type { Entry } from '../support/entry.ts'
import { figureOf } from '../support/figures.ts'
import {
  cacheReads,
  hitRatio,
  type Latchkey,
  MOST_HITS_OF_CALLER,
  startLatchkey,
  verification,
} from '../support/latchkey.ts'
import { putLoad } from '../support/load.ts'
import { insertKeys } from '../support/rows.ts'

const FEW = 1_000
const MANY = 1_000_000
/**
 * Distinct keys of one measurement. More than one measurement can ask about, where the database has so many.
 */
const ASKED = 100_000
/**
 * A small part of the time that a thousand questions take, so that hardly any key is asked about twice
 * between two evictions.
 */
const FORGET_EVERY_MS = 5

/** The cost of a key that is not in the cache, in a small and in a large database. */
export const growth: Entry = {
  name: 'growth',
  estimateSeconds: (options) => turnsSeconds(options) + 100,
  async run(options) {
    await using small = await startLatchkey(options)
    await using large = await startLatchkey(options)
    const [few, many] = [
      await insertKeys(small, [small.person], FEW),
      await insertKeys(large, [large.person], MANY),
    ]
    const contenders = { small: misses(small, few), large: misses(large, many) }
    const samples = await takeTurns(contenders, options)
    const reads = await Promise.all([small, large].map(cacheReads))
    const hits = reads.map((after) => hitRatio(after, { all: 0, hits: 0 }))
    if (hits.some((ratio) => ratio > MOST_HITS_OF_CALLER))
      throw new Error(`Too much was in the cache: ${hits.join(', ')}`)
    // PostgreSQL's processor time counts too: it grows as much as Latchkey's.
    const costs = (name: 'small' | 'large') =>
      samples[name].map((sample) => allSeconds(sample) ?? 1 / sample.perSecond)
    const smallCosts = costs('small')
    const figure = figureOf(costs('large').map((cost, round) => cost / (smallCosts[round] ?? Number.NaN)))
    const details = [
      describeSamples('a thousand keys', samples.small, contenders.small),
      describeSamples('a million keys', samples.large, contenders.large),
      `found in the cache: ${hits.map((ratio) => `${(100 * ratio).toFixed(0)} %`).join(' and ')}, by the caller's own key`,
    ]
    return [
      {
        what: 'verifying a key that is not in the cache: its cost among a million keys, against a thousand',
        unit: 'ratio',
        figure,
        budget: null,
        details,
      },
    ]
  },
}

/** Asks about random keys, while the database repeatedly reports a change of their owner. */
function misses(latchkey: Latchkey, keys: readonly string[]): Contender {
  const { sql, person } = latchkey
  return {
    residentMegabytes: latchkey.residentMegabytes,
    async measure(seconds) {
      const requests = Array.from({ length: ASKED }, () => {
        const key = keys[Math.floor(Math.random() * keys.length)] ?? ''
        return verification(latchkey, key)
      })
      const forgetting = setInterval(() => {
        sql`SELECT pg_notify('latchkey_evict', ${`user ${person.id}`})`.catch(() => {})
      }, FORGET_EVERY_MS)
      try {
        return await weigh(latchkey, () => putLoad(latchkey.url, requests, seconds))
      } finally {
        clearInterval(forgetting)
        latchkey.forgetOutput()
      }
    },
  }
}
