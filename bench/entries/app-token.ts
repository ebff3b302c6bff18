import { atLeast } from '../support/budget.ts'
import {
  comparison,
  describeSamples,
  takeTurns,
  turnsSeconds,
  underLoad,
  withRefill,
} from '../support/compare.ts'
import type { Entry, Finding, RunOptions } from '../support/entry.ts'
import { cacheReads, checkAnswer, hitRatio, type Latchkey, startLatchkey } from '../support/latchkey.ts'
import { askEach, type LoadRequest } from '../support/load.ts'
import { appTokensOf, type BenchApi, insertKeys, insertPeople } from '../support/rows.ts'

/**
 * The two places at which an API is protected, each asked about an app's access token and about an API key. Both are
 * already in the cache.
 */
export const appToken: Entry = {
  name: 'app-token',
  estimateSeconds: (options) => 2 * turnsSeconds(withRefill(options)) + 15,
  async run(options) {
    // The tokens come from one address, by a thousand refreshes.
    const env = { RATE_LIMITS: 'login=1000000/1m,refresh=1000000/1m,other=1000000/1m' }
    await using latchkey = await startLatchkey(options, { env })
    const people = await insertPeople(latchkey)
    const { api, tokens } = await appTokensOf(latchkey, people)
    const keys = await insertKeys(latchkey, people, tokens.length)
    const ask = places(latchkey, api)
    return [
      await compareCredentials(
        latchkey,
        '`GET /forward-auth?resource=`',
        tokens.map(ask.forwardAuth.byToken),
        keys.map(ask.forwardAuth.byKey),
        options,
      ),
      await compareCredentials(
        latchkey,
        '`POST /verify`',
        tokens.map(ask.verify),
        keys.map(ask.verify),
        options,
      ),
    ]
  },
}

/** How each place is asked. */
function places({ verifierKey }: Latchkey, { identifier, slug }: BenchApi) {
  const path = `/forward-auth?resource=${slug}&scope=read`
  return {
    forwardAuth: {
      byToken: (token: string): LoadRequest => ({ path, headers: { Authorization: `Bearer ${token}` } }),
      byKey: (key: string): LoadRequest => ({ path, headers: { 'X-API-Key': key } }),
    },
    verify: (credential: string): LoadRequest => ({
      path: '/verify',
      method: 'POST',
      headers: { 'X-API-Key': verifierKey },
      json: { credential, resource: identifier, scopes: ['read'] },
      expected: '"code":"VALID"',
    }),
  }
}

async function compareCredentials(
  latchkey: Latchkey,
  where: string,
  byToken: LoadRequest[],
  byKey: LoadRequest[],
  options: RunOptions,
): Promise<Finding> {
  for (const requests of [byToken, byKey]) {
    await checkAnswer(latchkey, requests)
    await askEach(latchkey, requests)
  }
  const contenders = { token: underLoad(latchkey, byToken), key: underLoad(latchkey, byKey) }
  const readsBefore = await cacheReads(latchkey)
  const { token, key } = await takeTurns(contenders, options)
  const hits = hitRatio(await cacheReads(latchkey), readsBefore)
  return comparison(
    `${where} by an app’s token, against the same by API key; ${byToken.length} of each`,
    token,
    key,
    {
      budgetOf: (ratio) => atLeast(ratio, 0.9, 1),
      details: [
        describeSamples('by token', token, contenders.token),
        describeSamples('by key', key, contenders.key),
        `found in the cache: ${(100 * hits).toFixed(1)} %`,
      ],
    },
  )
}
