import { availableParallelism } from 'node:os'
import { atLeast, type Budget } from '../support/budget.ts'
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
import { insertPeople, writeBodies } from '../support/rows.ts'
import { temporaryFile } from '../support/temporary-file.ts'

/** Passwords checked at once: Latchkey's own default, said aloud so that everybody has the same. */
const LANES = Math.max(1, availableParallelism() - 1)
/** So many accounts that none has ten logins under way, which would lock it. */
const ACCOUNTS = 500
const SETTINGS = { PASSWORD_HASH_CONCURRENCY: String(LANES), RATE_LIMITS: 'login=1000000/1m' }
const LOGIN = { path: '/auth/login', method: 'POST' } as const

/** Enough that every lane always has the next password, and few enough that all are done soon after. */
const LOGINS_AT_ONCE = 4 * LANES
const STORM_CLIENTS = 50
/** Until what a measurement left behind is done: a storm's queue, at forty hashes a second. */
const DRAIN_MS = 500
const STORM_DRAIN_MS = 1_500
/** It begins before the measurement, and ends after it. */
const STORM_MARGIN_SECONDS = 1
/** Verifications in a storm come at a pace that a server has time for: about a thousand a second. */
const PACED = { connections: 10, pauseMs: 10 }

/** A login, against the hashing alone. Both have every core: hashing is the work of threads. */
export const login: Entry = {
  name: 'login',
  estimateSeconds: (options) => turnsSeconds(options) + 8,
  async run(options) {
    await using latchkey = await startLatchkey(options, { env: SETTINGS, isPinned: false })
    using accounts = await manyAccounts(latchkey)
    const hash = await passwordHashOf(latchkey)
    const contenders: Record<'subject' | 'yardstick', Contender> = {
      subject: {
        residentMegabytes: latchkey.residentMegabytes,
        async measure(seconds) {
          const shape = { connections: LOGINS_AT_ONCE, bodies: accounts.path }
          const sample = await weigh(latchkey, () => putLoad(latchkey.url, LOGIN, seconds, shape))
          await Bun.sleep(DRAIN_MS)
          return sample
        },
      },
      yardstick: { measure: (seconds) => loopHashes(seconds, latchkey.person.password, hash) },
    }
    const { subject, yardstick } = await takeTurns(contenders, options)
    // By time: what is asked is whether the lanes are ever left waiting.
    const { byTime } = paceOf(subject, yardstick)
    if (byTime === null) throw new Error('Nothing was measured')
    const details = [
      `${LANES} at once; login=1000000/1m, else the limit per address refuses`,
      describeSamples('Latchkey', subject, contenders.subject),
      describeSamples('hashing alone', yardstick),
    ]
    return [
      {
        what: '`POST /auth/login`, against `Bun.password.verify` at equal concurrency',
        unit: 'ratio',
        figure: byTime,
        budget: atLeast(byTime.middle, 0.9),
        details,
      },
    ]
  },
}

/** What a login storm does to everybody else. */
export const loginStorm: Entry = {
  name: 'login-storm',
  estimateSeconds: ({ rounds, seconds }) => 2 * rounds * (2 * seconds + 3.5) + 30,
  async run({ rounds, seconds, ...options }) {
    await using latchkey = await startLatchkey(options, { env: SETTINGS, isPinned: false })
    using accounts = await manyAccounts(latchkey)
    const request = { path: '/protected/service-only', headers: { 'X-API-Key': latchkey.key } }
    const body = await checkAnswer(latchkey, request)
    const hash = await passwordHashOf(latchkey)
    const hashing = [request.path, body, String(LANES), hash]
    await using bare = await startProgram('bare-login', hashing, { isPinned: false })

    // Until the code of both is compiled.
    for (const server of [latchkey, bare]) await tailOf(server, request, accounts.path, 1)
    const tails: Record<'latchkey' | 'bare', Tail[]> = { latchkey: [], bare: [] }
    for (let round = 0; round < rounds; round++) {
      const both = [
        ['latchkey', latchkey],
        ['bare', bare],
      ] as const
      for (const [name, server] of round % 2 === 0 ? both : both.toReversed()) {
        tails[name].push(await tailOf(server, request, accounts.path, seconds))
      }
    }
    const figure = figureOf(tails.latchkey.map(({ quietMs, stormMs }) => stormMs / quietMs))
    const stormMs = (name: keyof typeof tails) => median(tails[name].map((tail) => tail.stormMs))
    return [
      {
        what: "verification's p99 while 50 clients log in, against its quiet p99",
        unit: 'ratio',
        figure,
        budget: stormBudget(figure.middle, stormMs('latchkey') <= stormMs('bare')),
        details: [
          `${LANES} passwords at once; every server has every core`,
          describeTails('Latchkey', tails.latchkey),
          describeTails('bare Elysia that hashes as much', tails.bare),
        ],
      },
    ]
  },
}

type Tail = { quietMs: number; stormMs: number; logins: number }

/** The p99 of a route that has nothing to do with logins: alone, and in the middle of a storm of them. */
async function tailOf(
  server: ServerProcess,
  request: LoadRequest,
  accounts: string,
  seconds: number,
): Promise<Tail> {
  const quiet = await putLoad(server.url, request, seconds, PACED)
  const lasts = seconds + 2 * STORM_MARGIN_SECONDS
  const [{ requests }, amid] = await Promise.all([
    putLoad(server.url, LOGIN, lasts, { connections: STORM_CLIENTS, bodies: accounts }),
    Bun.sleep(STORM_MARGIN_SECONDS * 1000).then(() => putLoad(server.url, request, seconds, PACED)),
  ])
  await Bun.sleep(STORM_DRAIN_MS)
  server.forgetOutput()
  return { quietMs: quiet.p99Ms, stormMs: amid.p99Ms, logins: requests / lasts }
}

function stormBudget(ratio: number, isNoWorse: boolean): Budget {
  return {
    text: '≤ 3, or no worse than a bare server that hashes as much',
    verdict: ratio <= 3 || isNoWorse ? 'meets the budget' : 'misses the budget',
  }
}

function describeTails(name: string, tails: readonly Tail[]): string {
  const of = (member: keyof Tail) => median(tails.map((tail) => tail[member]))
  return (
    `${name}: p99 ${of('quietMs').toFixed(2)} ms, in the storm ${of('stormMs').toFixed(2)} ms, ` +
    `${of('logins').toFixed(0)} logins a second`
  )
}

/** A file of logins, each of another account. */
async function manyAccounts(latchkey: Latchkey) {
  const { password } = latchkey.person
  const file = temporaryFile()
  writeBodies(
    file.path,
    (await insertPeople(latchkey, ACCOUNTS)).map((email) => ({ email, password })),
  )
  return file
}

async function passwordHashOf({ sql, person }: Latchkey): Promise<string> {
  const [row] = await sql<{ password_hash: string }[]>`
    SELECT password_hash FROM latchkey.users WHERE id = ${person.id}`
  if (!row) throw new Error('The person of the bench is gone')
  return row.password_hash
}

async function loopHashes(seconds: number, password: string, hash: string) {
  const command = commandOf('hash-loop', String(seconds), String(LANES), password, hash)
  const child = Bun.spawn(command, { stdio: ['ignore', 'pipe', 'inherit'], timeout: seconds * 1000 + 30_000 })
  const { requests, seconds: took, processorSeconds } = await child.stdout.json()
  return {
    perSecond: requests / took,
    processorSeconds: processorSeconds / requests,
    databaseSeconds: null,
  }
}
