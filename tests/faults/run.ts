/**
 * Repeats each fault for about as many seconds as `--seconds` says (default 40): `bun run test:faults`. Words
 * select the faults whose names contain one of them. Prints a table, and ends with exit code 1 if an
 * invariant was broken or something came too late.
 */
import { parseArgs } from 'node:util'
import { allFaults, type Fault, type Outcome } from './fault.ts'

const { values, positionals } = parseArgs({
  options: { seconds: { type: 'string', default: '40' } },
  allowPositionals: true,
})
// An interrupted run ends normally, so that no server and no disk is left behind.
process.once('SIGINT', () => process.exit(130))
process.once('SIGTERM', () => process.exit(143))

const HEAD = [
  'fault',
  'rounds',
  'writes kept',
  'requests',
  'refused',
  'unanswered',
  'longest',
  '/livez',
  'well after',
]

const say = (text: string) => process.stdout.write(`${text}\n`)
const sayRow = (cells: readonly unknown[]) => say(`| ${cells.join(' | ')} |`)

let isBroken = false
sayRow(HEAD)
sayRow(HEAD.map(() => '---'))
for (const fault of await allFaults()) {
  if (positionals.length > 0 && !positionals.some((word) => fault.name.includes(word))) continue
  if (fault.lacks) {
    sayRow([fault.name, `skipped: it needs ${fault.lacks}`])
    continue
  }
  const rounds = Math.max(1, Math.round(Number(values.seconds) / fault.roundSeconds))
  const outcome = await fault.run(rounds)
  report(fault, rounds, outcome)
  isBroken ||= outcome.violations.length + outcome.delays.length > 0
}
process.exit(isBroken ? 1 : 0)

function report(fault: Fault, rounds: number, outcome: Outcome): void {
  const { writes, requests, refused, unanswered, longestMs, controlMs, recoveryMs } = outcome
  const times = [longestMs, controlMs, recoveryMs].map((ms) => `${ms} ms`)
  sayRow([fault.name, rounds, writes, requests, refused, unanswered, ...times])
  for (const note of outcome.notes) say(`  ${note}`)
  for (const violation of outcome.violations) say(`  BROKEN: ${violation}`)
  for (const delay of outcome.delays) say(`  LATE: ${delay}`)
}
