import { atMost } from '../support/budget.ts'
import { comparison, describeSamples, takeTurns, turnsSeconds, underLoad } from '../support/compare.ts'
import type { Entry } from '../support/entry.ts'
import { cacheReads, checkAnswer, hitRatio, startLatchkey } from '../support/latchkey.ts'
import { askEach, type LoadRequest, putLoad } from '../support/load.ts'
import { megabytesOf, type ServerProcess } from '../support/process.ts'
import { startProgram } from '../support/programs.ts'
import { insertKeys, insertPeople } from '../support/rows.ts'

const MANY = 1_000_000
/** The default of CACHE_MAX_CREDENTIALS. */
const CACHED = 100_000
/** Requests of the Zipf-distributed list: enough that a list asked twice is no part of the hits. */
const ASKED = 300_000
/** The garbage collector runs some time after a load ends. */
const SETTLE_MS = 30_000

/** The size of an entry of the cache, and what the cache is worth where a few of a million keys are asked most. */
export const cache: Entry = {
  name: 'cache',
  estimateSeconds: (options) => turnsSeconds(options) + 3 * options.seconds + 240,
  async run(options) {
    await using latchkey = await startLatchkey(options)
    const keys = await insertKeys(latchkey, await insertPeople(latchkey), MANY)
    const requests = keys.map(asking)
    const { path, text } = await checkAnswer(latchkey, requests)
    await using filled = await latchkey.startAnother()
    const bytes = await weighEntries(filled, requests.slice(0, CACHED), options.seconds)

    await using yardstick = await startProgram('bare', [path, text])
    const zipf = Array.from({ length: ASKED }, () => requests[rankOf(MANY)] ?? asking(''))
    const contenders = { latchkey: underLoad(latchkey, zipf), yardstick: underLoad(yardstick, zipf) }
    await putLoad(latchkey.url, zipf, 3 * options.seconds)
    const before = await cacheReads(latchkey)
    const samples = await takeTurns(contenders, options)
    const hits = hitRatio(await cacheReads(latchkey), before)
    return [
      {
        what: `each cached credential: what ${CACHED} of them add`,
        unit: 'kB',
        figure: { middle: bytes, least: bytes, greatest: bytes },
        budget: atMost(bytes, 1.2, ' kB', 0.6),
        details: [],
      },
      comparison(
        'a protected route by keys of a Zipf-distributed million, against bare Elysia',
        samples.latchkey,
        samples.yardstick,
        {
          details: [
            `found in the cache: ${(100 * hits).toFixed(1)} %`,
            describeSamples('Latchkey', samples.latchkey, contenders.latchkey),
            describeSamples('the yardstick', samples.yardstick, contenders.yardstick),
          ],
        },
      ),
    ]
  },
}

const asking = (key: string): LoadRequest => ({
  path: '/protected/service-only',
  headers: { 'X-API-Key': key },
})

/** A rank below `count`, at random: the rank r comes as often as 1 / (r + 1) of the first. */
const rankOf = (count: number) => Math.floor(count ** Math.random()) - 1

/** What one entry adds to the resident memory of an instance that is warm, in kB. */
async function weighEntries(
  instance: ServerProcess,
  requests: readonly LoadRequest[],
  seconds: number,
): Promise<number> {
  await putLoad(instance.url, requests.slice(0, 1), 3 * seconds)
  instance.forgetOutput()
  await Bun.sleep(SETTLE_MS)
  const before = megabytesOf(instance)
  await askEach(instance, requests)
  instance.forgetOutput()
  await Bun.sleep(SETTLE_MS)
  return ((megabytesOf(instance) - before) * 1000) / requests.length
}
