import { describe, expect, test } from 'bun:test'
import { posix } from 'node:path'
import { Glob } from 'bun'

/** From the top down; a file may import from its own layer and from those below. */
const LAYERS: readonly (readonly [name: string, files: RegExp])[] = [
  ['main', /^main\.ts$/],
  ['cli', /^cli\//],
  ['app', /^app\.ts$/],
  ['routes and http', /^(http\/|features\/[^/]+\/(routes|model)\.ts$)/],
  ['service', /^(features\/[^/]+\/(?!queries\.ts$)|context\.ts$)/],
  ['queries', /^features\/[^/]+\/queries\.ts$/],
  ['db', /^db\//],
  ['config', /^config(\.ts$|\/)/],
  ['lib', /^lib\//],
]
const layerOf = (path: string) => LAYERS.findIndex(([, files]) => files.test(path))
const SERVICE = LAYERS.findIndex(([name]) => name === 'service')
const featureOf = (path: string) => /^features\/([^/]+)\//.exec(path)?.[1]
/** What every layer may know by type, since it is handed down: the context and the settings. */
const HANDED_DOWN = ['context.ts', 'config.ts']

type Import = { from: string; to: string; typeOnly: boolean }

/** Why an import breaks the rule, with paths within `src/`; null: it doesn't. */
function faultOf({ from, to, typeOnly }: Import): string | null {
  const layer = layerOf(from)
  if (layer === -1) return `${from} is in no layer`
  if (!to.startsWith('.'))
    return layer >= SERVICE && /^(elysia$|elysia\/)/.test(to) ? `${from} knows Elysia` : null
  const target = posix.join(posix.dirname(from), to)
  // The version alone.
  if (target === '../package.json') return null
  const targetLayer = layerOf(target)
  if (targetLayer === -1) return `${target} (from ${from}) is in no layer`
  if (featureOf(from) && featureOf(target) && featureOf(from) !== featureOf(target)) {
    if (/\/(queries|routes)\.ts$/.test(target)) return `${from} reaches into another feature: ${target}`
  }
  if (typeOnly && HANDED_DOWN.includes(target)) return null
  if (from === 'context.ts' && !typeOnly) return `context.ts is types alone, and imports ${target}`
  return targetLayer < layer ? `${from} imports upward: ${target}` : null
}

/** Every import, export-from and import() of a file. */
function importsOf(from: string, code: string): Import[] {
  const statement = /\b(?:import|export)\b(\s+type\b)?(?:[\s\w*{},$]*?\bfrom\b)?\s*\(?\s*(['"])([^'"\n]+)\2/g
  return [...code.matchAll(statement)].map(([, type, , to = '']) => ({
    from,
    to,
    typeOnly: type !== undefined,
  }))
}

test('imports run one way', async () => {
  const src = `${import.meta.dir}/../src`
  const faults: string[] = []
  let seen = 0
  for (const path of new Glob('**/*.ts').scanSync({ cwd: src })) {
    const code = await Bun.file(`${src}/${path}`).text()
    const found = importsOf(path, code)
    // What the compiler finds, we found: no spelling escapes the pattern.
    const certain = new Bun.Transpiler({ loader: 'ts' }).scanImports(code).map((each) => each.path)
    expect(certain.filter((to) => !found.some((each) => each.to === to))).toEqual([])
    seen += found.length
    faults.push(...found.map(faultOf).filter((fault) => fault !== null))
  }
  expect(faults).toEqual([])
  expect(seen).toBeGreaterThan(100)
})

describe('the rule itself', () => {
  const faultsOf = (from: string, code: string) => importsOf(from, code).map(faultOf)

  test.each([
    ['lib/ids.ts', `import { open } from '../db/open.ts'`],
    ['lib/ids.ts', `import type { Row } from '../db/open.ts'`],
    ['db/open.ts', `export * from '../features/keys/queries.ts'`],
    ['features/keys/queries.ts', `import { createKey } from './service.ts'`],
    ['features/keys/service.ts', `import { auth } from '../../http/auth.ts'`],
    ['features/keys/service.ts', `import { a, type B } from './routes.ts'`],
    ['features/keys/service.ts', `import { t } from 'elysia'`],
    ['features/keys/service.ts', `import { insertUser } from '../users/queries.ts'`],
    ['features/keys/service.ts', `import type { UserRow } from '../users/queries.ts'`],
    ['features/keys/routes.ts', `import { userRoutes } from '../users/routes.ts'`],
    ['features/keys/service.ts', `const { serve } = await import('../../cli/serve.ts')`],
    ['http/auth.ts', `import '../app.ts'`],
    ['app.ts', `import { runCommandLine } from "./cli/run.ts"`],
    ['cli/serve.ts', `import { main } from '../main.ts'`],
    ['context.ts', `import { cache } from './features/verify/cache.ts'`],
    ['config.ts', `import { openDatabase } from './db/open.ts'`],
    ['utils.ts', `import { x } from './lib/x.ts'`],
    ['app.ts', `import { x } from './utils.ts'`],
  ])('refuses in %s: %s', (from, code) => {
    expect(faultsOf(from, code)).toEqual([expect.any(String)])
  })

  test.each([
    ['main.ts', `import { runCommandLine } from './cli/run.ts'`],
    ['cli/version.ts', `import { version } from '../../package.json' with { type: 'json' }`],
    ['app.ts', `import { keyRoutes } from './features/keys/routes.ts'`],
    ['features/keys/routes.ts', `import { Elysia } from 'elysia'`],
    ['features/keys/service.ts', `import { findUser } from '../users/service.ts'`],
    ['features/keys/service.ts', `import type { Context } from '../../context.ts'`],
    ['lib/log.ts', `import type { Config } from '../config.ts'`],
    ['context.ts', `import type { CredentialCache } from './features/verify/cache.ts'`],
  ])('allows in %s: %s', (from, code) => {
    expect(faultsOf(from, code)).toEqual([null])
  })
})
