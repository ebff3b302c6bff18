/**
 * Builds `dist/client`, the package that services install (docs/decisions/0014): ESM for Node and Bun. `bun run
 * build:client [--outdir=…] [--branch=…] [--if-changed]`. A branch of this repository then holds the package alone, and a Git URL that
 * names the branch installs it.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Glob } from 'bun'
import { dependencies, license, version } from '../package.json' with { type: 'json' }

const root = resolve(import.meta.dir, '..')
const { values } = parseArgs({
  options: {
    outdir: { type: 'string', default: 'dist/client' },
    branch: { type: 'string' },
    'if-changed': { type: 'boolean', default: false },
  },
})
const outdir = resolve(root, values.outdir)
/** The hash of what the package was built of. */
const stamp = `${outdir}.hash`
const hash = hashSources()
if (values['if-changed'] && existsSync(outdir) && existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) {
  process.exit(0)
}

const entry = (name: string) => ({ types: `./${name}.d.ts`, default: `./${name}.js` })
/**
 * Frameworks are optional peers: a service that uses one has it already, and no service needs all of them.
 */
const peers = {
  '@elysiajs/eden': '^1.4.0',
  elysia: '^1.4.0',
  express: '^5.0.0',
  fastify: '^5.0.0',
  hono: '^4.0.0',
}
const manifest = {
  name: 'latchkey',
  version,
  description: 'Protects the routes of a TypeScript service by Latchkey',
  license,
  type: 'module',
  sideEffects: false,
  engines: { node: '>=20' },
  exports: {
    './client': entry('index'),
    './client/elysia': entry('elysia'),
    './client/express': entry('express'),
    './client/fastify': entry('fastify'),
    './client/hono': entry('hono'),
    './client/management': entry('management'),
  },
  dependencies: { jose: `^${dependencies.jose}` },
  peerDependencies: peers,
  peerDependenciesMeta: Object.fromEntries(Object.keys(peers).map((name) => [name, { optional: true }])),
}

// Built in a temporary directory and then moved, so that no reader sees half a package. The compiler also
// writes files that the client takes only types from; they are not moved.
mkdirSync(dirname(outdir), { recursive: true })
const aside = mkdtempSync(join(dirname(outdir), '.client-'))
try {
  const tsc = Bun.resolveSync('typescript/package.json', root).replace('package.json', 'bin/tsc')
  const compiler = Bun.spawn([process.execPath, tsc, '-p', 'client', '--outDir', aside], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if ((await compiler.exited) !== 0) throw new Error('The compiler failed')
  const made = join(aside, 'client')
  writeFileSync(join(made, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  cpSync(join(root, 'LICENSE'), join(made, 'LICENSE'))
  cpSync(join(root, 'docs/client.md'), join(made, 'README.md'))
  rmSync(outdir, { recursive: true, force: true })
  renameSync(made, outdir)
  writeFileSync(stamp, hash)
  process.stdout.write(`${outdir}: ${[...new Glob('*').scanSync(outdir)].length} files\n`)
  if (values.branch !== undefined) commitTo(values.branch, join(aside, 'index'))
} finally {
  rmSync(aside, { recursive: true, force: true })
}

/** The declarations hold the types of every route, so that every source file counts. */
function hashSources(): string {
  const hasher = new Bun.CryptoHasher('sha256')
  const paths = new Glob('{src,client}/**/*.{ts,tsx,json}').scanSync(root)
  for (const path of [...paths, 'package.json', 'bun.lock', 'tsconfig.json', 'docs/client.md'].toSorted())
    hasher.update(`${path}\n`).update(readFileSync(join(root, path)))
  return hasher.digest('hex')
}

/**
 * Commits the package as the whole of a branch. What is checked out here stays as it is.
 * @param index a file for the commit's own index
 */
function commitTo(branch: string, index: string): void {
  const git = (...words: string[]) => {
    const env = { ...process.env, GIT_INDEX_FILE: index }
    const { exitCode, stdout, stderr } = Bun.spawnSync(['git', ...words], { cwd: root, env })
    return { exitCode, out: stdout.toString().trim(), err: stderr.toString() }
  }
  const must = (...words: string[]) => {
    const { exitCode, out, err } = git(...words)
    if (exitCode !== 0) throw new Error(`"git ${words[0]}" failed: ${err}`)
    return out
  }
  must(`--work-tree=${outdir}`, 'add', '--all', '--force', outdir)
  const tree = must('write-tree')
  const ref = `refs/heads/${branch}`
  const { exitCode, out: parent } = git('rev-parse', '--verify', '--quiet', ref)
  const isNew = exitCode !== 0
  const from = must('rev-parse', '--short', 'HEAD')
  const parents = isNew ? [] : ['-p', parent]
  const commit = must('commit-tree', tree, ...parents, '-m', `Build the client ${version} of ${from}`)
  // Fails where the branch has moved meanwhile.
  must('update-ref', ref, commit, isNew ? '' : parent)
  process.stdout.write(`${branch}: ${commit}\n`)
}
