import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, copyFileSync, existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { version } from '../../package.json' with { type: 'json' }
import { createAuthenticator } from '../support/authenticator.ts'
import {
  builtBinary,
  emptyDirectory,
  type RunningProgram,
  runProgram,
  startProgram,
} from '../support/binary.ts'
import { call } from '../support/client.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'
import { totpAt } from '../support/totp.ts'

const BUILD_TIMEOUT_MS = 240_000
const RUN_TIMEOUT_MS = 240_000

const home = emptyDirectory()
const latchkey = join(home.path, 'latchkey')
beforeAll(async () => {
  // Outside of the source tree and its node_modules.
  copyFileSync(await builtBinary(), latchkey)
  chmodSync(latchkey, 0o755)
}, BUILD_TIMEOUT_MS)
afterAll(() => home[Symbol.dispose]())

const user = { email: 'user@example.com', password: 'securepassword' }

/** Signs up, logs in and makes a key, by HTTP. */
async function makeUserWithKey(server: RunningProgram): Promise<{ access: string; key: string }> {
  expect(await call(server, 'POST /auth/signup', { json: user })).toMatchObject({ status: 201 })
  const access = await logIn(server, user)
  const made = await call(server, 'POST /keys/create', { bearer: access, json: { scopes: 'read' } })
  expect(made).toMatchObject({ status: 201, body: { scopes: ['read'] } })
  return { access, key: made.body.key }
}

async function logIn(server: RunningProgram, json: { email: string; password: string }): Promise<string> {
  const answer = await call(server, 'POST /auth/login', { json })
  expect(answer).toMatchObject({ status: 200, body: { token_type: 'bearer' } })
  return answer.body.access_token
}

/** The statuses of user-only and service-only, by the user's token and by the key. */
async function reached(server: RunningProgram, { access, key }: { access: string; key: string }) {
  const routes = ['GET /protected/user-only', 'GET /protected/service-only']
  const answers = routes.flatMap((route) => [
    call(server, route, { bearer: access }),
    call(server, route, { apiKey: key }),
    call(server, route),
  ])
  return (await Promise.all(answers)).map(({ status }) => status)
}
const AS_IT_SHOULD_BE = [200, 403, 401, 403, 200, 401]

describe.each(['embedded', 'PostgreSQL'])('the binary alone, on the %s database', (kind) => {
  let database: TestDatabase | null = null
  let env: Record<string, string> = {}
  beforeAll(async () => {
    if (kind === 'embedded') return
    database = await createDatabase({ migrated: false })
    env = {
      DATABASE_URL: database.url,
      SECRET_KEY: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex'),
    }
  }, RUN_TIMEOUT_MS)
  afterAll(async () => database?.drop())

  test(
    'a first start serves, kill -9 loses no row, and a second start continues',
    async () => {
      using here = emptyDirectory()
      await using first = await startProgram([latchkey], { cwd: here.path, env })
      const credentials = await makeUserWithKey(first)
      expect(await reached(first, credentials)).toEqual(AS_IT_SHOULD_BE)
      expect(await first.end('SIGKILL')).toBe(137)

      await using second = await startProgram([latchkey], { cwd: here.path, env })
      expect(await reached(second, credentials)).toEqual(AS_IT_SHOULD_BE)
      expect((await call(second, 'POST /auth/signup', { json: user })).status).toBe(409)
      await logIn(second, user)
      expect(await second.end('SIGTERM')).toBe(0)

      if (kind === 'embedded') {
        expect(readdirSync(here.path)).toEqual(['data'])
        expect(statSync(join(here.path, 'data')).mode & 0o777).toBe(0o700)
      } else {
        expect(readdirSync(here.path)).toEqual([])
      }
    },
    RUN_TIMEOUT_MS,
  )

  test(
    'the command that a start without an admin prints makes an admin, while the server runs',
    async () => {
      using here = emptyDirectory()
      await using server = await startProgram([latchkey], { cwd: here.path, env })
      const printed = /To make one: (.+?)"/.exec(server.output())?.[1] ?? ''
      // The other way, which the log names too: the link has its token, which the log hides elsewhere.
      const link = new URL(/https?:\S+\/setup\?token=[^\s"]+/.exec(server.output())?.[0] ?? 'none:')
      expect(link.searchParams.get('token')).toStartWith('et_')
      expect(printed).toEndWith(' admin create --email you@example.com')
      // In a container the printed command begins with the container engine.
      const line = printed.replace(/^(docker|podman|kubectl) exec -it \S+ (-- )?/, '')
      const made = await runProgram(['/bin/sh', '-c', line], { cwd: here.path, env })
      expect(made).toMatchObject({ code: 0, err: '' })

      const password = /Password[^:]*: (\S+)/.exec(made.out)?.[1] ?? ''
      const access = await logIn(server, { email: 'you@example.com', password })
      expect((await call(server, 'GET /protected/admin', { bearer: access })).status).toBe(200)
      expect(await server.end('SIGTERM')).toBe(0)
    },
    RUN_TIMEOUT_MS,
  )
})

test(
  'passkeys and authenticator apps work in it, whose libraries are loaded at their first use',
  async () => {
    using here = emptyDirectory()
    await using server = await startProgram([latchkey], { cwd: here.path, env: { RATE_LIMITS: 'off' } })
    await call(server, 'POST /auth/signup', { json: user })
    const bearer = await logIn(server, user)
    const passkey = createAuthenticator('http://localhost')
    const options = (await call(server, 'POST /auth/passkeys/options', { bearer })).body
    const json = { name: 'laptop', response: passkey.create(options) }
    expect((await call(server, 'POST /auth/passkeys', { bearer, json })).status).toBe(201)
    const asked = (await call(server, 'POST /auth/passkeys/login/options', { json: {} })).body
    const wrong = { response: passkey.get(asked, { forged: true }) }
    expect((await call(server, 'POST /auth/passkeys/login', { json: wrong })).status).toBe(401)
    const again = (await call(server, 'POST /auth/passkeys/login/options', { json: {} })).body
    const right = { response: passkey.get(again) }
    expect((await call(server, 'POST /auth/passkeys/login', { json: right })).status).toBe(200)
    const { secret } = (await call(server, 'POST /auth/mfa/totp', { bearer })).body
    const code = totpAt(secret, Date.now())
    const confirmed = await call(server, 'POST /auth/mfa/totp/confirm', { bearer, json: { code } })
    expect(confirmed.status).toBe(200)
    expect(await server.end('SIGTERM')).toBe(0)
  },
  RUN_TIMEOUT_MS,
)

test(
  'of the working directory only .env is read, and only settings from it',
  async () => {
    using here = emptyDirectory()
    const write = (name: string, text: string) => writeFileSync(join(here.path, name), text)
    write('hostile.ts', `require('node:fs').writeFileSync('executed', '')`)
    write('bunfig.toml', 'preload = ["./hostile.ts"]\n[run]\npreload = ["./hostile.ts"]\n')
    const hostile = 'BUN_OPTIONS=--preload=./hostile.ts\nNODE_OPTIONS=--require=./hostile.ts\nBUN_BE_BUN=1\n'
    write('.env', `SIGNUP=closed\n${hostile}`)
    write('.env.local', 'SIGNUP=open\nPASSWORD_MIN_LENGTH=none\n')
    write('.env.production', 'SIGNUP=open\nPASSWORD_MIN_LENGTH=none\n')
    write('package.json', '{"imports":{"#hostile":"./hostile.ts"},"scripts":{"serve":"bun hostile.ts"}}')
    write('tsconfig.json', '{"compilerOptions":{"paths":{"*":["./hostile.ts"]}}}')
    const executed = join(here.path, 'executed')

    const refused = await runProgram([latchkey, 'serve'], { cwd: here.path })
    expect(refused).toMatchObject({ code: 2, err: expect.stringContaining('.env has BUN_OPTIONS') })
    expect(existsSync(executed)).toBe(false)

    write('.env', 'SIGNUP=closed\n')
    await using server = await startProgram([latchkey], { cwd: here.path })
    expect((await call(server, 'POST /auth/signup', { json: user })).status).toBe(403)
    expect(await server.end('SIGTERM')).toBe(0)
    expect(existsSync(executed)).toBe(false)

    // The control: Bun itself runs the file.
    write('.env', hostile)
    await runProgram([process.execPath, '-e', '0'], { cwd: here.path })
    expect(existsSync(executed)).toBe(true)
  },
  RUN_TIMEOUT_MS,
)

test(
  'healthcheck succeeds for a working server and fails without one',
  async () => {
    using here = emptyDirectory()
    await using server = await startProgram([latchkey], { cwd: here.path })
    const env = { PORT: new URL(server.url).port }
    expect(await runProgram([latchkey, 'healthcheck'], { cwd: here.path, env })).toMatchObject({ code: 0 })
    await server.end('SIGTERM')
    expect(await runProgram([latchkey, 'healthcheck'], { cwd: here.path, env })).toMatchObject({
      code: 1,
      out: '',
    })
  },
  RUN_TIMEOUT_MS,
)

test(
  'the page at /docs and its files are inside the binary',
  async () => {
    using here = emptyDirectory()
    await using server = await startProgram([latchkey], { cwd: here.path })
    const page = await call(server, 'GET /docs')
    expect(page.status).toBe(200)
    expect(page.headers.get('content-security-policy')).toContain(`script-src 'self'`)
    const files = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => `/${path}`)
    expect(files).toContain('/docs/swagger-ui-bundle.js')
    for (const file of files) {
      const answer = await fetch(server.url + file)
      expect(`${file}: ${answer.status}`).toBe(`${file}: 200`)
      expect((await answer.bytes()).length).toBeGreaterThan(100)
    }
    const bundle = await fetch(`${server.url}/docs/swagger-ui-bundle.js`)
    const original = Bun.file(`${import.meta.dir}/../../node_modules/swagger-ui-dist/swagger-ui-bundle.js`)
    expect(Bun.SHA256.hash(await bundle.bytes(), 'hex')).toBe(Bun.SHA256.hash(await original.bytes(), 'hex'))
    await server.end('SIGTERM')
  },
  RUN_TIMEOUT_MS,
)

describe('without a server and without a database', () => {
  const run = async (...words: string[]) => {
    using here = emptyDirectory()
    const result = await runProgram([latchkey, ...words], { cwd: here.path })
    expect(readdirSync(here.path)).toEqual([])
    return result
  }

  test('--version prints the version of the package', async () => {
    expect(await run('--version')).toEqual({ code: 0, out: `latchkey ${version}\n`, err: '' })
  })

  test('--help names every command', async () => {
    const { code, out } = await run('--help')
    expect(code).toBe(0)
    for (const command of [
      'serve',
      'migrate',
      'admin create',
      'users set-role',
      'openapi',
      'healthcheck',
      'config',
    ])
      expect(out).toContain(`\n  ${command} `)
  })

  test('openapi prints the document', async () => {
    const { code, out } = await run('openapi')
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({
      openapi: expect.stringMatching(/^3\.1/),
      paths: { '/auth/login': { post: expect.anything() } },
    })
  })

  test('a command that does not exist is wrong use', async () => {
    expect(await run('hostile')).toMatchObject({ code: 2, out: '', err: expect.stringContaining('hostile') })
  })

  test('wrong settings stop it with every fault, and no file is made', async () => {
    using here = emptyDirectory()
    const env = { PORT: 'eighty', ALGORITHM: 'none', SIGNUP: 'maybe' }
    const { code, err } = await runProgram([latchkey, 'serve'], { cwd: here.path, env })
    expect(code).toBe(2)
    for (const name of Object.keys(env)) expect(err).toContain(name)
    expect(readdirSync(here.path)).toEqual([])
  })
})
