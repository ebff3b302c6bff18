/**
 * Fails when less than nine lines in ten of `src/` and `client/` ran: `bun run test --coverage
 * --coverage-reporter=lcov` first. A file that no test loads is not in that report, nor in the threshold of `bun test`;
 * here it counts, with nothing covered.
 */
import { resolve } from 'node:path'
import { Glob } from 'bun'

const NEEDED_PERCENT = 90
/**
 * What the tests run as a process of its own, or only the bundler or the compiler reads: the report sees it loaded at
 * most. It counts neither way.
 */
const OUT_OF_SIGHT = /^(src\/(main\.ts|cli\/.*|.*\.macro\.ts)|client\/app\.ts)$/

const root = resolve(import.meta.dir, '..')
const loaded = readLcov(await Bun.file(`${root}/coverage/lcov.info`).text())
let lines = 0
let covered = 0
const unloaded: string[] = []
for (const path of [...new Glob('{src,client}/**/*.ts').scanSync({ cwd: root })].sort()) {
  if (OUT_OF_SIGHT.test(path)) continue
  const counts = loaded.get(path)
  if (counts) {
    lines += counts.lines
    covered += counts.covered
    continue
  }
  const missed = await countStatements(path)
  lines += missed
  if (missed > 0) unloaded.push(`${path} (${missed} lines)`)
}
if (loaded.size === 0 || lines === 0) throw new Error('coverage/lcov.info says nothing about the sources')

const percent = (100 * covered) / lines
for (const file of unloaded) process.stdout.write(`Never loaded by a test: ${file}\n`)
process.stdout.write(`Lines covered: ${percent.toFixed(2)} % (${covered} of ${lines})\n`)
if (percent < NEEDED_PERCENT) {
  process.stderr.write(`That is less than ${NEEDED_PERCENT} %.\n`)
  process.exitCode = 1
}

type Counts = { lines: number; covered: number }

/** The line counts of each file of an lcov report. */
function readLcov(report: string): Map<string, Counts> {
  const files = new Map<string, Counts>()
  for (const record of report.split('end_of_record')) {
    const member = (name: string) => new RegExp(`^${name}:(.*)$`, 'm').exec(record)?.[1]
    const path = member('SF')
    if (path) files.set(path, { lines: Number(member('LF')), covered: Number(member('LH')) })
  }
  return files
}

/** Lines left of a file when its types, comments and imports are gone. */
async function countStatements(path: string): Promise<number> {
  const code = new Bun.Transpiler({ loader: 'ts' }).transformSync(await Bun.file(`${root}/${path}`).text())
  return code.split('\n').filter((line) => /\w/.test(line) && !/^(import|export \{|export \*)/.test(line))
    .length
}
