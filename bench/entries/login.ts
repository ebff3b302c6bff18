import { availableParallelism } from 'node:os'
import { atLeast, atMost } from '../support/budget.ts'
import {
  type Contender,
  describeSamples,
  paceOf,
  takeTurns,
  turnsSeconds,
  weigh,
} from '../support/compare.ts'
import type { Entry } from '../support/entry.ts'
import { figureOf, median } from '../support/figures.ts'
import { checkAnswer, type Latchkey, startLatchkey } from '../support/latchkey.ts'
import { type LoadRequest, putLoad } from '../support/load.ts'
import type { ServerProcess } from '../support/process.ts'
import { commandOf, startProgram } from '../support/programs.ts'
import { insertKeys, insertPeople, type NewPerson } from '../support/rows.ts'

/**
 * Passwords hashed at once. This is Latchkey's default, set explicitly so that all contenders have the same
 * value.
 */
const THREADS = Math.max(1, availableParallelism() - 1)
const SETTINGS = { PASSWORD_HASH_CONCURRENCY: String(THREADS) }

/**
 * Enough log-ins that no hashing thread waits for the next password, and few enough that all are done soon
 * after the measurement.
 */
const LOGINS_AT_ONCE = 4 * THREADS
const STORM_CLIENTS = 50
/**
 * The pause after a measurement, in which the remaining work ends. A storm leaves a queue that is hashed at
 * about forty passwords a second.
 */
const DRAIN_MS = 500
const STORM_DRAIN_MS = 1_500
/** The storm starts this long before the measurement and ends this long after it. */
const STORM_MARGIN_SECONDS = 1
/** The paced requests alone are too few to keep 10,000 keys in the cache, whose entries last a minute. */
const FILL_SECONDS = 2
/** Verifications during a storm are paced at about a thousand a second, which a server has time for. */
const PACED = { connections: 10, pauseMs: 10 }

/** A log-in compared with the hashing alone. Both use every core, because hashing runs on threads. */
export const login: Entry = {
  name: 'login',
  estimateSeconds: (options) => turnsSeconds(options) + 8,
  async run(options) {
    await using latchkey = await startLatchkey(options, { env: SETTINGS, isPinned: false })
    // With this many accounts none has ten log-ins in progress, which would lock it.
    const logins = loginsOf(latchkey, await insertPeople(latchkey))
    const hash = await passwordHashOf(latchkey)
    const contenders: Record<'subject' | 'yardstick', Contender> = {
      subject: {
        residentMegabytes: latchkey.residentMegabytes,
        async measure(seconds) {
          const shape = { connections: LOGINS_AT_ONCE }
          const sample = await weigh(latchkey, () => putLoad(latchkey.url, logins, seconds, shape))
          await Bun.sleep(DRAIN_MS)
          return sample
        },
      },
      yardstick: { measure: (seconds) => loopHashes(seconds, latchkey.person.password, hash) },
    }
    const { subject, yardstick } = await takeTurns(contenders, options)
    // Compared by wall clock: the question is whether a hashing thread ever waits.
    const { byTime } = paceOf(subject, yardstick)
    if (byTime === null) throw new Error('Nothing was measured')
    const details = [
      `${THREADS} at once`,
      describeSamples('Latchkey', subject, contenders.subject),
      describeSamples('the yardstick', yardstick),
    ]
    return [
      {
        what: `\`POST /auth/login\`, against \`Bun.password.verify\` at equal concurrency; ${logins.length} people`,
        unit: 'ratio',
        figure: byTime,
        budget: atLeast(byTime.middle, 0.9, 0.95),
        details,
      },
    ]
  },
}

/** The effect of a storm of log-ins on all other requests. */
export const loginStorm: Entry = {
  name: 'login-storm',
  estimateSeconds: ({ rounds, seconds }) => 2 * rounds * (2 * seconds + FILL_SECONDS + 3.5) + 30,
  async run({ rounds, seconds, ...options }) {
    await using latchkey = await startLatchkey(options, { env: SETTINGS, isPinned: false })
    const people = await insertPeople(latchkey)
    const load = {
      logins: loginsOf(latchkey, people),
      requests: (await insertKeys(latchkey, people)).map((key) => ({
        path: '/protected/service-only',
        headers: { 'X-API-Key': key },
      })),
    }
    const { path, text } = await checkAnswer(latchkey, load.requests)
    const hashing = [path, text, String(THREADS), await passwordHashOf(latchkey)]
    await using bare = await startProgram('bare-login', hashing, { isPinned: false })

    // Until the hot code of both servers is compiled.
    for (const server of [latchkey, bare]) await tailOf(server, load, 1)
    const tails: Record<'latchkey' | 'bare', Tail[]> = { latchkey: [], bare: [] }
    for (let round = 0; round < rounds; round++) {
      const both = [
        ['latchkey', latchkey],
        ['bare', bare],
      ] as const
      for (const [name, server] of round % 2 === 0 ? both : both.toReversed()) {
        tails[name].push(await tailOf(server, load, seconds))
      }
    }
    const figure = figureOf(
      tails.latchkey.map(({ stormMs }, round) => stormMs / (tails.bare[round]?.stormMs ?? Number.NaN)),
    )
    return [
      {
        what:
          "verification's p99 while 50 clients log in, against bare Elysia that hashes as much; " +
          `${load.requests.length} credentials`,
        unit: 'ratio',
        figure,
        budget: atMost(figure.middle, 1),
        details: [
          `${THREADS} passwords at once; every server has every core`,
          describeTails('Latchkey', tails.latchkey),
          describeTails('the yardstick', tails.bare),
        ],
      },
    ]
  },
}

type StormLoad = { logins: readonly LoadRequest[]; requests: readonly LoadRequest[] }
type Tail = { quietMs: number; stormMs: number; logins: number; refused: number }

/** The p99 latency of a route without log-ins: alone, and during a storm of log-ins. */
async function tailOf(
  server: ServerProcess,
  { logins, requests }: StormLoad,
  seconds: number,
): Promise<Tail> {
  await putLoad(server.url, requests, FILL_SECONDS)
  const quiet = await putLoad(server.url, requests, seconds, PACED)
  const lasts = seconds + 2 * STORM_MARGIN_SECONDS
  const [storm, amid] = await Promise.all([
    putLoad(server.url, logins, lasts, { connections: STORM_CLIENTS, mayRefuse: true }),
    Bun.sleep(STORM_MARGIN_SECONDS * 1000).then(() => putLoad(server.url, requests, seconds, PACED)),
  ])
  await Bun.sleep(STORM_DRAIN_MS)
  server.forgetOutput()
  return {
    quietMs: quiet.p99Ms,
    stormMs: amid.p99Ms,
    logins: (storm.requests - storm.refused) / lasts,
    refused: storm.refused / storm.requests,
  }
}

function describeTails(name: string, tails: readonly Tail[]): string {
  const of = (member: keyof Tail) => median(tails.map((tail) => tail[member]))
  return (
    `${name}: p99 ${of('quietMs').toFixed(2)} ms, in the storm ${of('stormMs').toFixed(2)} ms, ` +
    `${of('logins').toFixed(0)} logins a second, ${(100 * of('refused')).toFixed(0)} % refused`
  )
}

/** One log-in for each of some people. */
function loginsOf({ person: { password } }: Latchkey, people: readonly NewPerson[]): LoadRequest[] {
  return people.map(({ email }) => ({ path: '/auth/login', method: 'POST', json: { email, password } }))
}

async function passwordHashOf({ sql, person }: Latchkey): Promise<string> {
  const [row] = await sql<{ password_hash: string }[]>`
    SELECT password_hash FROM latchkey.users WHERE id = ${person.id}`
  if (!row) throw new Error('The person of the bench is gone')
  return row.password_hash
}

async function loopHashes(seconds: number, password: string, hash: string) {
  const command = commandOf('hash-loop', String(seconds), String(THREADS), password, hash)
  const child = Bun.spawn(command, { stdio: ['ignore', 'pipe', 'inherit'], timeout: seconds * 1000 + 30_000 })
  const { requests, seconds: took, processorSeconds } = await child.stdout.json()
  return {
    perSecond: requests / took,
    processorSeconds: processorSeconds / requests,
    databaseSeconds: null,
  }
}
