import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { invocation, type Surroundings } from '../../src/cli/invocation.ts'
import { emptyDirectory, type RunningProgram } from '../support/binary.ts'
import { call, logIn } from '../support/client.ts'
import { latchkey, serve } from '../support/compiled.ts'
import { testConfig } from '../support/config.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

const SLOW_MS = 240_000
const PASSWORD = 'a passphrase of several words'
const SECRET_KEY = randomBytes(32).toString('hex')

const here = emptyDirectory()
let database: TestDatabase
let env: Record<string, string>
beforeAll(async () => {
  database = await createDatabase()
  env = { DATABASE_URL: database.url, SECRET_KEY }
}, SLOW_MS)
afterAll(async () => {
  await database.drop()
  here[Symbol.dispose]()
})

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await Bun.sleep(10)
}

const statusOf = async (server: RunningProgram, path: string) => (await call(server, `GET ${path}`)).status

const connectionOf = async (server: RunningProgram) =>
  (await call(server, 'GET /livez')).headers.get('connection')

/** Sends half of the body of a log-in, so that the request stays in flight as long as the test needs. */
async function beginLogin(server: RunningProgram): Promise<{ finish(): Promise<string> }> {
  const { hostname, port } = new URL(server.url)
  const socket: Socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  const body = JSON.stringify({ email: 'nobody@example.com', password: PASSWORD })
  const head = [
    'POST /auth/login HTTP/1.1',
    'Host: x',
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
  ]
  socket.write(`${head.join('\r\n')}\r\n\r\n${body.slice(0, 10)}`)
  return {
    async finish() {
      let answer = ''
      socket.on('data', (chunk) => {
        answer += chunk
      })
      socket.write(body.slice(10))
      await once(socket, 'close')
      return answer
    },
  }
}

function acceptsConnections(server: RunningProgram): Promise<boolean> {
  const { hostname, port } = new URL(server.url)
  const socket = connect(Number(port), hostname)
  return new Promise<boolean>((resolve) => {
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
  }).finally(() => socket.destroy())
}

describe('SIGTERM', () => {
  test.each(['SIGTERM', 'SIGHUP'] as const)(
    '%s lets the requests in flight end, accepts no new ones, and exits with 0',
    async (signal) => {
      await using server = await serve(here.path, env)
      const login = await beginLogin(server)
      // Requests before the signal are answered.
      expect(await statusOf(server, '/livez')).toBe(200)
      const ended = server.end(signal)
      await until(async () => !(await acceptsConnections(server)))
      expect(await Promise.race([ended, Bun.sleep(100).then(() => 'still there')])).toBe('still there')
      expect(await login.finish()).toStartWith('HTTP/1.1 401 ')
      expect(await ended).toBe(0)
      expect(server.output()).toContain('"message":"Stopped"')
    },
    SLOW_MS,
  )

  test(
    'turns /readyz to 503 and continues to serve for SHUTDOWN_DELAY_SECONDS',
    async () => {
      await using server = await serve(here.path, { ...env, SHUTDOWN_DELAY_SECONDS: '2' })
      expect(await statusOf(server, '/readyz')).toBe(200)
      expect(await connectionOf(server)).not.toBe('close')
      const askedAt = Date.now()
      const ended = server.end('SIGTERM')
      await until(async () => (await statusOf(server, '/readyz')) === 503)
      expect(await statusOf(server, '/livez')).toBe(200)
      expect(await statusOf(server, '/protected/any')).toBe(401)
      // Answers close their connection, so that no client sends its next request on a connection that is about to close.
      expect(await connectionOf(server)).toBe('close')
      expect(await ended).toBe(0)
      expect(Date.now() - askedAt).toBeGreaterThanOrEqual(2000)
    },
    SLOW_MS,
  )

  test(
    'a second signal ends the process at once; a signal that npm repeats counts once',
    async () => {
      await using server = await serve(here.path, { ...env, SHUTDOWN_DELAY_SECONDS: '300' })
      const ended = server.end('SIGTERM')
      void server.end('SIGTERM')
      await until(async () => (await statusOf(server, '/readyz')) === 503)
      expect(await Promise.race([ended, Bun.sleep(200).then(() => 'still there')])).toBe('still there')
      expect(await server.end('SIGTERM')).toBe(143)
    },
    SLOW_MS,
  )
})

test(
  'standard output is JSON, a line each, and standard error stays empty',
  async () => {
    await using server = await serve(here.path, {
      ...env,
      HOST: '0.0.0.0',
      PUBLIC_URL: '',
      PORT: `${freePort()}`,
    })
    await statusOf(server, '/livez')
    await statusOf(server, '/health')
    await server.end('SIGTERM')
    const lines = server.output().trimEnd().split('\n')
    expect(server.output()).toContain('"route":"/health","status":200')
    // Other programs on the machine may send requests every few seconds.
    expect(server.output()).not.toContain('"route":"/livez"')
    const events = lines.map((line) => JSON.parse(line))
    for (const event of events)
      expect(event).toMatchObject({ level: expect.any(String), time: expect.any(String) })
    const said = (text: string) => events.find(({ message }) => message.includes(text))
    expect(said('PUBLIC_URL is not set')).toMatchObject({ level: 'warn' })
    expect(said('Listening on http://0.0.0.0:')).toMatchObject({ level: 'info', database: 'postgres' })
  },
  SLOW_MS,
)

function freePort(): number {
  const probe = Bun.serve({ port: 0, hostname: '0.0.0.0', fetch: () => new Response() })
  const { port = 0 } = probe
  void probe.stop(true)
  return port
}

test(
  'a port in use, or an address of another machine, is one sentence',
  async () => {
    await using server = await serve(here.path, env)
    const { port } = new URL(server.url)
    expect(await latchkey(here.path, ['serve'], { ...env, PORT: port })).toMatchObject({
      code: 1,
      err: `latchkey: port ${port} of 127.0.0.1 is in use: end what listens there, or set PORT\n`,
    })
    // RFC 5737 reserves this address for documentation.
    expect(await latchkey(here.path, ['serve'], { ...env, PORT: port, HOST: '192.0.2.1' })).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^latchkey: cannot listen at http:\/\/192\.0\.2\.1:\d+.*HOST must be .*\n$/),
    })
  },
  SLOW_MS,
)

describe('ADMIN_EMAIL and ADMIN_PASSWORD', () => {
  const admin = { ADMIN_EMAIL: 'first@example.com', ADMIN_PASSWORD: PASSWORD }

  test(
    'make one admin before listening, also when several servers start at once, and have no effect later',
    async () => {
      const empty = await createDatabase({ migrated: false })
      const settings = { ...env, ...admin, DATABASE_URL: empty.url }
      const servers = await Promise.all([1, 2, 3, 4].map(() => serve(here.path, settings)))
      const made = servers.filter((server) => server.output().includes('The first admin is made'))
      expect(made).toHaveLength(1)
      for (const server of servers) {
        const { access: bearer } = await logIn(server, admin.ADMIN_EMAIL, PASSWORD)
        expect((await call(server, 'GET /protected/admin', { bearer })).status).toBe(200)
        expect(server.output()).not.toMatch(/There is no admin yet|passphrase/)
      }
      await Promise.all(servers.map((server) => server.end('SIGTERM')))
      await using later = await serve(here.path, { ...settings, ADMIN_PASSWORD: 'quite another passphrase' })
      await logIn(later, admin.ADMIN_EMAIL, PASSWORD)
      await later.end('SIGTERM')
      await empty.drop()
    },
    SLOW_MS,
  )

  test(
    'the e-mail of an existing user stops the start, and so does a common password',
    async () => {
      const empty = await createDatabase()
      const settings = { ...env, DATABASE_URL: empty.url, PORT: '0', PUBLIC_URL: 'http://localhost' }
      await using server = await serve(here.path, settings)
      const json = { email: admin.ADMIN_EMAIL, password: 'the stranger was here first' }
      expect((await call(server, 'POST /auth/signup', { json })).status).toBe(201)
      const taken = await latchkey(here.path, ['serve'], { ...settings, ...admin })
      expect(taken).toMatchObject({
        code: 1,
        out: '',
        err: expect.stringMatching(/ADMIN_EMAIL belongs to .* not an admin/),
      })
      const weak = { ...admin, ADMIN_EMAIL: 'other@example.com', ADMIN_PASSWORD: 'password1' }
      const refused = await latchkey(here.path, ['serve'], { ...settings, ...weak })
      expect(refused).toMatchObject({
        code: 1,
        out: '',
        err: expect.stringContaining('most common passwords'),
      })
      // The existing user is still no admin.
      const { access: bearer } = await logIn(server, json.email, json.password)
      expect((await call(server, 'GET /protected/admin', { bearer })).status).toBe(403)
      await server.end('SIGTERM')
      await empty.drop()
    },
    SLOW_MS,
  )
})

describe('the printed command that makes an admin, for', () => {
  const home = emptyDirectory()
  const file = (name: string) => {
    const path = join(home.path, name)
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, '')
    chmodSync(path, 0o755)
    return path
  }
  const binary = file('opt/latchkey')
  const bun = file('usr/bin/bun')
  const npxBun = file('.npm/_npx/1a2b/node_modules/bun/bin/bun.exe')
  const main = file('repo/src/main.ts')
  file('repo/package.json')
  const onPath = join(home.path, 'latchkey-on-path')
  symlinkSync(binary, onPath)
  afterAll(() => home[Symbol.dispose]())

  const inBinary = { executable: binary, script: '/$bunfs/root/latchkey' }
  const fromSource = { executable: bun, script: main, directory: join(home.path, 'repo') }
  const docker = { exec: 'docker exec -it', name: '0123456789ab' }

  const CASES: [string, Partial<Surroundings>, Record<string, unknown>, string][] = [
    ['a binary on the PATH', { ...inBinary, which: () => onPath }, {}, 'latchkey'],
    ['another binary on the PATH', { ...inBinary, which: () => bun }, {}, binary],
    [
      'a binary in the working directory',
      { ...inBinary, directory: join(home.path, 'opt') },
      {},
      './latchkey',
    ],
    ['a binary below it', { ...inBinary, directory: home.path }, {}, 'opt/latchkey'],
    ['from source', { ...fromSource, which: () => bun }, {}, 'bun run latchkey'],
    [
      'from source by npx',
      { ...fromSource, executable: npxBun, which: () => npxBun },
      {},
      `npx --yes bun@${Bun.version} run latchkey`,
    ],
    ['from source elsewhere', { ...fromSource, which: () => bun, directory: '/srv' }, {}, `bun ${main}`],
    [
      'another DATA_DIR',
      { ...inBinary, which: () => onPath, directory: '/srv' },
      { dataDir: './my data' },
      "DATA_DIR='/srv/my data' latchkey",
    ],
    [
      'the default DATA_DIR',
      { ...inBinary, which: () => onPath, directory: '/srv' },
      { dataDir: '/srv/data' },
      'latchkey',
    ],
    [
      'a container',
      { ...inBinary, which: () => onPath, container: docker },
      { dataDir: '/data' },
      'docker exec -it 0123456789ab latchkey',
    ],
  ]

  test.each(CASES)('%s', (_, surroundings, overrides, program) => {
    const from: Surroundings = {
      executable: bun,
      script: main,
      directory: '/nowhere',
      which: () => null,
      container: null,
      ...surroundings,
    }
    expect(invocation(testConfig(overrides), 'admin create', from)).toBe(`${program} admin create`)
  })
})
