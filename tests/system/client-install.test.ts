import { afterAll, beforeAll, expect, test } from 'bun:test'
import { cpSync, readdirSync, symlinkSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { emptyDirectory, runProgram } from '../support/binary.ts'
import { newKey, newPerson } from '../support/client.ts'
import { verifierKey } from '../support/latchkey-client.ts'
import { startService, type TestService } from '../support/service.ts'

const root = resolve(import.meta.dir, '../..')
const TSC = join(root, 'node_modules/typescript/bin/tsc')
const SOURCE = ['client', 'docs', 'scripts', 'src', 'LICENSE', 'bun.lock', 'package.json', 'tsconfig.json']

const PROGRAM = `
import { createClient, type KeyPrincipal } from 'latchkey/client'
declare const process: { env: Record<string, string>; stdout: { write(text: string): void } }
const { LATCHKEY_URL = '', LATCHKEY_KEY, TOKEN } = process.env
const client = createClient({ url: LATCHKEY_URL, key: LATCHKEY_KEY })
const request = new Request('http://localhost', { headers: { authorization: 'Bearer ' + TOKEN } })
const principal = await client.authenticate(request, { kind: 'key', scopes: ['read'] })
const key: KeyPrincipal | null = principal.kind === 'refused' ? null : principal
process.stdout.write(String(key?.name))
// @ts-expect-error no such need
client.authenticate(request, { kind: 'nobody' })
  .catch(() => {})
`

const here = emptyDirectory()
const clone = join(here.path, 'clone')
let service: TestService
let registry: ReturnType<typeof serveRegistry>
let env: Record<string, string>

async function run(cwd: string, ...words: string[]): Promise<string> {
  const { code, out, err } = await runProgram(words, { cwd, env: { ...process.env, ...env } })
  if (code !== 0) throw new Error(`"${words.join(' ')}" failed:\n${out}${err}`)
  return out
}

/** A registry that has only jose, from the installed package. */
function serveRegistry(manifest: { name: string; version: string }, packed: string) {
  return Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch(request) {
      const { pathname, origin } = new URL(request.url)
      if (pathname === '/jose.tgz') return new Response(Bun.file(packed))
      if (pathname !== '/jose') return new Response('{}', { status: 404 })
      const { name, version } = manifest
      const versions = { [version]: { ...manifest, dist: { tarball: `${origin}/jose.tgz` } } }
      return Response.json({ name, 'dist-tags': { latest: version }, versions })
    },
  })
}

beforeAll(async () => {
  service = await startService({ isIssuer: true })
  const { access } = await newPerson(service)
  env = {
    LATCHKEY_URL: service.url,
    LATCHKEY_KEY: await verifierKey(service),
    TOKEN: (await newKey(service, access, { name: 'installed', scopes: 'read' })).key,
    npm_config_cache: join(here.path, 'npm'),
    BUN_INSTALL_CACHE_DIR: join(here.path, 'bun'),
    GIT_AUTHOR_NAME: 'Test',
    GIT_AUTHOR_EMAIL: 'test@example.com',
    GIT_COMMITTER_NAME: 'Test',
    GIT_COMMITTER_EMAIL: 'test@example.com',
  }
  const jose = join(root, 'node_modules/jose')
  const packed = (await run(jose, 'npm', 'pack', '--silent', '--pack-destination', here.path)).trim()
  registry = serveRegistry(await Bun.file(join(jose, 'package.json')).json(), join(here.path, packed))
  env.npm_config_registry = registry.url.origin
  for (const name of SOURCE) cpSync(join(root, name), join(clone, name), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'))
  await run(clone, 'git', 'init', '--quiet')
  await run(clone, 'git', 'add', 'LICENSE')
  await run(clone, 'git', 'commit', '--quiet', '-m', 'Begin')
  await run(clone, process.execPath, 'scripts/build-client.ts', '--branch=client')
  await run(join(clone, 'dist/client'), 'npm', 'pack', '--silent')
}, 240_000)
afterAll(async () => {
  await registry.stop(true)
  await service.stop()
  here[Symbol.dispose]()
})

const tarball = () =>
  join(clone, 'dist/client', readdirSync(join(clone, 'dist/client')).find(isTarball) ?? '')
const isTarball = (name: string) => name.endsWith('.tgz')
const gitUrl = () => `git+file://${clone}#client`

test.each([
  ['npm', 'its tarball', tarball],
  ['npm', 'a Git URL', gitUrl],
  ['bun', 'its tarball', tarball],
  ['bun', 'a Git URL', gitUrl],
])(
  '%s installs the client from %s: its types compile, and it runs in Node and Bun',
  async (by, _, source) => {
    using project = emptyDirectory()
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2022',
      lib: ['es2023', 'dom', 'dom.iterable'],
      types: [],
      strict: true,
      exactOptionalPropertyTypes: true,
    }
    const files = {
      'package.json': JSON.stringify({ private: true, type: 'module' }),
      'tsconfig.json': JSON.stringify({ compilerOptions, files: ['main.ts'] }),
      'main.ts': PROGRAM,
    }
    for (const [name, text] of Object.entries(files)) await Bun.write(join(project.path, name), text)
    const words = by === 'npm' ? ['npm', 'install', '--no-audit', '--no-fund'] : [process.execPath, 'add']
    await run(project.path, ...words, source())
    const installed = readdirSync(join(project.path, 'node_modules')).filter((name) => !name.startsWith('.'))
    expect(installed.sort()).toEqual(['jose', 'latchkey'])
    await run(project.path, process.execPath, TSC, '-p', '.')
    for (const runtime of ['node', process.execPath])
      expect(`${basename(runtime)} ${await run(project.path, runtime, 'main.js')}`).toBe(
        `${basename(runtime)} installed`,
      )
  },
)

test('the branch has only the package, and the checked-out files do not change', async () => {
  expect(await run(clone, 'git', 'ls-files')).toBe('LICENSE\n')
  const held = (await run(clone, 'git', 'ls-tree', '--name-only', 'client')).trim().split('\n')
  expect(held).toContain('package.json')
  expect(held.filter((name) => !/\.(js|d\.ts)$/.test(name))).toEqual(['LICENSE', 'README.md', 'package.json'])
})
