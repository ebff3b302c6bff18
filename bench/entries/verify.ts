import { announcedRequest } from '../support/announcement.ts'
import { atLeast } from '../support/budget.ts'
import {
  type Contender,
  comparison,
  describeSamples,
  takeTurns,
  turnsSeconds,
  underLoad,
} from '../support/compare.ts'
import type { Entry, RunOptions } from '../support/entry.ts'
import { checkAnswer, startLatchkey, verification } from '../support/latchkey.ts'
import { makeDatabase } from '../support/postgres.ts'
import { startProgram } from '../support/programs.ts'

const WHAT = '`POST /keys/verify`, against a bare Elysia POST with the same body and schema'

/** Another service asks about a key: caller and key are known, the cache is warm. */
export const verify: Entry = {
  name: 'verify',
  estimateSeconds: (options) => turnsSeconds(options) + 3,
  async run(options) {
    await using pair = await startPair(options)
    const { contenders } = pair
    const { latchkey, bare } = await takeTurns(contenders, options)
    const details = [
      describeSamples('Latchkey', latchkey, contenders.latchkey),
      describeSamples('bare Elysia', bare, contenders.bare),
    ]
    return [comparison(WHAT, latchkey, bare, { budgetOf: (ratio) => atLeast(ratio, 0.45), details })]
  },
}

/** The same question put to what others use, in the same run, on the same PostgreSQL. */
export const peers: Entry = {
  name: 'peers',
  estimateSeconds: (options) => turnsSeconds(options, 6) + 8,
  async run(options) {
    await using stack = new AsyncDisposableStack()
    const { contenders } = stack.use(await startPair(options))
    const start = async (name: string, ...args: string[]): Promise<Contender> => {
      const server = stack.use(await startProgram(name, args))
      return underLoad(server, announcedRequest(server))
    }
    const databaseUrl = async () => (await makeDatabase()).url
    const others: Record<string, Contender> = {
      'Latchkey, `POST /keys/verify`': contenders.latchkey,
      'Better Auth, its defaults': await start('better-auth', 'database', await databaseUrl()),
      'Better Auth, keys in memory': await start('better-auth', 'memory', await databaseUrl()),
      'Hono, one query a request': await start('hono', await databaseUrl()),
      'oidc-provider, introspection, in memory': await start('oidc-provider'),
    }
    const { bare, ...samples } = await takeTurns<string>({ ...others, bare: contenders.bare }, options)
    return Object.entries(samples).map(([name, own]) =>
      comparison(name, own, bare ?? [], { details: [describeSamples(name, own, others[name])] }),
    )
  },
}

/** Latchkey, and bare Elysia that gives its answer. */
async function startPair(options: RunOptions) {
  const stack = new AsyncDisposableStack()
  try {
    const latchkey = stack.use(await startLatchkey(options))
    const request = verification(latchkey)
    const bare = stack.use(await startProgram('bare-verify', [await checkAnswer(latchkey, request)]))
    const contenders = { latchkey: underLoad(latchkey, request), bare: underLoad(bare, request) }
    return { contenders, [Symbol.asyncDispose]: () => stack.disposeAsync() }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}
