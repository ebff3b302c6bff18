import { describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { version } from '../../package.json' with { type: 'json' }
import { COMMANDS } from '../../src/cli/commands.ts'
import { emptyDirectory, runProgram } from '../support/binary.ts'
import { call, logIn } from '../support/client.ts'
import { createDatabase } from '../support/postgres.ts'
import { latchkey, latchkeyOnTerminal, PROGRAM, serve } from '../support/program.ts'

/**
 * Properties that need a separate process: arguments, exit code, streams, terminal and environment. `tests/core` tests the
 * effects of the commands.
 */
const SLOW_MS = 240_000
const PASSWORD = 'a passphrase of several words'
const SECRET_KEY = randomBytes(32).toString('hex')

/** Makes an empty working directory, and settings with an empty database on PostgreSQL. */
async function onPostgres(options: { migrated?: boolean } = {}) {
  const here = emptyDirectory()
  const database = await createDatabase(options)
  const env = { DATABASE_URL: database.url, SECRET_KEY }
  const dispose = async () => {
    await database.drop()
    here[Symbol.dispose]()
  }
  return { path: here.path, env, [Symbol.asyncDispose]: dispose }
}

test('the release', async () => {
  using here = emptyDirectory()
  expect(await latchkey(here.path, ['--version'])).toEqual({ code: 0, out: `latchkey ${version}\n`, err: '' })
})

test('the help', async () => {
  using here = emptyDirectory()
  const { code, out, err } = await latchkey(here.path, ['--help'])
  expect({ code, err }).toEqual({ code: 0, err: '' })
  for (const { name } of COMMANDS) expect(out).toContain(`  ${name} `)
})

test('wrong use ends with 2 and one sentence on standard error', async () => {
  using here = emptyDirectory()
  const { code, out, err } = await latchkey(here.path, ['nonsense'])
  expect({ code, out }).toEqual({ code: 2, out: '' })
  expect(err).toStartWith('latchkey: there is no command "nonsense"')
})

test('settings are read from .env in the working directory, and the environment takes precedence', async () => {
  using here = emptyDirectory()
  writeFileSync(join(here.path, '.env'), 'PORT=1234\nHOST=::1\n')
  const { code, out } = await latchkey(here.path, ['config', '--json'], { PORT: '4321' })
  expect(code).toBe(0)
  expect(JSON.parse(out)).toMatchObject({ PORT: 4321, HOST: '::1' })
})

test('a slow reader gets the whole output, a reader that stops is no failure, and a full disk is a failure', async () => {
  using here = emptyDirectory()
  const whole = (await latchkey(here.path, ['openapi'])).out
  // More than the buffer of a pipe.
  expect(whole.length).toBeGreaterThan(65_536)
  const shell = (tail: string) =>
    runProgram(['/bin/sh', '-c', `"$@" openapi ${tail}`, 'sh', ...PROGRAM], { cwd: here.path })
  expect((await shell('| (sleep 1; cat)')).out).toBe(whole)
  expect(await shell('| head -c 1')).toEqual({ code: 0, out: '{', err: '' })
  if (existsSync('/dev/full')) {
    expect(await shell('> /dev/full')).toEqual({ code: 1, out: '', err: expect.stringContaining('ENOSPC') })
  }
})

describe('healthcheck', () => {
  test(
    'succeeds for a working server, whatever proxy the environment names, and fails without a server',
    async () => {
      await using at = await onPostgres()
      await using server = await serve(at.path, at.env)
      const { port } = new URL(server.url)
      const env = { PORT: port, HTTP_PROXY: 'http://127.0.0.1:1', http_proxy: 'http://127.0.0.1:1' }
      expect(await latchkey(at.path, ['healthcheck'], env)).toMatchObject({ code: 0, err: '' })
      const inContainer = await latchkey(at.path, ['healthcheck', '--json'], { ...env, HOST: '0.0.0.0' })
      expect(JSON.parse(inContainer.out)).toEqual({ status: 'alive', url: `http://127.0.0.1:${port}/livez` })
      await server.end('SIGTERM')
      const gone = await latchkey(at.path, ['healthcheck'], env)
      expect(gone).toMatchObject({ code: 1, out: '', err: expect.stringContaining('no connection') })
    },
    SLOW_MS,
  )
})

describe('migrations', () => {
  test(
    'MIGRATE=check refuses a database that lacks migrations; "migrate" applies them once',
    async () => {
      await using at = await onPostgres({ migrated: false })
      const check = { ...at.env, MIGRATE: 'check' }
      const refused = await latchkey(at.path, ['serve'], check)
      expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('latchkey migrate') })
      const first = JSON.parse((await latchkey(at.path, ['migrate', '--json'], check)).out)
      expect(first.applied).toBeGreaterThan(0)
      const second = JSON.parse((await latchkey(at.path, ['migrate', '--json'], check)).out)
      expect(second).toEqual({ applied: 0, known: first.known })
      await using server = await serve(at.path, check)
      expect((await call(server, 'GET /readyz')).status).toBe(200)
    },
    SLOW_MS,
  )
})

describe('admin create', () => {
  test(
    'on PostgreSQL works while a server runs, and the role applies there within a second',
    async () => {
      await using at = await onPostgres()
      await using server = await serve(at.path, at.env)
      expect(server.output()).toContain('There is no admin yet')
      const words = ['admin', 'create', '--email', 'Boss@Example.com', '--password-stdin', '--json']
      const { code, out } = await latchkey(at.path, words, at.env, `${PASSWORD}\n`)
      expect(code).toBe(0)
      expect(JSON.parse(out)).toMatchObject({ email: 'boss@example.com', role: 'admin', is_active: true })
      expect(out).not.toContain(PASSWORD)
      const { access: bearer } = await logIn(server, 'boss@example.com', PASSWORD)
      expect((await call(server, 'GET /protected/admin', { bearer })).status).toBe(200)

      await latchkey(at.path, [...words.slice(0, 3), 'other@example.com'], at.env)
      const demoted = await latchkey(at.path, ['users', 'set-role', 'boss@example.com', 'user'], at.env)
      expect(demoted).toEqual({ code: 0, out: 'boss@example.com has the role user.\n', err: '' })
      // Another process made the change, so the server hears of it within a second.
      const deadline = Date.now() + 1000
      let status = 200
      while (status === 200 && Date.now() < deadline) {
        status = (await call(server, 'GET /protected/admin', { bearer })).status
      }
      expect(status).toBe(403)
      const again = await latchkey(at.path, words, at.env, PASSWORD)
      expect(again).toEqual({ code: 1, out: '', err: 'latchkey: This e-mail is already registered.\n' })
    },
    SLOW_MS,
  )

  test(
    'on a terminal asks twice without echoing the input',
    async () => {
      await using at = await onPostgres()
      const session = latchkeyOnTerminal(at.path, ['admin', 'create', '--email', 'a@example.com'], at.env)
      await session.shows('Password')
      session.type(`${PASSWORD}\r`)
      await session.shows('again')
      session.type(`${PASSWORD}\r`)
      expect(await session.exited).toBe(0)
      expect(session.screen()).toContain('Admin a@example.com made')
      expect(session.screen()).not.toContain(PASSWORD)
      await using server = await serve(at.path, at.env)
      expect(server.output()).not.toContain('There is no admin yet')
      await logIn(server, 'a@example.com', PASSWORD)
    },
    SLOW_MS,
  )

  test('on a terminal makes no admin where the two inputs differ, or the person gives up', async () => {
    await using at = await onPostgres()
    const words = ['admin', 'create', '--email', 'a@example.com']
    const session = latchkeyOnTerminal(at.path, words, at.env)
    await session.shows('Password')
    session.type(`${PASSWORD}\r`)
    await session.shows('again')
    session.type('something else\r')
    expect(await session.exited).toBe(1)
    expect(session.screen()).toContain('the two passwords differ')
    for (const key of ['\x03', '\x04']) {
      const left = latchkeyOnTerminal(at.path, words, at.env)
      await left.shows('Password')
      left.type(key)
      expect(await left.exited).toBe(1)
    }
    const missing = await latchkey(at.path, ['users', 'set-role', 'a@example.com', 'user'], at.env)
    expect(missing).toMatchObject({ code: 1, err: 'latchkey: There is no such user.\n' })
  })
})
