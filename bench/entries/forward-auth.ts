import { atLeast } from '../support/budget.ts'
import { compareServers, comparisonSeconds } from '../support/compare.ts'
import type { Entry } from '../support/entry.ts'
import { checkAnswer, startLatchkey } from '../support/latchkey.ts'
import { startProgram } from '../support/programs.ts'
import { insertKeys, insertPeople } from '../support/rows.ts'

const WHAT = '`GET /forward-auth` by API key, against a bare Bun route'
const PATH = '/forward-auth'

/** A proxy asks about a request with an API key. The keys are already in the cache. */
export const forwardAuth: Entry = {
  name: 'forward-auth',
  estimateSeconds: comparisonSeconds,
  async run(options) {
    await using latchkey = await startLatchkey(options)
    const keys = await insertKeys(latchkey, await insertPeople(latchkey))
    const requests = keys.map((key) => ({ path: `${PATH}?scope=read`, headers: { 'X-API-Key': key } }))
    await checkAnswer(latchkey, requests)
    await using yardstick = await startProgram('bare-route', [PATH])
    const budgetOf = (ratio: number) => atLeast(ratio, 0.5, 0.65)
    return await compareServers(WHAT, { latchkey, yardstick }, requests, budgetOf, options)
  },
}
