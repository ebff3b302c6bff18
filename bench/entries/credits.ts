import { atLeast } from '../support/budget.ts'
import { describeSamples, paceOf, takeTurns, turnsSeconds, underLoad } from '../support/compare.ts'
import type { Entry } from '../support/entry.ts'
import { startLatchkey, verification } from '../support/latchkey.ts'
import { askEach } from '../support/load.ts'
import { startProgram } from '../support/programs.ts'
import { insertKeys, insertPeople } from '../support/rows.ts'

const KEYS = 10
const CREDITS = 1_000_000_000_000
const WHAT =
  '`POST /keys/verify` of ten keys of one owner with credits, against one row that is updated once a use'

/** Uses that are charged to one owner. Each side has an owner of its own, so that neither waits for the other's lock. */
export const credits: Entry = {
  name: 'credits',
  estimateSeconds: (options) => turnsSeconds(options) + 8,
  async run(options) {
    await using latchkey = await startLatchkey(options)
    const [own, bares] = await insertPeople(latchkey)
    if (!own || !bares) throw new Error('There are no people')
    await latchkey.sql`
      INSERT INTO latchkey.owner_credits (owner_id, user_id, remaining)
      SELECT id, id, ${CREDITS} FROM unnest(${[own.id, bares.id]}::uuid[]) AS id`
    const keys = await insertKeys(latchkey, [own], KEYS)
    const requests = keys.map((key) => verification(latchkey, key))
    await askEach(latchkey, requests)
    await using bare = await startProgram('bare-credits', [latchkey.databaseUrl, bares.id])
    const contenders = { subject: underLoad(latchkey, requests), yardstick: underLoad(bare, requests) }
    const { subject, yardstick } = await takeTurns(contenders, options)
    const { byTime } = paceOf(subject, yardstick)
    if (byTime === null) throw new Error('Nothing was measured')
    return [
      {
        what: WHAT,
        unit: 'ratio',
        // By time: the question is how long uses wait for each other.
        figure: byTime,
        budget: atLeast(byTime.middle, 10, 10),
        details: [
          describeSamples('Latchkey', subject, contenders.subject),
          describeSamples('the yardstick', yardstick, contenders.yardstick),
        ],
      },
    ]
  },
}
