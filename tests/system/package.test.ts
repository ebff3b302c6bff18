import { expect, test } from 'bun:test'
import { cpSync, existsSync, symlinkSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { emptyDirectory, startProgram } from '../support/binary.ts'
import { call } from '../support/client.ts'

const root = resolve(import.meta.dir, '../..')
/** Files that a clone does not have. */
const OWN = new Set(['.git', '.env', 'node_modules', 'dist', 'data', 'coverage'])
/** Environment variables that the install may need. Settings of Latchkey are left out. */
const NETWORK = /^(HOME|TMPDIR|BUN_INSTALL.*|NPM_CONFIG_.*|.*_PROXY|NODE_EXTRA_CA_CERTS|SSL_CERT_.*)$/i

test('"bun run start" serves from a fresh clone, and installs only what it needs', async () => {
  using here = emptyDirectory()
  const clone = join(here.path, 'latchkey')
  cpSync(root, clone, {
    recursive: true,
    filter: (path) => resolve(path, '..') !== root || !OWN.has(basename(path)),
  })
  // With a Bun that npx installed, a script finds only this file.
  symlinkSync(process.execPath, join(here.path, 'bun'))
  const network = Object.entries(process.env).filter(([name]) => NETWORK.test(name))
  const env = { ...Object.fromEntries(network), PATH: `${here.path}:/usr/local/bin:/usr/bin:/bin` }

  await using server = await startProgram([join(here.path, 'bun'), 'run', 'start'], { cwd: clone, env })
  expect(await call(server, 'GET /readyz')).toMatchObject({ status: 200, body: { status: 'ready' } })
  expect(existsSync(join(clone, 'node_modules/elysia'))).toBe(true)
  expect(existsSync(join(clone, 'node_modules/knip'))).toBe(false)
  expect(existsSync(join(clone, 'data'))).toBe(true)
  expect(await server.end('SIGTERM')).toBe(0)
}, 240_000)
