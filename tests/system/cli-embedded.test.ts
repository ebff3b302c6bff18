import { expect, test } from 'bun:test'
import type { RunningProgram } from '../support/binary.ts'
import { call, logIn, newKey } from '../support/client.ts'
import { latchkey, serve } from '../support/compiled.ts'
import { embeddedHome } from '../support/embedded-home.ts'
import { refresh } from '../support/refresh.ts'
import { bcrypt, createSeed, seedKey } from '../support/seed.ts'
import { kidOf } from '../support/signing.ts'
import { until } from '../support/until.ts'

/** While a server has the embedded database open, the server itself does the work of each command. */
const SLOW_MS = 240_000
const PASSWORD = 'a passphrase of several words'
const OTHER_PASSWORD = 'another passphrase of several words'

type Run = (words: string[], stdin?: string) => Promise<{ code: number; out: string; err: string }>

/** The JSON output of a command that has to succeed and print nothing else. */
async function json(run: Run, words: string[], stdin = '') {
  // --json goes before the words that follow "--".
  const end = words.includes('--') ? words.indexOf('--') : words.length
  const { code, out, err } = await run(words.toSpliced(end, 0, '--json'), stdin)
  expect({ words, code, err }).toEqual({ words, code: 0, err: '' })
  return JSON.parse(out)
}

const statusOf = async (server: RunningProgram, bearer: string) =>
  (await call(server, 'GET /auth/me', { bearer })).status
const logInStatus = async (server: RunningProgram, email: string, password: string) =>
  (await call(server, 'POST /auth/login', { json: { email, password } })).status

const lines = (items: unknown[]) => items.map((item) => `${JSON.stringify(item)}\n`).join('')
let addresses = 0
const address = () => `imported-${++addresses}@example.com`
const none = { imported: 0, already_imported: 0, refused: [] }

test(
  'keys are made and revoked in the server, which applies the change at once',
  async () => {
    using at = await embeddedHome()
    await using server = await serve(at.path)
    const run = (words: readonly string[], stdin = '') => latchkey(at.path, words, {}, stdin)
    await run(['users', 'create', '--email', 'a@example.com', '--no-password'])
    const made = JSON.parse((await run(['keys', 'create', '--user', 'a@example.com', '--json'])).out)
    const status = async () => (await call(server, 'GET /protected/any', { apiKey: made.key })).status
    expect(await status()).toBe(200)
    expect((await run(['keys', 'verify'], made.key)).out).toStartWith(`VALID (key ${made.id})`)
    expect((await run(['keys', 'revoke', made.id])).code).toBe(0)
    expect(await status()).toBe(401)
    expect(await run(['keys', 'verify'], made.key)).toMatchObject({
      code: 1,
      out: `REVOKED (key ${made.id})\n`,
    })
    expect((await run(['keys', 'list'])).out).toContain('revoked')
    expect(server.output()).not.toContain(made.key)
  },
  SLOW_MS,
)

test(
  'commands on users, sessions and signing keys work in the server, and apply at once',
  async () => {
    using here = await embeddedHome()
    await using server = await serve(here.path, { RATE_LIMITS: 'off' })
    const run: Run = (words, stdin = '') => latchkey(here.path, words, {}, stdin)
    const email = 'ada@example.com'

    const made = await json(run, ['users', 'create', '--email', email, '--password-stdin'], PASSWORD)
    const person = await logIn(server, email, PASSWORD)
    const { key } = await newKey(server, person.access)
    expect((await json(run, ['users', 'list'])).items).toEqual([made])

    await json(run, ['users', 'disable', email])
    for (const credential of [person.access, key]) expect(await statusOf(server, credential)).toBe(401)
    await json(run, ['users', 'enable', made.id])
    expect(await statusOf(server, key)).toBe(200)

    const before = await logIn(server, email, PASSWORD)
    const words = ['users', 'set-password', email, '--revoke-keys', '--password-stdin']
    expect(await json(run, words, OTHER_PASSWORD)).toEqual({
      id: made.id,
      sessions_ended: 1,
      keys_revoked: 1,
    })
    for (const credential of [before.access, key]) expect(await statusOf(server, credential)).toBe(401)
    expect(await logInStatus(server, email, PASSWORD)).toBe(401)

    const { access, refresh: token } = await logIn(server, email, OTHER_PASSWORD)
    const current = kidOf(access)
    const { id: next } = await json(run, ['signing-keys', 'rotate'])
    expect(await json(run, ['signing-keys', 'revoke', '--', current])).toEqual({
      revoked: current,
      current: next,
    })
    expect(await statusOf(server, access)).toBe(401)
    const traded = await refresh(server, token)
    expect(kidOf(traded.body.access_token)).toBe(next)
    expect(await json(run, ['signing-keys', 'rewrap'])).toEqual({ rewrapped: 1, totp_secrets: 0 })
    const states = (await json(run, ['signing-keys', 'list'])).map(({ state }: { state: string }) => state)
    expect(states.toSorted()).toEqual(['current', 'revoked'])

    expect(await json(run, ['sessions', 'end', '--all'])).toEqual({ ended: 1 })
    expect(await statusOf(server, traded.body.access_token)).toBe(401)
    expect((await refresh(server, traded.body.refresh_token)).status).toBe(401)

    // The command ran in the server. A failure there is printed here as one sentence.
    const names = ['users create', 'users list', 'users set-password', 'sessions end', 'signing-keys rewrap']
    await until(
      () => names.every((name) => server.output().includes(`"command":"${name}"`)),
      'the server has logged the commands',
    )
    expect(await run(['users', 'enable', 'nobody@example.com'])).toEqual({
      code: 1,
      out: '',
      err: 'latchkey: There is no such user.\n',
    })
    for (const password of [PASSWORD, OTHER_PASSWORD]) expect(server.output()).not.toContain(password)
  },
  SLOW_MS,
)

test(
  'imports run in the server, apply at once, and print their progress',
  async () => {
    using at = await embeddedHome()
    await using server = await serve(at.path)
    const email = address()
    const users = Array.from({ length: 1500 }, () => ({ email: address() }))
    const text = lines([...users, { email, password_hash: await bcrypt('an old password') }])
    const imported = await latchkey(at.path, ['import', 'users', '-', '--json'], {}, text)
    expect(imported).toMatchObject({ code: 0, err: '1000 users so far\n' })
    expect(JSON.parse(imported.out).users).toEqual({ ...none, imported: 1501 })
    const { access: bearer } = await logIn(server, email, 'an old password')

    const key = seedKey()
    const item = JSON.stringify([{ owner: { email }, key, scopes: 'read' }])
    expect(await latchkey(at.path, ['import', 'keys', '-'], {}, item)).toMatchObject({ code: 0 })
    expect((await call(server, 'GET /protected/service-only', { bearer: key })).status).toBe(200)
    expect((await call(server, 'GET /keys/list', { bearer })).body).toHaveLength(1)

    const seed = await createSeed(1)
    try {
      const old = await seed.addKey(await seed.addUser({ email: address(), role: 'admin' }))
      const from = ['import', 'seed', '--from', seed.url, '--json']
      const dry = await latchkey(at.path, [...from, '--dry-run'])
      const real = await latchkey(at.path, from)
      expect(real.out).toBe(dry.out)
      expect(JSON.parse(real.out)).toEqual({
        users: { ...none, imported: 1 },
        keys: { ...none, imported: 1 },
      })
      expect(real.err).toContain('admins there')
      expect((await call(server, 'GET /protected/service-only', { bearer: old.key })).status).toBe(200)
      expect(server.output()).not.toContain(old.key)
    } finally {
      await seed.end()
    }
    expect(server.output()).not.toContain(key)
    const broken = await latchkey(at.path, ['import', 'keys', '-'], {}, '{')
    expect(broken).toEqual({ code: 1, out: '', err: 'latchkey: line 1 of the file is not valid JSON\n' })
    const fromNowhere = await latchkey(at.path, ['import', 'seed'])
    expect(fromNowhere).toMatchObject({ code: 1, err: expect.stringContaining('--from is missing') })
  },
  SLOW_MS,
)
