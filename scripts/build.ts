/** Builds the binary: `bun run build [--target=bun-linux-arm64] [--outfile=dist/name]`. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

const root = resolve(import.meta.dir, '..')
const { values } = parseArgs({ options: { target: { type: 'string' }, outfile: { type: 'string' } } })
const { target } = values
if (target !== undefined && !/^bun-(linux|darwin)-[a-z0-9-]+$/.test(target))
  throw new Error(`--target is bun-<linux|darwin>-<processor>, like bun-linux-arm64, not "${target}"`)

// The name contains the target, so that a binary for another machine never replaces this machine's.
const name = target === undefined ? 'latchkey' : target.replace(/^bun/, 'latchkey')
const outfile = resolve(root, values.outfile ?? join('dist', name))

// Built in a temporary directory and then moved: a process that runs or starts the old binary meanwhile never
// sees half a file.
mkdirSync(dirname(outfile), { recursive: true })
const aside = mkdtempSync(join(dirname(outfile), '.build-'))
try {
  const made = join(aside, basename(outfile))
  // An additional entry point. src/db/open.ts finds it by its name in Bun.embeddedFiles.
  const snapshot = join(aside, 'embedded-database.tar.gz')
  await bun('scripts/make-embedded-snapshot.ts', snapshot)
  await bun(
    'build',
    '--compile',
    ...(target === undefined ? [] : [`--target=${target}`]),
    // Identifiers are not minified. Elysia and other libraries decide by class names
    // (`error.constructor.name`), and Elysia prepares a request by the text of its handlers. With
    // --minify-identifiers the bounds of numbers in a query were not checked.
    '--minify-whitespace',
    '--minify-syntax',
    // Without --format=esm, bytecode implies CommonJS, which has no top-level await.
    '--bytecode',
    '--format=esm',
    '--sourcemap',
    // Without this flag the binary would run the `preload` of any bunfig.toml in its working directory.
    '--no-compile-autoload-bunfig',
    '--no-compile-autoload-dotenv',
    '--no-compile-autoload-tsconfig',
    '--no-compile-autoload-package-json',
    'src/main.ts',
    snapshot,
    `--outfile=${made}`,
  )
  renameSync(made, outfile)
  process.stdout.write(`${outfile}: ${(statSync(outfile).size / 1e6).toFixed(0)} MB\n`)
} finally {
  rmSync(aside, { recursive: true, force: true })
}

/** Runs the same Bun in the project's root. NODE_ENV is inlined into the bundle. */
async function bun(...args: string[]): Promise<void> {
  const child = Bun.spawn([process.execPath, ...args], {
    cwd: root,
    env: { ...process.env, NODE_ENV: 'production' },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if ((await child.exited) !== 0) throw new Error(`"bun ${args[0]}" failed`)
}
