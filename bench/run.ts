/** Runs the benchmarks: `bun run bench [ENTRY…] [--rounds=N] [--seconds=N] [--binary] [--profile]`. */
import { mkdirSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { appToken } from './entries/app-token.ts'
import { cache } from './entries/cache.ts'
import { cold } from './entries/cold.ts'
import { consolePages } from './entries/console.ts'
import { cores } from './entries/cores.ts'
import { credits } from './entries/credits.ts'
import { forwardAuth } from './entries/forward-auth.ts'
import { growth } from './entries/growth.ts'
import { heartbeats } from './entries/heartbeats.ts'
import { login, loginStorm } from './entries/login.ts'
import { memory } from './entries/memory.ts'
import { apiKey, jwt } from './entries/protected-route.ts'
import { ready } from './entries/ready.ts'
import { refresh } from './entries/refresh.ts'
import { regions } from './entries/regions.ts'
import { peers, verify } from './entries/verify.ts'
import type { Entry, Finding, RunOptions } from './support/entry.ts'
import { programOf } from './support/latchkey.ts'
import { DATABASE_CORE } from './support/process.ts'
import { describeFinding, markdownTable } from './support/report.ts'

const ENTRIES: readonly Entry[] = [
  apiKey,
  jwt,
  verify,
  forwardAuth,
  appToken,
  refresh,
  login,
  loginStorm,
  ready,
  memory,
  credits,
  peers,
  cold,
  cache,
  heartbeats,
  growth,
  cores,
  regions,
  consolePages,
]

/** The time limit of a whole run. The entries that are done by then are reported. */
const GIVES_UP_AFTER_MINUTES = 60

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '3' },
    binary: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
  },
})
const unknown = positionals.filter((name) => !ENTRIES.some((entry) => entry.name === name))
if (unknown.length > 0) {
  fail(`There is no ${unknown.join(', ')}; there are ${ENTRIES.map((entry) => entry.name).join(', ')}`)
}
if (!Bun.which('wrk'))
  fail('The load comes from wrk, which is not here: "apt-get install wrk" or "brew install wrk"')

const chosen = ENTRIES.filter(({ name, isOnDemand }) =>
  positionals.length === 0 ? !isOnDemand : positionals.includes(name),
)
const profileDirectory = values.profile ? join(import.meta.dir, 'profiles') : null
if (profileDirectory !== null) mkdirSync(profileDirectory, { recursive: true })
const options: RunOptions = {
  rounds: wholeNumber('rounds', values.rounds),
  seconds: wholeNumber('seconds', values.seconds),
  program: values.binary ? 'binary' : 'source',
  profileDirectory,
}
const machine = `${cpus()[0]?.model.trim()}, ${availableParallelism()} cores, Bun ${Bun.version}, wrk`
const minutes = chosen.reduce((sum, entry) => sum + entry.estimateSeconds(options), 0) / 60

say(`${machine}; PostgreSQL on core ${DATABASE_CORE}`)
say(`${(await programOf(options.program)).join(' ')}; ${options.rounds} rounds of ${options.seconds} s`)
say(`${chosen.map(({ name }) => name).join(', ')}: about ${Math.ceil(minutes)} minutes`)
if (profileDirectory !== null)
  say(`Profiles of Latchkey go to ${profileDirectory}; the figures are not to be quoted`)

const findings: (Finding & { entry: string })[] = []
const failed: string[] = []
setTimeout(() => {
  failed.push(`the run took more than ${GIVES_UP_AFTER_MINUTES} minutes`)
  end()
}, GIVES_UP_AFTER_MINUTES * 60_000).unref()

// Every process that an entry has started ends together with this process.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

for (const entry of chosen) {
  say(`\n${entry.name}`)
  try {
    for (const finding of await entry.run(options)) {
      findings.push({ ...finding, entry: entry.name })
      say(describeFinding(finding))
    }
  } catch (error) {
    failed.push(entry.name)
    say(`  failed: ${error instanceof Error ? (error.stack ?? error.message) : error}`)
  }
}
end()

function end(): never {
  say(`\n${machine}; ${options.rounds} rounds of ${options.seconds} s\n\n${markdownTable(findings)}`)
  if (failed.length > 0) say(`Failed: ${failed.join(', ')}`)
  process.exit(failed.length > 0 ? 1 : 0)
}

function wholeNumber(name: string, text: string): number {
  const number = Number(text)
  if (!Number.isInteger(number) || number < 1) fail(`--${name} is a whole number, not "${text}"`)
  return number
}

function fail(message: string): never {
  process.stderr.write(`${message}\n`)
  process.exit(2)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
