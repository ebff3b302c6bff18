import { call, newKey } from '../../tests/support/client.ts'
import { startPair } from '../../tests/support/region.ts'
import {
  comparison,
  describeSamples,
  takeTurns,
  turnsSeconds,
  underLoad,
  withRefill,
} from '../support/compare.ts'
import type { Entry, RunOptions } from '../support/entry.ts'
import { figureOf, median } from '../support/figures.ts'
import { ADMIN, type Latchkey, programOf, startLatchkey, verification } from '../support/latchkey.ts'
import { askEach, type LoadRequest, putLoad } from '../support/load.ts'
import { type ServerProcess, startServerProcess } from '../support/process.ts'
import { insertKeys, insertPeople } from '../support/rows.ts'

const REVOCATIONS = 100
const ASKS_EVERY_MS = 2
/** A revocation that takes longer is an error. */
const MOST_MS = 30_000

/** A verifier in a region: its verifications beside home's, and how soon a revocation at home holds there. */
export const regions: Entry = {
  name: 'regions',
  estimateSeconds: (options) => turnsSeconds(withRefill(options)) + 60,
  async run(options) {
    const pair = await startPair(18, 18)
    try {
      const database = Promise.resolve({ url: pair.home.url, drop: async () => {} })
      const env = { RATE_LIMITS: 'create_key=1000000/1m,other=1000000/1m' }
      await using home = await startLatchkey(options, { database, env })
      await using verifier = await startVerifier(options, home.url, pair.region.verifierUrl)
      const keys = await insertKeys(home, await insertPeople(home))
      await pair.arrived()
      const requests = keys.map((key) => verification(home, key, 'VALID'))
      for (const server of [home, verifier]) await askEach(server, requests)
      const { inRegion, atHome } = await takeTurns(
        { inRegion: underLoad(verifier, requests), atHome: underLoad(home, requests) },
        options,
      )
      const [quiet, busy] = [
        await revoke(home, verifier),
        await whileUsed(home, requests, () => revoke(home, verifier)),
      ]
      return [
        comparison('`POST /keys/verify` by a verifier, against home', inRegion, atHome, {
          details: [describeSamples('the verifier', inRegion), describeSamples('home', atHome)],
        }),
        lag('a revocation at home holds in the region', quiet),
        lag('the same while home verifies keys without a pause and writes when each was last used', busy),
      ]
    } finally {
      await pair.end()
    }
  },
}

async function startVerifier(
  { program }: Pick<RunOptions, 'program'>,
  homeUrl: string,
  databaseUrl: string,
): Promise<ServerProcess> {
  return await startServerProcess([...(await programOf(program)), 'serve'], {
    MODE: 'verify',
    DATABASE_URL: databaseUrl,
    HOME_URL: homeUrl,
    PORT: '0',
    PUBLIC_URL: 'http://localhost',
    SHUTDOWN_DELAY_SECONDS: '0',
  })
}

/**
 * Revokes keys at home, one after the other.
 * @returns for each, the milliseconds from the answer at home to the first refusal in the region
 */
async function revoke(home: Latchkey, verifier: ServerProcess): Promise<number[]> {
  const login = await call(home, 'POST /auth/login', { json: ADMIN })
  const admin: string = login.body.access_token
  const lags: number[] = []
  while (lags.length < REVOCATIONS) {
    const { key, id } = await newKey(home, admin)
    const isGood = async () => {
      const answer = await call(verifier, 'POST /keys/verify', { apiKey: home.verifierKey, json: { key } })
      if (answer.status !== 200) throw new Error(`The verifier answered ${answer.status}: ${answer.text}`)
      return answer.body.valid === true
    }
    const wait = async (good: boolean) => {
      const since = performance.now()
      while ((await isGood()) !== good) {
        if (performance.now() - since > MOST_MS) throw new Error('The region does not follow')
        await Bun.sleep(ASKS_EVERY_MS)
      }
      return performance.now() - since
    }
    await wait(true)
    await call(home, `DELETE /keys/revoke/${id}`, { bearer: admin })
    lags.push(await wait(false))
  }
  return lags
}

async function whileUsed<T>(
  home: Latchkey,
  requests: readonly LoadRequest[],
  work: () => Promise<T>,
): Promise<T> {
  let isOn = true
  const load = (async () => {
    while (isOn) await putLoad(home.url, requests, 1)
  })()
  try {
    return await work()
  } finally {
    isOn = false
    await load
  }
}

function lag(what: string, lags: readonly number[]) {
  const sorted = [...lags].sort((a, b) => a - b)
  const p99 = sorted[Math.ceil(sorted.length * 0.99) - 1] ?? Number.NaN
  return {
    what,
    unit: 'ms' as const,
    figure: figureOf(lags),
    budget: null,
    details: [
      `${lags.length} revocations; half within ${median(lags).toFixed(1)} ms, 99 of 100 within ${p99.toFixed(1)} ms`,
    ],
  }
}
