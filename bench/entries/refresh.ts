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
import { insertSessions, type NewSession, refreshTokensOf, writeBodies } from '../support/rows.ts'
import { temporaryFile } from '../support/temporary-file.ts'

/** Twice as many as there are connections, so that none waits for a token. */
const SESSIONS = 128
const WHAT = '`POST /auth/refresh`, against bare Elysia with the raw UPDATE and one ES256 signature'
const REQUEST = { path: '/auth/refresh', method: 'POST' } as const

/**
 * A refresh, against the two things that it cannot do without. The yardstick is a server too: what it costs to be asked
 * over HTTP is no part of a refresh, and a loop without it would measure the framework and not Latchkey.
 */
export const refresh: Entry = {
  name: 'refresh',
  estimateSeconds: (options) => turnsSeconds(options) + 4,
  async run(options) {
    const limits = { RATE_LIMITS: 'refresh=1000000/1m' }
    await using latchkey = await startLatchkey(options, { env: limits })
    await using bare = await startProgram('bare-refresh', [latchkey.databaseUrl])
    const bareTokens = (sessions: readonly NewSession[]) =>
      sessions.map(({ id, salt }) => `${id}.0.${Buffer.from(salt).toString('hex')}`)
    const contenders = {
      subject: rotating(latchkey, latchkey, (sessions) => refreshTokensOf(latchkey, sessions)),
      yardstick: rotating(latchkey, bare, bareTokens),
    }
    const { subject, yardstick } = await takeTurns(contenders, options)
    const details = [
      describeSamples('Latchkey', subject, contenders.subject),
      describeSamples('bare Elysia', yardstick, contenders.yardstick),
    ]
    return [comparison(WHAT, subject, yardstick, { budgetOf: (ratio) => atLeast(ratio, 0.7), details })]
  },
}

/** Each measurement has sessions of its own; every answer's token is the next request's. */
function rotating(
  latchkey: Latchkey,
  server: ServerProcess,
  tokensOf: (sessions: readonly NewSession[]) => string[],
): Contender {
  return {
    residentMegabytes: server.residentMegabytes,
    async measure(seconds) {
      using bodies = temporaryFile()
      const tokens = tokensOf(await insertSessions(latchkey, SESSIONS))
      writeBodies(
        bodies.path,
        tokens.map((refresh_token) => ({ refresh_token })),
      )
      return await underLoad(server, REQUEST, { bodies: bodies.path, isChain: true }).measure(seconds)
    },
  }
}
