import { call } from '../../tests/support/client.ts'
import { atMost } from '../support/budget.ts'
import type { Entry, Finding, Program, RunOptions } from '../support/entry.ts'
import { figureOf } from '../support/figures.ts'
import { type Latchkey, startLatchkey, verification } from '../support/latchkey.ts'
import { type LoadRequest, putLoad } from '../support/load.ts'
import type { ServerProcess } from '../support/process.ts'
import { startProgram } from '../support/programs.ts'
import { insertKeys, keyNumber } from '../support/rows.ts'

const PROGRAMS: readonly Program[] = ['binary', 'source']
const AFTER_LOAD_MB = 90
/** As many as the cache of credentials holds. */
const CACHED_KEYS = 10_000
const UNKNOWN_KEYS = 100_000
const CLIENTS = 32
/** Starts of each; memory differs little from one to the next. */
const MOST_ROUNDS = 3

/** In the order in which they come to one process. */
const MOMENTS = [
  'at the start',
  'after load',
  `with ${CACHED_KEYS} keys in the cache`,
  `after ${UNKNOWN_KEYS} unknown keys`,
] as const

/** What it holds of the machine's memory with a `DATABASE_URL`, and after what. */
export const memory: Entry = {
  name: 'memory',
  estimateSeconds: ({ rounds, seconds }) => Math.min(rounds, MOST_ROUNDS) * (10 * seconds + 35) + 40,
  async run(options) {
    const rounds = Math.min(options.rounds, MOST_ROUNDS)
    const findings: Finding[] = []
    for (const program of PROGRAMS) {
      const samples: number[][] = []
      while (samples.length < rounds) samples.push(await followLatchkey({ ...options, program }))
      findings.push(...MOMENTS.map((moment, at) => row(`resident ${moment}, ${program}`, samples, at)))
    }
    const bare: number[][] = []
    while (bare.length < rounds) bare.push(await followBare(options))
    findings.push(
      row('resident at the start, bare Elysia', bare, 0),
      row('resident after load, bare Elysia', bare, 1),
    )
    return findings
  },
}

function row(what: string, samples: readonly number[][], at: number): Finding {
  const figure = figureOf(samples.map((moments) => moments[at] ?? Number.NaN))
  const isBudgeted = at === 1 && !what.includes('bare')
  const budget = isBudgeted ? atMost(figure.middle, AFTER_LOAD_MB, ' MB') : null
  return { what, unit: 'MB', figure, budget, details: [] }
}

/** Follows a second instance: the first has hashed passwords to set the scene, which leaves its mark. */
async function followLatchkey(options: RunOptions): Promise<number[]> {
  await using latchkey = await startLatchkey(options)
  await insertKeys(latchkey, CACHED_KEYS)
  await using followed = await latchkey.startAnother()
  const megabytes = [megabytesOf(followed)]
  await load(followed, { path: '/protected/service-only', headers: { 'X-API-Key': latchkey.key } }, options)
  megabytes.push(megabytesOf(followed))
  const ask = { ...latchkey, url: followed.url }
  await askAbout(ask, CACHED_KEYS, keyNumber, 'VALID')
  megabytes.push(megabytesOf(followed))
  await askAbout(ask, UNKNOWN_KEYS, (number) => `unknown-${number}`, 'NOT_FOUND')
  megabytes.push(megabytesOf(followed))
  return megabytes
}

async function followBare(options: RunOptions): Promise<number[]> {
  await using bare = await startProgram('bare', ['/', '{"message":"Hello"}'])
  const start = megabytesOf(bare)
  await load(bare, { path: '/' }, options)
  return [start, megabytesOf(bare)]
}

async function load(server: ServerProcess, request: LoadRequest, { seconds }: RunOptions): Promise<void> {
  await putLoad(server.url, request, 3 * seconds)
  server.forgetOutput()
}

/** Asks about keys 1 to `count`, each once: in a process that counts, which the generator does not. */
async function askAbout(
  latchkey: Pick<Latchkey, 'url' | 'verifierKey'>,
  count: number,
  keyOf: (number: number) => string,
  code: 'VALID' | 'NOT_FOUND',
): Promise<void> {
  let asked = 0
  const ask = async () => {
    while (asked < count) {
      asked += 1
      const request = verification({ ...latchkey, key: keyOf(asked) })
      const { body } = await call(latchkey, `POST ${request.path}`, request)
      if (body.code !== code) throw new Error(`A key is ${body.code}, not ${code}`)
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, ask))
}

function megabytesOf(server: ServerProcess): number {
  const megabytes = server.residentMegabytes()
  if (megabytes === null) throw new Error('This system does not tell how much memory a process holds')
  return megabytes
}
