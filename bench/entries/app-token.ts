import { atLeast } from '../support/budget.ts'
import {
  type Contender,
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
import { accessTokensOf, appTokensOf, insertKeys, insertPeople } from '../support/rows.ts'

/**
 * The two places where an API is protected, asked about apps' access tokens, and in turns about API keys and about
 * people's own access tokens. All are already in the cache.
 */
export const appToken: Entry = {
  name: 'app-token',
  estimateSeconds: (options) => 2 * turnsSeconds(withRefill(options), 3) + 15,
  async run(options) {
    // The tokens come from one address, by a thousand refreshes.
    const env = { RATE_LIMITS: 'login=1000000/1m,refresh=1000000/1m,other=1000000/1m' }
    await using latchkey = await startLatchkey(options, { env })
    const people = await insertPeople(latchkey)
    const { api, tokens } = await appTokensOf(latchkey, people)
    const keys = await insertKeys(latchkey, people, tokens.length)
    const own = await accessTokensOf(latchkey, people)

    const protectedBy = `/forward-auth?resource=${api.slug}&scope=read`
    const bearing = (path: string) => (token: string) => ({
      path,
      headers: { Authorization: `Bearer ${token}` },
    })
    const verifying = (resource: string | undefined) => (credential: string) => ({
      path: '/verify',
      method: 'POST' as const,
      headers: { 'X-API-Key': latchkey.verifierKey },
      json: { credential, resource, scopes: ['read'] },
      expected: '"code":"VALID"',
    })
    return [
      ...(await compareCredentials(latchkey, '`GET /forward-auth`', options, {
        app: tokens.map(bearing(protectedBy)),
        key: keys.map((key) => ({ path: protectedBy, headers: { 'X-API-Key': key } })),
        // A person's own token is good where no resource is named.
        own: own.map(bearing('/forward-auth?scope=read')),
      })),
      ...(await compareCredentials(latchkey, '`POST /verify`', options, {
        app: tokens.map(verifying(api.identifier)),
        key: keys.map(verifying(api.identifier)),
        own: own.map(verifying(undefined)),
      })),
    ]
  },
}

/** Whose credential is presented: an app's for a person, an API key, a person's own. */
type Kind = 'app' | 'key' | 'own'

async function compareCredentials(
  latchkey: Latchkey,
  where: string,
  options: RunOptions,
  requests: Record<Kind, LoadRequest[]>,
): Promise<Finding[]> {
  for (const each of Object.values(requests)) {
    await checkAnswer(latchkey, each)
    await askEach(latchkey, each)
  }
  const contenders: Record<Kind, Contender> = {
    app: underLoad(latchkey, requests.app),
    key: underLoad(latchkey, requests.key),
    own: underLoad(latchkey, requests.own),
  }
  const readsBefore = await cacheReads(latchkey)
  const samples = await takeTurns(contenders, options)
  const hits = hitRatio(await cacheReads(latchkey), readsBefore)
  const details = [
    describeSamples('an app’s token', samples.app, contenders.app),
    describeSamples('an API key', samples.key, contenders.key),
    describeSamples('a person’s token', samples.own, contenders.own),
    `found in the cache: ${(100 * hits).toFixed(1)} %`,
  ]
  const what = `${where} by an app’s access token, against`
  const count = `${requests.app.length} of each`
  return [
    comparison(`${what} the same by API key; ${count}`, samples.app, samples.key, {
      budgetOf: (ratio) => atLeast(ratio, 0.9, 1),
      details,
    }),
    comparison(`${what} a person’s own; ${count}`, samples.app, samples.own, { details: [] }),
  ]
}
