import { describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { version } from '../../package.json' with { type: 'json' }
import type { Command } from '../../src/cli/command.ts'
import { COMMANDS } from '../../src/cli/commands.ts'
import { emptyDirectory, runProgram } from '../support/binary.ts'
import { call, logIn } from '../support/client.ts'
import { createDatabase } from '../support/postgres.ts'
import { latchkey, latchkeyOnTerminal, PROGRAM, serve } from '../support/program.ts'

const SLOW_MS = 30_000
const PASSWORD = 'a passphrase of several words'
const SECRET_KEY = randomBytes(32).toString('hex')

/** What a command cannot do without, each of it as its spec takes it. */
function neededWords({ positionals = {}, options = {} }: Command): string[] {
  const needed = Object.entries(options).filter(([, { required }]) => required)
  return [
    ...Object.values(positionals).map(({ choices }) => choices?.[0] ?? 'word'),
    ...needed.flatMap(([name, { takes }]) => (takes ? [`--${name}`, 'value'] : [`--${name}`])),
  ]
}

/** An empty working directory and the settings of an empty database on PostgreSQL. */
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

describe('help', () => {
  test('of the program names every command, and is also "help"', async () => {
    using here = emptyDirectory()
    const { code, out, err } = await latchkey(here.path, ['--help'])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    for (const { name, summary } of COMMANDS)
      expect(out).toMatch(new RegExp(`^  ${name} +${summary.slice(0, 9)}`, 'm'))
    for (const words of [['-h'], ['help']]) expect((await latchkey(here.path, words)).out).toBe(out)
  })

  test.each(COMMANDS.map(({ name }) => name))(
    'of %s tells its usage, whatever the settings are',
    async (name) => {
      using here = emptyDirectory()
      const { code, out, err } = await latchkey(here.path, [...name.split(' '), '--help'], { PORT: 'wrong' })
      expect({ code, err }).toEqual({ code: 0, err: '' })
      expect(out).toContain(`Usage: latchkey ${name} `)
      expect(out.includes('--json')).toBe(name !== 'serve')
    },
  )

  test('the release', async () => {
    using here = emptyDirectory()
    expect(await latchkey(here.path, ['--version'])).toEqual({
      code: 0,
      out: `latchkey ${version}\n`,
      err: '',
    })
  })
})

describe('wrong use ends with 2, one sentence and a hint', () => {
  test.each([
    [['nonsense'], 'there is no command "nonsense"'],
    [['users'], 'there is no command "users"'],
    [['users', 'nonsense'], 'there is no command "users nonsense"'],
    [['--nonsense'], "Unknown option '--nonsense'"],
    [['serve', 'twice'], '"twice" is one word too many'],
    [['migrate', '--force'], "Unknown option '--force'"],
    [['admin', 'create'], '--email EMAIL is missing'],
    [['admin', 'create', '--email'], "Option '--email <value>' argument missing"],
    [['users', 'set-role'], 'EMAIL|ID is missing'],
    [['users', 'set-role', 'a@example.com', 'root'], 'admin|user must be admin or user, not "root"'],
    [
      ['users', 'create', '--email', 'a@example.com', '--role', 'root'],
      '--role must be admin or user, not "root"',
    ],
    [['users', 'list', '--limit', '0'], '--limit must be a whole number from 1 to 10000, not "0"'],
    [['users', 'list', '--limit', '1e3'], '--limit must be a whole number from 1 to 10000, not "1e3"'],
    [['sessions', 'end'], '--all is missing'],
    [['signing-keys', 'revoke'], 'KID is missing'],
  ])('%p', async (words, sentence) => {
    using here = emptyDirectory()
    const { code, out, err } = await latchkey(here.path, words)
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toStartWith(`latchkey: ${sentence}`)
    expect(err).toMatch(/--help|set-role/)
    expect(err).not.toMatch(/^ {4}at /m)
  })
})

describe('settings', () => {
  test(
    'that are wrong stop every command with all faults at once and without a secret',
    async () => {
      using here = emptyDirectory()
      const env = {
        DATABASE_URL: 'mysql://u:hunter2@h/db',
        PORT: 'http',
        SECRET_KEY: 'hunter2',
        DOCS: 'perhaps',
      }
      for (const { name, load } of COMMANDS) {
        const words = neededWords(await load())
        const { code, out, err } = await latchkey(here.path, [...name.split(' '), ...words], env)
        expect({ name, code, out }).toEqual({ name, code: 2, out: '' })
        expect(err.match(/^ {2}- (\w+)/gm)).toEqual([
          '  - DATABASE_URL',
          '  - PORT',
          '  - SECRET_KEY',
          '  - DOCS',
        ])
        expect(err).not.toContain('hunter2')
      }
    },
    SLOW_MS,
  )

  test('come from .env too, the real environment wins, and "config" shows them without a secret', async () => {
    using here = emptyDirectory()
    writeFileSync(
      join(here.path, '.env'),
      `DATABASE_URL=postgresql+asyncpg://u:hunter2@h/db\nSECRET_KEY=${SECRET_KEY}\nPORT=1234\nHOST=::1\n`,
    )
    const { code, out } = await latchkey(here.path, ['config', '--json'], { PORT: '4321' })
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({
      DATABASE_URL: 'postgres://u:[redacted]@h/db',
      SECRET_KEY: '[redacted]',
      PORT: 4321,
      HOST: '::1',
    })
    const lines = (await latchkey(here.path, ['config'])).out
    expect(lines).toContain('\nPORT=1234\n')
    for (const text of [out, lines]) expect(text).not.toMatch(new RegExp(`hunter2|${SECRET_KEY}`))
  })
})

test('the document needs no database', async () => {
  using here = emptyDirectory()
  const { code, out, err } = await latchkey(here.path, ['openapi'], {
    DATABASE_URL: 'postgres://nowhere.invalid/db',
    SECRET_KEY,
  })
  expect({ code, err }).toEqual({ code: 0, err: '' })
  const document = JSON.parse(out)
  expect(document.openapi).toStartWith('3.')
  expect(Object.keys(document.paths)).toContain('/auth/login')
})

test('a slow reader gets all of it, one that goes away is no failure, and a full disk is one', async () => {
  using here = emptyDirectory()
  const whole = (await latchkey(here.path, ['openapi'])).out
  // More than a pipe holds.
  expect(whole.length).toBeGreaterThan(65_536)
  const shell = (tail: string) =>
    runProgram(['/bin/sh', '-c', `"$@" openapi ${tail}`, 'sh', ...PROGRAM], { cwd: here.path })
  expect((await shell('| (sleep 1; cat)')).out).toBe(whole)
  expect(await shell('| head -c 1')).toEqual({ code: 0, out: '{', err: '' })
  if (existsSync('/dev/full')) {
    expect(await shell('> /dev/full')).toEqual({ code: 1, out: '', err: expect.stringContaining('ENOSPC') })
  }
})

test('a database that cannot be reached is one sentence, and the stack comes with LOG_LEVEL=debug', async () => {
  using here = emptyDirectory()
  const env = { DATABASE_URL: 'postgres://u:hunter2@127.0.0.1:1/db', SECRET_KEY }
  const { code, out, err } = await latchkey(here.path, ['admin', 'create', '--email', 'a@example.com'], env)
  expect({ code, out }).toEqual({ code: 1, out: '' })
  expect(err).toMatch(/^latchkey: the database cannot be reached: .*\n$/)
  const debug = await latchkey(here.path, ['migrate'], {
    ...env,
    LOG_LEVEL: 'debug',
    DATABASE_WAIT_SECONDS: '0',
  })
  expect(debug.err).toContain(' at ')
  expect(err + debug.err).not.toContain('hunter2')
})

describe('healthcheck', () => {
  test(
    'says yes to a server that works, whatever proxy the environment names, and no to none',
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

  test('gives up on a server that does not answer, and on what is no Latchkey', async () => {
    using here = emptyDirectory()
    const silent = createServer().listen(0, '127.0.0.1')
    const other = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: () => new Response('', { status: 404 }),
    })
    const address = silent.address()
    const port = typeof address === 'object' && address ? address.port : 0
    expect(await latchkey(here.path, ['healthcheck'], { PORT: `${port}` })).toMatchObject({
      code: 1,
      err: expect.stringContaining('no answer in 2 s'),
    })
    expect(await latchkey(here.path, ['healthcheck'], { PORT: `${other.port}` })).toMatchObject({
      code: 1,
      err: expect.stringContaining('status 404'),
    })
    silent.close()
    await other.stop(true)
  })
})

describe('migrations', () => {
  test(
    'MIGRATE=check refuses a database that lacks some; "migrate" adds them, once',
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
    'on PostgreSQL works while a server runs, and the role holds there at once',
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
      // Another process did it: within a second.
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
    'without a terminal makes a strong password and prints it once',
    async () => {
      await using at = await onPostgres()
      const { code, out, err } = await latchkey(
        at.path,
        ['admin', 'create', '--email', 'a@example.com'],
        at.env,
      )
      expect({ code, err }).toEqual({ code: 0, err: '' })
      const password = /shown this once: (\S{24,})\n$/.exec(out)?.[1] ?? ''
      await using server = await serve(at.path, at.env)
      expect(server.output()).not.toContain('There is no admin yet')
      await logIn(server, 'a@example.com', password)
    },
    SLOW_MS,
  )

  test.each([
    ['', 'there is no password on standard input'],
    ['short', 'password: Must have at least 8 characters'],
    ['password', 'password: Is among the most common passwords'],
  ])('refuses %p from standard input', async (stdin, sentence) => {
    await using at = await onPostgres()
    const words = ['admin', 'create', '--email', 'a@example.com', '--password-stdin']
    expect(await latchkey(at.path, words, at.env, stdin)).toEqual({
      code: 1,
      out: '',
      err: `latchkey: ${sentence}\n`,
    })
  })

  test(
    'on a terminal asks twice without showing what is typed',
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
      await logIn(server, 'a@example.com', PASSWORD)
    },
    SLOW_MS,
  )

  test('on a terminal makes nothing where the two differ, or the person gives up', async () => {
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
