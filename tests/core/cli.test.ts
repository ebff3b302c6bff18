import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { version } from '../../package.json' with { type: 'json' }
import type { Command } from '../../src/cli/command.ts'
import { COMMANDS } from '../../src/cli/commands.ts'
import { emptyDirectory } from '../support/binary.ts'
import { logIn } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { startService, type TestService } from '../support/service.ts'

const SECRET_KEY = randomBytes(32).toString('hex')

/** The required arguments of each command. */
function neededWords({ positionals = {}, options = {} }: Command): string[] {
  const needed = Object.entries(options).filter(([, { required }]) => required)
  return [
    ...Object.values(positionals).map(({ choices }) => choices?.[0] ?? 'word'),
    ...needed.flatMap(([name, { takes, choices }]) =>
      takes ? [`--${name}`, choices?.[0] ?? 'value'] : [`--${name}`],
    ),
  ]
}

describe('help', () => {
  test('of the program names every command, and is also "help"', async () => {
    const { code, out, err } = await runInProcess(['--help'])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    for (const { name, summary } of COMMANDS)
      expect(out).toMatch(new RegExp(`^  ${name} +${summary.slice(0, 9)}`, 'm'))
    for (const words of [['-h'], ['help']]) expect((await runInProcess(words)).out).toBe(out)
  })

  test.each(COMMANDS.map(({ name }) => name))(
    'of %s prints its usage, also with wrong settings',
    async (name) => {
      const { code, out, err } = await runInProcess([...name.split(' '), '--help'], {
        env: { PORT: 'wrong' },
      })
      expect({ code, err }).toEqual({ code: 0, err: '' })
      expect(out).toContain(`Usage: latchkey ${name} `)
      expect(out.includes('--json')).toBe(name !== 'serve')
    },
  )

  test('the release', async () => {
    expect(await runInProcess(['--version'])).toEqual({
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
    const { code, out, err } = await runInProcess(words)
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toStartWith(`latchkey: ${sentence}`)
    expect(err).toMatch(/--help|set-role/)
    expect(err).not.toMatch(/^ {4}at /m)
  })
})

describe('settings', () => {
  test('that are wrong stop every command, with all faults at once and without a secret', async () => {
    const env = {
      DATABASE_URL: 'mysql://u:hunter2@h/db',
      PORT: 'http',
      SECRET_KEY: 'hunter2',
      DOCS: 'perhaps',
    }
    for (const { name, load } of COMMANDS) {
      const words = neededWords(await load())
      const { code, out, err } = await runInProcess([...name.split(' '), ...words], { env })
      expect({ name, code, out }).toEqual({ name, code: 2, out: '' })
      expect(err.match(/^ {2}- (\w+)/gm)).toEqual([
        '  - DATABASE_URL',
        '  - PORT',
        '  - SECRET_KEY',
        '  - DOCS',
      ])
      expect(err).not.toContain('hunter2')
    }
  })

  test('are read from .env too, the environment takes precedence, and "config" prints them without a secret', async () => {
    using here = emptyDirectory()
    writeFileSync(
      join(here.path, '.env'),
      `DATABASE_URL=postgresql+asyncpg://u:hunter2@h/db\nSECRET_KEY=${SECRET_KEY}\nPORT=1234\nHOST=::1\n`,
    )
    const { code, out } = await runInProcess(['config', '--json'], {
      directory: here.path,
      env: { PORT: '4321' },
    })
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({
      DATABASE_URL: 'postgres://u:[redacted]@h/db',
      SECRET_KEY: '[redacted]',
      PORT: 4321,
      HOST: '::1',
    })
    const lines = (await runInProcess(['config'], { directory: here.path })).out
    expect(lines).toContain('\nPORT=1234\n')
    for (const text of [out, lines]) expect(text).not.toMatch(new RegExp(`hunter2|${SECRET_KEY}`))
  })
})

test('"openapi" needs no database', async () => {
  const { code, out, err } = await runInProcess(['openapi'], {
    env: {
      DATABASE_URL: 'postgres://nowhere.invalid/db',
      SECRET_KEY,
    },
  })
  expect({ code, err }).toEqual({ code: 0, err: '' })
  const document = JSON.parse(out)
  expect(document.openapi).toStartWith('3.')
  expect(Object.keys(document.paths)).toContain('/auth/login')
})

test('an unreachable database is reported in one sentence, and with a stack at LOG_LEVEL=debug', async () => {
  const env = { DATABASE_URL: 'postgres://u:hunter2@127.0.0.1:1/db', SECRET_KEY }
  const { code, out, err } = await runInProcess(['admin', 'create', '--email', 'a@example.com'], { env })
  expect({ code, out }).toEqual({ code: 1, out: '' })
  expect(err).toMatch(/^latchkey: the database cannot be reached: .*\n$/)
  const inQuery = 'postgres://127.0.0.1:1/db?user=u&password=hunter2'
  for (const DATABASE_URL of [env.DATABASE_URL, inQuery]) {
    const debug = await runInProcess(['migrate'], {
      env: { ...env, DATABASE_URL, LOG_LEVEL: 'debug', DATABASE_WAIT_SECONDS: '0' },
    })
    expect(debug.err).toContain(' at ')
    expect(err + debug.err).not.toContain('hunter2')
  }
  // A URL in the place of an argument.
  const wrong = await runInProcess(['users', 'list', inQuery], { env })
  expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining('password=[redacted]')])
})

describe('healthcheck', () => {
  test('fails for a server that does not answer, and for one that is not Latchkey', async () => {
    const silent = createServer().listen(0, '127.0.0.1')
    const other = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: () => new Response('', { status: 404 }),
    })
    const address = silent.address()
    const port = typeof address === 'object' && address ? address.port : 0
    expect(await runInProcess(['healthcheck'], { env: { PORT: `${port}` } })).toMatchObject({
      code: 1,
      err: expect.stringContaining('no answer in 2 s'),
    })
    expect(await runInProcess(['healthcheck'], { env: { PORT: `${other.port}` } })).toMatchObject({
      code: 1,
      err: expect.stringContaining('status 404'),
    })
    silent.close()
    await other.stop(true)
  })
})

describe('admin create', () => {
  let service: TestService
  let env: Record<string, string>
  beforeAll(async () => {
    service = await startService()
    env = { DATABASE_URL: service.databaseUrl, SECRET_KEY: service.config.secretKey?.reveal() ?? '' }
  })
  afterAll(() => service.stop())

  test('without a terminal makes a strong password and prints the password once', async () => {
    const { code, out, err } = await runInProcess(['admin', 'create', '--email', 'a@example.com'], { env })
    expect({ code, err }).toEqual({ code: 0, err: '' })
    const password = /shown this once: (\S{24,})\n$/.exec(out)?.[1] ?? ''
    await logIn(service, 'a@example.com', password)
  })

  test.each([
    ['', 'there is no password on standard input'],
    ['short', 'password: Must have at least 8 characters'],
    ['password', 'password: Is among the most common passwords'],
  ])('refuses %p from standard input', async (stdin, sentence) => {
    const words = ['admin', 'create', '--email', 'b@example.com', '--password-stdin']
    expect(await runInProcess(words, { env, input: stdin })).toEqual({
      code: 1,
      out: '',
      err: `latchkey: ${sentence}\n`,
    })
  })
})
