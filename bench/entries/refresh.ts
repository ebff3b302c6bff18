import { atLeast } from '../support/budget.ts'
import {
  type Contender,
  comparison,
  describeSamples,
  takeTurns,
  turnsSeconds,
  underLoad,
} from '../support/compare.ts'
import type { Entry } from '../support/entry.ts'
import { type Latchkey, startLatchkey } from '../support/latchkey.ts'
import type { ServerProcess } from '../support/process.ts'
import { startProgram } from '../support/programs.ts'
import {
  insertPeople,
  insertSessions,
  type NewPerson,
  type NewSession,
  refreshing,
  refreshTokensOf,
} from '../support/rows.ts'

const WHAT = '`POST /auth/refresh`, against bare Elysia with the raw UPDATE and one ES256 signature'

/**
 * A refresh compared with its two indispensable parts, the UPDATE and the signature. The yardstick is a
 * server too, because the cost of an HTTP request is not part of a refresh.
 */
export const refresh: Entry = {
  name: 'refresh',
  estimateSeconds: (options) => turnsSeconds(options) + 4,
  async run(options) {
    await using latchkey = await startLatchkey(options)
    await using bare = await startProgram('bare-refresh', [latchkey.databaseUrl])
    const people = await insertPeople(latchkey)
    const bareTokens = (sessions: readonly NewSession[]) =>
      sessions.map(({ id, salt }) => `${id}.0.${Buffer.from(salt).toString('hex')}`)
    const contenders = {
      subject: rotating(latchkey, people, latchkey, (sessions) => refreshTokensOf(latchkey, sessions)),
      yardstick: rotating(latchkey, people, bare, bareTokens),
    }
    const { subject, yardstick } = await takeTurns(contenders, options)
    const details = [
      describeSamples('Latchkey', subject, contenders.subject),
      describeSamples('the yardstick', yardstick, contenders.yardstick),
    ]
    const budgetOf = (ratio: number) => atLeast(ratio, 0.55, 0.7)
    return [comparison(`${WHAT}; ${people.length} people`, subject, yardstick, { budgetOf, details })]
  },
}

/** Each measurement has one session for each person. The token in every answer is sent in a later request. */
function rotating(
  latchkey: Latchkey,
  people: readonly NewPerson[],
  server: ServerProcess,
  tokensOf: (sessions: readonly NewSession[]) => string[],
): Contender {
  return {
    residentMegabytes: server.residentMegabytes,
    async measure(seconds) {
      const requests = tokensOf(await insertSessions(latchkey, people)).map(refreshing)
      return await underLoad(server, requests, { isChain: true }).measure(seconds)
    },
  }
}
