import { expect, test } from 'bun:test'
import { posix } from 'node:path'
import { Glob } from 'bun'

/** From top to bottom. A file imports from its own floor and from those below it, types included. */
const FLOORS = ['main.ts', 'cli', 'server', 'api', 'core', 'db', 'config', 'lib']
/** Below `api/`, only the shared-secret mode uses a part of Elysia: @elysiajs/jwt. */
const MAY_USE_ELYSIA = ['core/signing/shared-secret.ts']
const READS_ENVIRONMENT = 'config/load.ts'
/** package.json contains the version. Nothing else outside of `src/` is imported. */
const MANIFEST = '../package.json'
const floorOf = (path: string) => FLOORS.indexOf(path.split('/')[0] ?? '')

/** The violations of the rule in a tree of files (path below `src/` → text). */
function faultsOf(files: Record<string, string>): string[] {
  const faults: string[] = []
  const imports: Record<string, string[]> = {}
  for (const [from, code] of Object.entries(files)) {
    const local: string[] = []
    imports[from] = local
    if (floorOf(from) < 0) faults.push(`${from} is on no floor`)
    if (/\b(?:process|Bun|import\.meta)\.env\b/.test(code) && from !== READS_ENVIRONMENT)
      faults.push(`${from} reads the environment`)
    for (const [, to = ''] of code.matchAll(/\b(?:from|import)\s*\(?\s*['"]([^'"\n]+)['"]/g)) {
      if (!/^[./]/.test(to)) {
        const isAllowed = from.startsWith('api/') || MAY_USE_ELYSIA.includes(from)
        if (/^@?elysia/.test(to) && !isAllowed) faults.push(`${from} uses Elysia: ${to}`)
        continue
      }
      const target = to.startsWith('/') ? `..${to}` : posix.join(posix.dirname(from), to)
      if (target.startsWith('../')) {
        if (target !== MANIFEST) faults.push(`${from} leaves src: ${to}`)
        continue
      }
      local.push(target)
      if (floorOf(target) < floorOf(from)) faults.push(`${from} imports upward: ${to}`)
      if (posix.basename(target) === 'queries.ts' && posix.dirname(target) !== posix.dirname(from))
        faults.push(`${from} uses the SQL of another folder: ${to}`)
    }
  }
  const visited = new Set<string>()
  const visit = (file: string, path: readonly string[]) => {
    if (path.includes(file)) faults.push(`circle: ${[...path.slice(path.indexOf(file)), file].join(' → ')}`)
    if (visited.has(file)) return
    visited.add(file)
    for (const next of imports[file] ?? []) visit(next, [...path, file])
  }
  for (const file of Object.keys(files)) visit(file, [])
  return faults
}

test('imports run down', async () => {
  const src = `${import.meta.dir}/../../src`
  const files: Record<string, string> = {}
  for (const path of new Glob('**/*.{ts,tsx}').scanSync({ cwd: src }))
    files[path] = await Bun.file(`${src}/${path}`).text()
  expect(Object.keys(files)).toContain('main.ts')
  expect(faultsOf(files)).toEqual([])
})

test.each<[path: string, code: string, fault: string]>([
  ['app.ts', '', 'app.ts is on no floor'],
  ['core/a.ts', "import type { A } from '../api/a.ts'", 'core/a.ts imports upward: ../api/a.ts'],
  ['core/a.ts', "import { t } from 'elysia'", 'core/a.ts uses Elysia: elysia'],
  ['api/a.ts', "await import('../../tests/a.ts')", 'api/a.ts leaves src: ../../tests/a.ts'],
  [
    'api/a.ts',
    "export * from '../core/b/queries.ts'",
    'api/a.ts uses the SQL of another folder: ../core/b/queries.ts',
  ],
  ['lib/a.ts', 'process.env', 'lib/a.ts reads the environment'],
  ['lib/a.ts', 'Bun.env', 'lib/a.ts reads the environment'],
  ['lib/a.ts', 'import.meta.env', 'lib/a.ts reads the environment'],
  ['lib/a.ts', "import './a.ts'", 'circle: lib/a.ts → lib/a.ts'],
])('in %s, %p is refused', (path, code, fault) => {
  expect(faultsOf({ [path]: code })).toEqual([fault])
})

test('a circle of two files is refused, and what the rule allows passes', () => {
  const circle = { 'lib/a.ts': "import './b.ts'", 'lib/b.ts': "import './a.ts'" }
  expect(faultsOf(circle)).toEqual(['circle: lib/a.ts → lib/b.ts → lib/a.ts'])
  const sound = {
    'api/app.ts': "import 'elysia'\nimport '../core/keys/create.ts'\nimport '../../package.json'",
    'core/signing/shared-secret.ts': "import { jwt } from '@elysiajs/jwt'",
    'config/load.ts': 'process.env',
  }
  expect(faultsOf(sound)).toEqual([])
})

test('the console imports nothing of src', async () => {
  const root = `${import.meta.dir}/../../console`
  const leaves = (code: string) => /from '[^']*\/src\//.test(code)
  expect(leaves("import { fail } from '../src/lib/errors.ts'")).toBe(true)
  const paths = [...new Glob('**/*.{ts,tsx}').scanSync({ cwd: root })]
  expect(paths.length).toBeGreaterThan(40)
  for (const path of paths)
    expect(`${path}: ${leaves(await Bun.file(`${root}/${path}`).text())}`).toBe(`${path}: false`)
})
