import { describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { emptyDirectory, type RunningProgram } from '../support/binary.ts'
import { call, logIn } from '../support/client.ts'
import { latchkey, serve } from '../support/compiled.ts'
import { embeddedHome } from '../support/embedded-home.ts'
import { until } from '../support/until.ts'

/** Starts of a server take seconds on a busy machine. */
const SLOW_MS = 240_000
const PASSWORD = 'a passphrase of several words'

const modeOf = (path: string) => statSync(path).mode & 0o777

function createAdmin(path: string, email: string, env: Record<string, string> = {}) {
  return latchkey(path, ['admin', 'create', '--email', email, '--password-stdin'], env, PASSWORD)
}

async function adminStatus(server: RunningProgram, bearer: string): Promise<number> {
  return (await call(server, 'GET /protected/admin', { bearer })).status
}

test(
  'a command runs inside the server that has the embedded database open, and applies at once',
  async () => {
    using here = await embeddedHome()
    await using server = await serve(here.path)
    expect(await createAdmin(here.path, 'one@example.com')).toMatchObject({ code: 0, err: '' })
    expect(await createAdmin(here.path, 'two@example.com')).toMatchObject({ code: 0, err: '' })
    await until(() => server.output().includes('"command":"admin create"'), 'the server has logged it')
    const { access } = await logIn(server, 'one@example.com', PASSWORD)
    expect(await adminStatus(server, access)).toBe(200)

    const role = ['users', 'set-role', 'one@example.com']
    const demoted = await latchkey(here.path, [...role, 'user', '--json'])
    expect(JSON.parse(demoted.out)).toMatchObject({ email: 'one@example.com', role: 'user' })
    expect(await adminStatus(server, access)).toBe(403)

    // A failure in the server is printed here in one sentence.
    expect(await createAdmin(here.path, 'one@example.com')).toEqual({
      code: 1,
      out: '',
      err: 'latchkey: This e-mail is already registered.\n',
    })
    expect(await latchkey(here.path, ['users', 'set-role', 'two@example.com', 'user'])).toMatchObject({
      code: 1,
      out: '',
    })
    expect(server.output()).not.toContain(PASSWORD)
  },
  SLOW_MS,
)

test(
  'the same commands work where no server runs',
  async () => {
    using here = await embeddedHome()
    expect(await createAdmin(here.path, 'one@example.com')).toMatchObject({ code: 0, err: '' })
    expect(existsSync(join(here.path, 'data/control.sock'))).toBe(false)
    await using server = await serve(here.path)
    expect(server.output()).not.toContain('There is no admin yet')
    await logIn(server, 'one@example.com', PASSWORD)
  },
  SLOW_MS,
)

test(
  'only the owner can open the socket, the key and the data; an orderly end removes the socket',
  async () => {
    using here = await embeddedHome()
    const data = join(here.path, 'data')
    await using server = await serve(here.path)
    expect(modeOf(data)).toBe(0o700)
    expect(modeOf(join(data, 'control.sock'))).toBe(0o600)
    expect(modeOf(join(data, 'secret_key'))).toBe(0o600)
    await server.end('SIGTERM')
    expect(existsSync(join(data, 'control.sock'))).toBe(false)
  },
  SLOW_MS,
)

test(
  'a socket that kill -9 leaves behind does not stop a command or the next server, and the key stays',
  async () => {
    using here = await embeddedHome()
    const data = join(here.path, 'data')
    await using first = await serve(here.path)
    await createAdmin(here.path, 'one@example.com')
    const { refresh } = await logIn(first, 'one@example.com', PASSWORD)
    const key = readFileSync(join(data, 'secret_key'), 'utf8')
    await first.end('SIGKILL')
    expect(existsSync(join(data, 'control.sock'))).toBe(true)

    expect(await createAdmin(here.path, 'two@example.com')).toMatchObject({ code: 0, err: '' })
    await using second = await serve(here.path)
    expect(await createAdmin(here.path, 'three@example.com')).toMatchObject({ code: 0, err: '' })
    for (const email of ['one', 'two', 'three']) await logIn(second, `${email}@example.com`, PASSWORD)
    expect(readFileSync(join(data, 'secret_key'), 'utf8')).toBe(key)
    const refreshed = await call(second, 'POST /auth/refresh', { json: { refresh_token: refresh } })
    expect(refreshed.status).toBe(200)
  },
  SLOW_MS,
)

test(
  'a second server on one DATA_DIR is refused in one sentence, also after a first start, and the first continues',
  async () => {
    using here = emptyDirectory()
    await using server = await serve(here.path)
    const refused = await latchkey(here.path, ['serve'], { PORT: '0', PUBLIC_URL: 'http://localhost' })
    expect(refused).toEqual({
      code: 1,
      out: '',
      err: 'latchkey: another server runs on the embedded database in ./data\n',
    })
    const migrated = await latchkey(here.path, ['migrate'])
    expect(migrated).toMatchObject({
      code: 1,
      err: expect.stringContaining('in use by another Latchkey process'),
    })
    expect(await createAdmin(here.path, 'one@example.com')).toMatchObject({ code: 0 })
    await logIn(server, 'one@example.com', PASSWORD)
  },
  SLOW_MS,
)

test(
  'a command and a server that start at the same moment both succeed',
  async () => {
    using here = await embeddedHome()
    const [made, started] = await Promise.all([createAdmin(here.path, 'one@example.com'), serve(here.path)])
    await using server = started
    expect(made).toMatchObject({ code: 0, err: '' })
    await logIn(server, 'one@example.com', PASSWORD)
  },
  SLOW_MS,
)

test(
  'a DATA_DIR longer than a socket address works',
  async () => {
    const data = join('d'.repeat(100), 'e'.repeat(100))
    using here = await embeddedHome(data)
    const env = { DATA_DIR: join(here.path, data) }
    await using server = await serve(here.path, env)
    expect(await createAdmin(here.path, 'one@example.com', env)).toMatchObject({ code: 0, err: '' })
    await until(() => server.output().includes('"command":"admin create"'), 'the server has logged it')
    await logIn(server, 'one@example.com', PASSWORD)
  },
  SLOW_MS,
)

test(
  'a damaged SECRET_KEY file stops the start, and is never replaced',
  async () => {
    using here = await embeddedHome()
    const path = join(here.path, 'data/secret_key')
    await Bun.write(path, 'cut off')
    const refused = await latchkey(here.path, ['serve'])
    expect(refused.code).toBe(1)
    expect(refused.err).toMatch(/^latchkey: \S*secret_key is damaged: [^\n]*\n$/)
    expect(refused.err).not.toContain('cut off')
    expect(readFileSync(path, 'utf8')).toBe('cut off')
  },
  SLOW_MS,
)

describe('messages over the socket are not trusted', () => {
  test(
    'only known commands run, with arguments that they accept',
    async () => {
      using here = await embeddedHome()
      await using server = await serve(here.path)
      const unix = join(here.path, 'data/control.sock')
      const send = async (body: string) => {
        const answer = await fetch('http://localhost/', { unix, method: 'POST', body })
        return answer.status === 200 ? await answer.json() : answer.status
      }
      const ask = (command: string, argv: string[], input: unknown = null) =>
        send(JSON.stringify({ command, argv, input }))
      const refused = { error: expect.any(String) }

      for (const body of [
        '',
        'null',
        '[]',
        '{',
        '{"command":"admin create"}',
        '{"command":1,"argv":[],"input":null}',
      ]) {
        expect(await send(body)).toEqual(refused)
      }
      for (const name of [
        '',
        'serve',
        'migrate',
        'config',
        'admin',
        'users set-role extra',
        '__proto__',
        'nonsense',
      ]) {
        expect(await ask(name, [])).toEqual(refused)
      }
      expect(await ask('users set-role', ['a@example.com', 'root'])).toEqual(refused)
      expect(await ask('admin create', ['--email', 'a@example.com'], { a: 1 })).toEqual(refused)
      expect(await ask('admin create', ['--email', 'a@example.com'], PASSWORD)).toMatchObject({
        result: { role: 'admin' },
      })
      expect(await send('x'.repeat(25 * 1024 * 1024))).toBe(413)
      expect((await call(server, 'GET /livez')).status).toBe(200)
    },
    SLOW_MS,
  )

  test(
    'a server starts also where the socket cannot be made',
    async () => {
      using here = await embeddedHome()
      // A directory in its place cannot be removed like a file.
      mkdirSync(join(here.path, 'data/control.sock'))
      await using server = await serve(here.path)
      await until(() => server.output().includes('Commands cannot reach this server'), 'the log says so')
      expect((await call(server, 'GET /readyz')).status).toBe(200)
    },
    SLOW_MS,
  )
})
