import { announcedRequests } from '../support/announcement.ts'
import { atLeast } from '../support/budget.ts'
import {
  type Contender,
  describeSamples,
  paceOf,
  type Sample,
  takeTurns,
  turnsSeconds,
  weigh,
} from '../support/compare.ts'
import type { Entry, Finding } from '../support/entry.ts'
import {
  cacheReads,
  hitRatio,
  MOST_HITS_OF_CALLER,
  startLatchkey,
  verification,
} from '../support/latchkey.ts'
import { askEach, type LoadRequest, putLoad } from '../support/load.ts'
import { makeDatabase } from '../support/postgres.ts'
import type { ServerProcess } from '../support/process.ts'
import { startProgram } from '../support/programs.ts'
import { insertKeys, insertPeople, PEOPLE } from '../support/rows.ts'

const MANY = 1_000_000
/** Better Auth makes its keys one by one, so it has fewer: that favours it (docs/decisions/0019). */
const FEW = 10_000
/** Distinct keys of one measurement. */
const ASKED = 200_000
/** So few of a million that a random key is hardly ever in the cache. The caller's own key, asked with each, stays. */
const CACHED = 1_000
/** Questions about random keys among a million, beside services that ask their database each time. */
export const cold: Entry = {
  name: 'cold',
  estimateSeconds: (options) => turnsSeconds(options, 3) + 120,
  async run(options) {
    await using stack = new AsyncDisposableStack()
    const latchkey = stack.use(
      await startLatchkey(options, { env: { CACHE_MAX_CREDENTIALS: String(CACHED) } }),
    )
    const keys = await insertKeys(latchkey, await insertPeople(latchkey), MANY)
    const start = async (name: string, ...args: string[]) => {
      const server = stack.use(await startProgram(name, args))
      const questions = announcedRequests(server)
      await askEach(server, questions.slice(0, 1))
      return asking(server, () => questions)
    }
    const contenders = {
      latchkey: asking(latchkey, () => pick(keys).map((key) => verification(latchkey, key))),
      hono: await start('hono', (await makeDatabase()).url, String(MANY), String(PEOPLE), String(ASKED)),
      auth: await start('better-auth', 'database', (await makeDatabase()).url, String(FEW), String(PEOPLE)),
    }
    const readsBefore = await cacheReads(latchkey)
    const samples = await takeTurns(contenders, options)
    const hits = hitRatio(await cacheReads(latchkey), readsBefore)
    if (hits > MOST_HITS_OF_CALLER) throw new Error(`Too much was in the cache: ${hits}`)
    const details = [
      describeSamples('Latchkey', samples.latchkey, contenders.latchkey),
      describeSamples('Hono', samples.hono, contenders.hono),
      describeSamples('Better Auth', samples.auth, contenders.auth),
      `found in the cache: ${(100 * hits).toFixed(0)} %, by the caller's own key`,
    ]
    const what = 'verifying random keys among a million, none of them cached'
    return [
      against(`${what}, against Hono with one prepared query`, samples.latchkey, samples.hono, details),
      against(`${what}, against Better Auth’s defaults with ${FEW}`, samples.latchkey, samples.auth, []),
    ]
  },
}

/** The figure counts PostgreSQL's processor time too, which is most of what a query costs. */
function against(
  what: string,
  own: readonly Sample[],
  other: readonly Sample[],
  details: readonly string[],
): Finding {
  const { byTime, withDatabase } = paceOf(own, other)
  const figure = withDatabase ?? byTime
  if (figure === null || byTime === null) throw new Error(`Nothing was measured of ${what}`)
  return { what, unit: 'ratio', figure, byTime, budget: atLeast(figure.middle, 2, 3), details }
}

const pick = (keys: readonly string[]) =>
  Array.from({ length: ASKED }, () => keys[Math.floor(Math.random() * keys.length)] ?? '')

function asking(server: ServerProcess, requests: () => readonly LoadRequest[]): Contender {
  return {
    residentMegabytes: server.residentMegabytes,
    async measure(seconds) {
      const asked = requests()
      try {
        return await weigh(server, () => putLoad(server.url, asked, seconds))
      } finally {
        server.forgetOutput()
      }
    },
  }
}
