/**
 * Fails if less than nine lines in ten of `src/` and `client/` ran in `bun run test` and `bun run
 * test:system` together (docs/decisions/0003). Each of the two runs with `--coverage
 * --coverage-reporter=lcov` and a `--coverage-dir` below `coverage/`. `bun test` ignores files that no test
 * loads; here they count as not covered.
 */
import { resolve } from 'node:path'
import { Glob } from 'bun'

const NEEDED_PERCENT = 90
/** Files that are not counted: the entry point, and files that only the bundler or the compiler reads. */
const OUT_OF_SIGHT = /^(src\/(main\.ts|.*\.macro\.ts|api\/console\/embedded\.ts)|client\/app\.ts)$/
const RUNS = ['test', 'system']

const root = resolve(import.meta.dir, '..')
/** For each file, how often each line ran in all runs together. */
const loaded = new Map<string, Map<number, number>>()
for (const run of RUNS) addReport(await Bun.file(`${root}/coverage/${run}/lcov.info`).text())
let lines = 0
let covered = 0
const unloaded: string[] = []
for (const path of [...new Glob('{src,client}/**/*.ts').scanSync({ cwd: root })].sort()) {
  if (OUT_OF_SIGHT.test(path)) continue
  const counts = loaded.get(path)
  if (counts) {
    lines += counts.size
    covered += [...counts.values()].filter((count) => count > 0).length
    continue
  }
  const missed = await countStatements(path)
  lines += missed
  if (missed > 0) unloaded.push(`${path} (${missed} lines)`)
}
if (loaded.size === 0 || lines === 0) throw new Error('The reports say nothing about the sources')

const percent = (100 * covered) / lines
for (const file of unloaded) process.stdout.write(`Never loaded by a test: ${file}\n`)
process.stdout.write(`Lines covered: ${percent.toFixed(2)} % (${covered} of ${lines})\n`)
if (percent < NEEDED_PERCENT) {
  process.stderr.write(`That is less than ${NEEDED_PERCENT} %.\n`)
  process.exitCode = 1
}

/** Adds an lcov report. `SF:` begins a file, `DA:line,count` is one of its lines. */
function addReport(report: string): void {
  let counts = new Map<number, number>()
  for (const record of report.split('\n')) {
    const [kind, value = ''] = record.split(/:(.*)/)
    if (kind === 'SF') {
      counts = loaded.get(value) ?? new Map()
      loaded.set(value, counts)
    } else if (kind === 'DA') {
      const [line = 0, count = 0] = value.split(',').map(Number)
      counts.set(line, (counts.get(line) ?? 0) + count)
    }
  }
}

/** Counts the lines of a file without types, comments and imports. */
async function countStatements(path: string): Promise<number> {
  const code = new Bun.Transpiler({ loader: 'ts' }).transformSync(await Bun.file(`${root}/${path}`).text())
  return code.split('\n').filter((line) => /\w/.test(line) && !/^(import|export \{|export \*)/.test(line))
    .length
}
