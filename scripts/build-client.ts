/**
 * Builds `dist/client`, the package that services install (docs/decisions/0014): ESM for Node and Bun. `bun
 * run build:client [--outdir=…]`.
 */
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Glob } from 'bun'
import { dependencies, license, version } from '../package.json' with { type: 'json' }

const root = resolve(import.meta.dir, '..')
const { values } = parseArgs({ options: { outdir: { type: 'string', default: 'dist/client' } } })
const outdir = resolve(root, values.outdir)

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
  process.stdout.write(`${outdir}: ${[...new Glob('*').scanSync(outdir)].length} files\n`)
} finally {
  rmSync(aside, { recursive: true, force: true })
}
