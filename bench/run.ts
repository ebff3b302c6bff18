/** The benchmarks: `bun run bench [name…] [--rounds=N] [--seconds=N]`. */
import { availableParallelism, cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { apiKey } from './entries/api-key.ts'
import { jwt } from './entries/jwt.ts'
import { type Comparison, type Entry, ratioOf, type Side } from './support/entry.ts'
import { program } from './support/latchkey.ts'
import { generator } from './support/load.ts'

const ENTRIES: readonly Entry[] = [apiKey, jwt]

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '9' }, seconds: { type: 'string', default: '3' } },
})
const unknown = positionals.filter((name) => !ENTRIES.some((entry) => entry.name === name))
if (unknown.length > 0) {
  throw new Error(
    `There is no ${unknown.join(', ')}; there are ${ENTRIES.map((entry) => entry.name).join(', ')}`,
  )
}
const chosen = ENTRIES.filter((entry) => positionals.length === 0 || positionals.includes(entry.name))
const rounds = wholeNumber('rounds', values.rounds)
const seconds = wholeNumber('seconds', values.seconds)

say(`${cpus()[0]?.model.trim()}, ${availableParallelism()} cores, Bun ${Bun.version}, ${generator}`)
say(`${program.join(' ')}; ${rounds} rounds of ${seconds} s`)
for (const entry of chosen) {
  say(`\n${entry.name}: ${entry.title}`)
  report(entry, await entry.run({ rounds, seconds }))
}
process.exit(0)

function report({ budget, goal }: Entry, comparison: Comparison): void {
  const { subject, yardstick, byTime, byProcessor, spread } = comparison
  const ratio = ratioOf(comparison)
  const verdict =
    ratio >= goal ? 'meets the goal' : ratio >= budget ? 'meets the budget' : 'misses the budget'
  say(`  ratio      ${ratio.toFixed(3)} (${spread.map((value) => value.toFixed(3)).join('–')}): ${verdict}`)
  say(`  budget     ${budget.toFixed(2)}, goal ${goal.toFixed(2)}`)
  if (byProcessor !== null) say(`  by time    ${byTime.toFixed(3)}`)
  say(`  Latchkey   ${describe(subject)}`)
  say(`  yardstick  ${describe(yardstick)}`)
}

function describe({ perSecond, perProcessorSecond, megabytes }: Side): string {
  const figures = [`${Math.round(perSecond)} requests/s`]
  if (perProcessorSecond !== null) {
    figures.push(`${Math.round(perProcessorSecond)} a second of processor time`)
    figures.push(`${(1e6 / perProcessorSecond).toFixed(2)} µs each`)
  }
  if (megabytes !== null) figures.push(`${megabytes.toFixed(0)} MB resident`)
  return figures.join(', ')
}

function wholeNumber(name: string, text: string): number {
  const number = Number(text)
  if (!Number.isInteger(number) || number < 1) throw new Error(`--${name} is a whole number, not "${text}"`)
  return number
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
