/**
 * Runs a group of the tests on one PostgreSQL: `bun scripts/test.ts fast|system [FILE…] [option of "bun test"…]`. Files
 * take the place of the group. `--isolate` gives each file a process' state of its own, which shows what leaks.
 */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { builtBinary } from '../tests/support/binary.ts'
import { embeddedSnapshot } from '../tests/support/databases.ts'
import { startSharedServer } from '../tests/support/postgres.ts'

const root = resolve(import.meta.dir, '..')
/** Processes for each group: `fast` waits for PostgreSQL a good part of its time, `system` starts processes itself. */
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
// Several files need it, and would all make it.
if (name === 'system') await builtBinary()
const tests = Bun.spawn(
  [
    process.execPath,
    'test',
    '--timeout=30000',
    `--parallel=${group.workers}`,
    ...(options.includes('--isolate') ? [] : ['--no-isolate']),
    // What a test that fails leaves running ends with its worker.
    '--no-orphans',
    // The longest file begins first.
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
