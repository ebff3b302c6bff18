/** Makes the binary: `bun run build [--target=bun-linux-arm64] [--outfile=dist/name]`. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

const root = resolve(import.meta.dir, '..')
const { values } = parseArgs({ options: { target: { type: 'string' }, outfile: { type: 'string' } } })
const { target } = values
if (target !== undefined && !/^bun-(linux|darwin)-[a-z0-9-]+$/.test(target))
  throw new Error(`--target is bun-<linux|darwin>-<processor>, like bun-linux-arm64, not "${target}"`)

// Named by the target, so that a binary for another machine never takes the place of this machine's.
const name = target === undefined ? 'latchkey' : target.replace(/^bun/, 'latchkey')
const outfile = resolve(root, values.outfile ?? join('dist', name))

// Made aside and moved over: whoever runs the old binary, or starts it meanwhile, never meets half a file.
mkdirSync(dirname(outfile), { recursive: true })
const aside = mkdtempSync(join(dirname(outfile), '.build-'))
try {
  const made = join(aside, basename(outfile))
  // One more entry point, found again in Bun.embeddedFiles by its name (src/db/open.ts).
  const snapshot = join(aside, 'embedded-database.tar.gz')
  await bun('scripts/make-embedded-snapshot.ts', snapshot)
  await bun(
    'build',
    '--compile',
    ...(target === undefined ? [] : [`--target=${target}`]),
    // Names stay as they are: Elysia and others decide by those of classes (`error.constructor.name`), as the text of a
    // function decides what Elysia prepares for it. With --minify-identifiers no bound of a number in a query held.
    '--minify-whitespace',
    '--minify-syntax',
    // Without --format=esm, bytecode means CommonJS, which has no top-level await.
    '--bytecode',
    '--format=esm',
    '--sourcemap',
    // Else the binary would run the `preload` of any bunfig.toml in its working directory.
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

/** Runs this very Bun in the project's root. NODE_ENV is inlined into the bundle. */
async function bun(...args: string[]): Promise<void> {
  const child = Bun.spawn([process.execPath, ...args], {
    cwd: root,
    env: { ...process.env, NODE_ENV: 'production' },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if ((await child.exited) !== 0) throw new Error(`"bun ${args[0]}" failed`)
}
