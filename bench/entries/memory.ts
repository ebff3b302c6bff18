import pLimit from 'p-limit'
import { atMost } from '../support/budget.ts'
import type { Entry, Finding, Program, RunOptions } from '../support/entry.ts'
import { figureOf } from '../support/figures.ts'
import { startLatchkey, verification } from '../support/latchkey.ts'
import { askEach, type LoadRequest, putLoad } from '../support/load.ts'
import { megabytesOf, type ServerProcess } from '../support/process.ts'
import { startProgram } from '../support/programs.ts'
import { insertKeys, insertPeople, KEYS } from '../support/rows.ts'

const PROGRAMS: readonly Program[] = ['binary', 'source']
/** The garbage collector runs some time after a load ends. */
const SETTLE_MS = 30_000
const UNKNOWN_KEYS = 100_000
/** The number of starts. Memory differs little between them. */
const MOST_ROUNDS = 3

/** In the order in which one process goes through them. */
const MOMENTS = [
  'at the start',
  'after load with one key',
  '30 s after load with one key',
  `after load with ${KEYS} keys`,
  `30 s after load with ${KEYS} keys`,
  `after ${UNKNOWN_KEYS} unknown keys`,
] as const
const SETTLED_WITH_ONE = 2
const SETTLED_WITH_MANY = 4

/** Runs one task at a time. */
type Turns = ReturnType<typeof pLimit>

/** The resident memory with a `DATABASE_URL`, after different loads. */
export const memory: Entry = {
  name: 'memory',
  estimateSeconds: ({ rounds, seconds }) => Math.min(rounds, MOST_ROUNDS) * (15 * seconds + 80) + 30,
  async run(options) {
    const rounds = Math.min(options.rounds, MOST_ROUNDS)
    const samples: Record<Program, number[][]> = { binary: [], source: [] }
    const bare: number[][] = []
    for (let round = 0; round < rounds; round++) {
      // While one instance settles, the other is under load. That halves the time.
      const turns = pLimit(1)
      const following = PROGRAMS.map((program) => followLatchkey({ ...options, program }, turns))
      const [binary = [], source = []] = await Promise.all(following)
      samples.binary.push(binary)
      samples.source.push(source)
      bare.push(await followBare(options))
    }
    const column = (program: Program, at: number) =>
      samples[program].map((moments) => moments[at] ?? Number.NaN)
    const before = column('binary', SETTLED_WITH_ONE)
    const settled = column('binary', SETTLED_WITH_MANY)
    return [
      ...PROGRAMS.flatMap((program) =>
        MOMENTS.map((moment, at) =>
          row(
            `resident ${moment}, ${program}`,
            'MB',
            column(program, at),
            program === 'binary' && at === SETTLED_WITH_MANY ? { most: 100, goal: 90 } : null,
          ),
        ),
      ),
      row(
        `each cached credential, binary: what ${KEYS} of them add`,
        'kB',
        settled.map((megabytes, round) => ((megabytes - (before[round] ?? Number.NaN)) * 1000) / KEYS),
        { most: 1.2, goal: 0.6 },
      ),
      ...['at the start', 'after load'].map((moment, at) =>
        row(
          `resident ${moment}, bare Elysia`,
          'MB',
          bare.map((moments) => moments[at] ?? Number.NaN),
        ),
      ),
    ]
  },
}

function row(
  what: string,
  unit: 'MB' | 'kB',
  values: readonly number[],
  bound: { most: number; goal: number } | null = null,
): Finding {
  const figure = figureOf(values)
  const budget = bound && atMost(figure.middle, bound.most, ` ${unit}`, bound.goal)
  return { what, unit, figure, budget, details: [] }
}

/**
 * Measures a second instance. The first one hashed passwords during the preparation, which raised its memory
 * for good.
 */
async function followLatchkey(options: RunOptions, turns: Turns): Promise<number[]> {
  await using latchkey = await startLatchkey(options)
  const keys = await insertKeys(latchkey, await insertPeople(latchkey))
  const requests = keys.map((key) => ({ path: '/protected/service-only', headers: { 'X-API-Key': key } }))
  await using followed = await latchkey.startAnother()
  const megabytes = [megabytesOf(followed)]
  for (const asked of [requests.slice(0, 1), requests]) {
    megabytes.push(await turns(() => loadAndWeigh(followed, asked, options)))
    await Bun.sleep(SETTLE_MS)
    megabytes.push(megabytesOf(followed))
  }
  const unknown = Array.from({ length: UNKNOWN_KEYS }, (_, number) =>
    verification(latchkey, `unknown-${number}`, 'NOT_FOUND'),
  )
  await turns(() => askEach(followed, unknown))
  megabytes.push(megabytesOf(followed))
  return megabytes
}

async function followBare(options: RunOptions): Promise<number[]> {
  await using bare = await startProgram('bare', ['/', '{"message":"Hello"}'])
  return [megabytesOf(bare), await loadAndWeigh(bare, [{ path: '/' }], options)]
}

async function loadAndWeigh(
  server: ServerProcess,
  requests: readonly LoadRequest[],
  { seconds }: RunOptions,
): Promise<number> {
  await putLoad(server.url, requests, 3 * seconds)
  server.forgetOutput()
  return megabytesOf(server)
}
