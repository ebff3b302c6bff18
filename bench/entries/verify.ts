import { announcedRequests } from '../support/announcement.ts'
import { atLeast } from '../support/budget.ts'
import {
  type Contender,
  compareServers,
  comparison,
  comparisonSeconds,
  describeSamples,
  takeTurns,
  turnsSeconds,
  underLoad,
  withRefill,
} from '../support/compare.ts'
import type { Entry, RunOptions } from '../support/entry.ts'
import { checkAnswer, startLatchkey, verification } from '../support/latchkey.ts'
import { askEach } from '../support/load.ts'
import { makeDatabase } from '../support/postgres.ts'
import { startProgram } from '../support/programs.ts'
import { insertKeys, insertPeople, KEYS, PEOPLE } from '../support/rows.ts'

const WHAT = '`POST /keys/verify`, against a bare Elysia POST with the same body and schema'

/** Another service asks about keys. Caller and keys are already in the cache. */
export const verify: Entry = {
  name: 'verify',
  estimateSeconds: comparisonSeconds,
  async run(options) {
    await using pair = await startPair(options)
    return await compareServers(WHAT, pair, pair.requests, (ratio) => atLeast(ratio, 0.45, 0.55), options)
  },
}

/** The same question to other products, in the same run on the same PostgreSQL (docs/decisions/0019). */
export const peers: Entry = {
  name: 'peers',
  estimateSeconds: (options) => turnsSeconds(withRefill(options), 6) + 60,
  async run(options) {
    await using stack = new AsyncDisposableStack()
    const { latchkey, yardstick, requests } = stack.use(await startPair(options))
    const start = async (name: string, ...args: string[]): Promise<Contender> => {
      const server = stack.use(await startProgram(name, args))
      const questions = announcedRequests(server)
      await askEach(server, questions)
      return underLoad(server, questions)
    }
    // A database, the number of keys, and the number of people who own them.
    const setting = async () => [(await makeDatabase()).url, String(KEYS), String(PEOPLE)]
    const others: Record<string, Contender> = {
      'Latchkey, `POST /keys/verify`': underLoad(latchkey, requests),
      'Better Auth, its defaults': await start('better-auth', 'database', ...(await setting())),
      'Better Auth, keys in memory': await start('better-auth', 'memory', ...(await setting())),
      'Hono, one query a request': await start('hono', ...(await setting())),
      'oidc-provider, introspection, in memory': await start('oidc-provider', String(KEYS)),
    }
    await askEach(latchkey, requests)
    const contenders = { ...others, bare: underLoad(yardstick, requests) }
    const { bare, ...samples } = await takeTurns<string>(contenders, options)
    return Object.entries(samples).map(([name, own]) =>
      comparison(name, own, bare ?? [], { details: [describeSamples(name, own, others[name])] }),
    )
  },
}

/** Starts Latchkey with its keys, and bare Elysia that always gives one of Latchkey's answers. */
async function startPair(options: RunOptions) {
  const stack = new AsyncDisposableStack()
  try {
    const latchkey = stack.use(await startLatchkey(options))
    const keys = await insertKeys(latchkey, await insertPeople(latchkey))
    const requests = keys.map((key) => verification(latchkey, key))
    const { text } = await checkAnswer(latchkey, requests)
    const yardstick = stack.use(await startProgram('bare-verify', [text]))
    return { latchkey, yardstick, requests, [Symbol.asyncDispose]: () => stack.disposeAsync() }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}
