/**
 * Runs a group of tests on one PostgreSQL: `bun scripts/test.ts fast|system [FILE…] [option of "bun test"…]`.
 * Given files replace the group. `--isolate` gives each file its own state, which shows what leaks from one
 * file to another.
 */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { builtBinary } from '../tests/support/binary.ts'
import { embeddedSnapshot } from '../tests/support/databases.ts'
import { startSharedServer } from '../tests/support/postgres.ts'

const root = resolve(import.meta.dir, '..')
/**
 * The number of processes for each group. `fast` often waits for PostgreSQL; `system` starts processes
 * itself.
 */
const GROUPS: Record<string, { paths: string[]; workers: number }> = {
  fast: { paths: ['tests/lib', 'tests/core', 'tests/api'], workers: 3 },
  system: { paths: ['tests/system'], workers: 2 },
}

const [name = '', ...words] = process.argv.slice(2)
const group = GROUPS[name]
if (!group) throw new Error(`There is no group "${name}"; there are ${Object.keys(GROUPS).join(' and ')}`)
const files = words.filter((word) => existsSync(resolve(root, word)))
const options = words.filter((word) => !files.includes(word))

const server = await startSharedServer()
await embeddedSnapshot()
// Several files need the binary, and each would build it.
if (name === 'system') await builtBinary()
const tests = Bun.spawn(
  [
    process.execPath,
    'test',
    '--timeout=240000',
    `--parallel=${group.workers}`,
    ...(options.includes('--isolate') ? [] : ['--no-isolate']),
    // Processes that a failed test leaves running end together with its worker.
    '--no-orphans',
    // The longest file starts first.
    '--timings=node_modules/.cache/latchkey/test-timings.json',
    '--update-timings',
    ...options,
    ...(files.length > 0 ? files : group.paths),
  ],
  { cwd: root, env: { ...process.env, ...server.env }, stdio: ['inherit', 'inherit', 'inherit'] },
)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => tests.kill(signal))
const code = await tests.exited
await server.end()
process.exit(code)
