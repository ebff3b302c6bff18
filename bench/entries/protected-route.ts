import { atLeast } from '../support/budget.ts'
import { compareServers, comparisonSeconds } from '../support/compare.ts'
import type { Entry, Finding, RunOptions } from '../support/entry.ts'
import { checkAnswer, type Latchkey, startLatchkey } from '../support/latchkey.ts'
import type { LoadRequest } from '../support/load.ts'
import { startProgram } from '../support/programs.ts'
import { accessTokensOf, insertKeys, insertPeople } from '../support/rows.ts'

/** A protected route with an API key. The keys are already in the cache. */
export const apiKey: Entry = {
  name: 'api-key',
  estimateSeconds: comparisonSeconds,
  run: (options) =>
    compareRoute(
      '`GET /protected/service-only` by API key, against bare Elysia',
      async (latchkey) => {
        const keys = await insertKeys(latchkey, await insertPeople(latchkey))
        return keys.map((key) => ({ path: '/protected/service-only', headers: { 'X-API-Key': key } }))
      },
      options,
    ),
}

/** A protected route with an ES256 access token. The tokens are already in the cache. */
export const jwt: Entry = {
  name: 'jwt',
  estimateSeconds: comparisonSeconds,
  run: (options) =>
    compareRoute(
      '`GET /protected/user-only` by ES256 access token, against bare Elysia',
      async (latchkey) => {
        const tokens = await accessTokensOf(latchkey, await insertPeople(latchkey))
        return tokens.map((token) => ({
          path: '/protected/user-only',
          headers: { Authorization: `Bearer ${token}` },
        }))
      },
      options,
    ),
}

/**
 * Compares a protected route with bare Elysia, which receives the same requests and always answers the first
 * body.
 */
async function compareRoute(
  what: string,
  requestsOf: (latchkey: Latchkey) => Promise<LoadRequest[]>,
  options: RunOptions,
): Promise<Finding[]> {
  await using latchkey = await startLatchkey(options)
  const requests = await requestsOf(latchkey)
  const { path, text } = await checkAnswer(latchkey, requests)
  await using yardstick = await startProgram('bare', [path, text])
  const budgetOf = (ratio: number) => atLeast(ratio, 0.5, 0.6)
  return await compareServers(what, { latchkey, yardstick }, requests, budgetOf, options)
}
