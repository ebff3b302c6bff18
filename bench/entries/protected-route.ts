import { atLeast, type Budget } from '../support/budget.ts'
import { comparison, describeSamples, takeTurns, turnsSeconds, underLoad } from '../support/compare.ts'
import type { Entry, Finding, RunOptions } from '../support/entry.ts'
import { checkAnswer, type Latchkey, startLatchkey } from '../support/latchkey.ts'
import type { LoadRequest } from '../support/load.ts'
import { startProgram } from '../support/programs.ts'

/** A protected route by API key: the key is known, the cache is warm. */
export const apiKey: Entry = {
  name: 'api-key',
  estimateSeconds: (options) => turnsSeconds(options) + 3,
  run: (options) =>
    compareRoute(
      '`GET /protected/service-only` by API key, against bare Elysia',
      ({ key }) => ({ path: '/protected/service-only', headers: { 'X-API-Key': key } }),
      (ratio) => atLeast(ratio, 0.5, 0.6),
      options,
    ),
}

/** A protected route by ES256 access token: the token was verified before, the cache is warm. */
export const jwt: Entry = {
  name: 'jwt',
  estimateSeconds: (options) => turnsSeconds(options) + 3,
  run: (options) =>
    compareRoute(
      '`GET /protected/user-only` by ES256 access token, against bare Elysia',
      ({ person }) => ({
        path: '/protected/user-only',
        headers: { Authorization: `Bearer ${person.access}` },
      }),
      (ratio) => atLeast(ratio, 0.55, 0.65),
      options,
    ),
}

/** Compares a protected route with bare Elysia that is asked the same and answers the same body. */
async function compareRoute(
  what: string,
  requestOf: (latchkey: Latchkey) => LoadRequest,
  budgetOf: (ratio: number) => Budget,
  options: RunOptions,
): Promise<Finding[]> {
  await using latchkey = await startLatchkey(options)
  const request = requestOf(latchkey)
  const body = await checkAnswer(latchkey, request)
  await using bare = await startProgram('bare', [request.path, body])
  const contenders = { subject: underLoad(latchkey, request), yardstick: underLoad(bare, request) }
  const { subject, yardstick } = await takeTurns(contenders, options)
  const details = [
    describeSamples('Latchkey', subject, contenders.subject),
    describeSamples('bare Elysia', yardstick, contenders.yardstick),
  ]
  return [comparison(what, subject, yardstick, { budgetOf, details })]
}
