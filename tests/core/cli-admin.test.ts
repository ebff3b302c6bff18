import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { call, logIn, newKey, newPerson, type Person } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { createDatabase } from '../support/postgres.ts'
import { refresh } from '../support/refresh.ts'
import { startService, type TestService } from '../support/service.ts'
import { kidOf, publishedKids } from '../support/signing.ts'
import { until } from '../support/until.ts'

setDefaultTimeout(240_000)

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

const statusOf = async (server: TestService, bearer: string) =>
  (await call(server, 'GET /auth/me', { bearer })).status
const logInStatus = async (server: TestService, email: string, password: string) =>
  (await call(server, 'POST /auth/login', { json: { email, password } })).status

describe('on PostgreSQL, while a server runs', () => {
  let server: TestService
  let sql: postgres.Sql
  let env: Record<string, string>
  const run: Run = (words, stdin = '') => runInProcess(words, { env, input: stdin })
  beforeAll(async () => {
    server = await startService()
    env = { DATABASE_URL: server.databaseUrl, SECRET_KEY: server.config.secretKey?.reveal() ?? '' }
    sql = postgres(server.databaseUrl, { max: 1 })
  })
  afterAll(async () => {
    await sql.end()
    await server.stop()
  })

  /** Waits for an answer: the server hears within a second of a change by another process. */
  const becomes = (bearer: string, status: number) =>
    until(async () => (await statusOf(server, bearer)) === status, `the answer becomes ${status}`, 1000)
  const fails = async (words: string[], sentence: string, stdin = '') =>
    expect(await run(words, stdin)).toEqual({ code: 1, out: '', err: `latchkey: ${sentence}\n` })
  const auditOf = (target: string) =>
    sql`SELECT action, actor_type, details FROM latchkey.audit_events WHERE target_id = ${target} ORDER BY id`

  describe('users create', () => {
    test('makes a user who can log in, also with SIGNUP=closed, and is audited', async () => {
      const words = ['users', 'create', '--email', ' Ada@Example.com', '--password-stdin', '--json']
      const { code, out, err } = await runInProcess(words, {
        env: { ...env, SIGNUP: 'closed' },
        input: `${PASSWORD}\n`,
      })
      expect({ code, err }).toEqual({ code: 0, err: '' })
      const made = JSON.parse(out)
      expect(made).toEqual({
        id: expect.any(String),
        email: 'ada@example.com',
        email_verified: false,
        role: 'user',
        is_active: true,
        scopes: null,
        rate_limit: null,
        credits: null,
        created_at: expect.stringMatching(/Z$/),
      })
      await logIn(server, 'ada@example.com', PASSWORD)
      expect((await auditOf(made.id))[0]).toMatchObject({ action: 'user.created', actor_type: 'system' })
      await fails(words.slice(0, -1), 'This e-mail is already registered.', PASSWORD)
    })

    test('makes an admin with a verified e-mail and a strong password that is printed once', async () => {
      const email = 'boss@example.com'
      const { code, out } = await run([
        'users',
        'create',
        '--email',
        email,
        '--role',
        'admin',
        '--email-verified',
      ])
      expect(code).toBe(0)
      expect(out).toMatch(/^User boss@example\.com made \(role admin, id [0-9a-f-]{36}\)\.\n/)
      const password = /shown this once: (\S{24,})\n$/.exec(out)?.[1] ?? ''
      const { access } = await logIn(server, email, password)
      expect((await call(server, 'GET /protected/admin', { bearer: access })).status).toBe(200)
      const [found] = (await json(run, ['users', 'list', '--query', email])).items
      expect(found).toMatchObject({ role: 'admin', email_verified: true })
    })

    test('makes an account without a password, which cannot log in until one is set', async () => {
      const words = ['users', 'create', '--email', 'later@example.com', '--no-password']
      const { password, ...made } = await json(run, words)
      expect(password).toBeUndefined()
      for (const guess of ['', 'null', PASSWORD]) {
        expect(await logInStatus(server, made.email, guess)).toBe(401)
      }
      await json(run, ['users', 'set-password', made.id, '--password-stdin'], PASSWORD)
      expect(await logInStatus(server, made.email, PASSWORD)).toBe(200)
    })

    test.each([
      ['no-address', PASSWORD, 'email: Must be an e-mail address of at most 254 characters'],
      ['new@example.com', 'short', 'password: Must have at least 8 characters'],
      ['new@example.com', 'NEW@example.com', 'password: Must not be the e-mail address'],
      ['new@example.com', '', 'there is no password on standard input'],
    ])('refuses %p with %p', async (email, password, sentence) => {
      await fails(['users', 'create', '--email', email, '--password-stdin'], sentence, password)
    })

    test('refuses --password-stdin together with --no-password', async () => {
      await fails(
        ['users', 'create', '--email', 'new@example.com', '--password-stdin', '--no-password'],
        '--password-stdin and --no-password exclude each other',
        PASSWORD,
      )
    })
  })

  describe('users list', () => {
    test('lists every user, newest first, in pages', async () => {
      for (let i = 0; i < 3; i++) await newPerson(server)
      const everybody = await json(run, ['users', 'list'])
      expect(everybody.next_cursor).toBeNull()
      expect(everybody.items.length).toBeGreaterThanOrEqual(3)
      const ids = everybody.items.map(({ id }: { id: string }) => id)
      expect(ids).toEqual(ids.toSorted().toReversed())

      const first = await json(run, ['users', 'list', '--limit', '2'])
      const second = await json(run, ['users', 'list', '--limit', '2', '--cursor', first.next_cursor])
      expect([...first.items, ...second.items]).toEqual(everybody.items.slice(0, 4))
      const page = await run(['users', 'list', '--limit', '2'])
      expect(page.out).toEndWith(`There are more: --cursor ${first.next_cursor}\n`)
      await fails(['users', 'list', '--cursor', 'forged'], 'cursor: Is not a cursor of this list')
    })

    test('finds an address by its beginning or its words, and prints a table', async () => {
      const { email, id } = await newPerson(server)
      const { code, out } = await run(['users', 'list', '--query', email.toUpperCase()])
      expect(code).toBe(0)
      expect(out).toMatch(/^EMAIL +ROLE +STATE +CREATED +ID\n/)
      const row = `^${email.replaceAll('.', '\\.')} +user +active +\\S+Z +${id}$`
      expect(out).toMatch(new RegExp(row, 'm'))
      expect(out.trimEnd().split('\n')).toHaveLength(2)
      for (const wild of ['%%', '__', '\\\\']) {
        expect(await run(['users', 'list', '--query', wild])).toEqual({
          code: 0,
          out: 'No users.\n',
          err: '',
        })
      }
    })
  })

  describe('users disable and enable', () => {
    test('refuse sessions and keys of a user at once, and accept the keys again', async () => {
      const person = await newPerson(server)
      const { key } = await newKey(server, person.access)
      for (const credential of [person.access, key]) expect(await statusOf(server, credential)).toBe(200)
      const disabled = await run(['users', 'disable', person.email.toUpperCase()])
      expect(disabled).toEqual({ code: 0, out: `${person.email} is disabled.\n`, err: '' })
      for (const credential of [person.access, key]) await becomes(credential, 401)
      expect(await logInStatus(server, person.email, person.password)).toBe(401)
      expect((await refresh(server, person.refresh)).status).toBe(401)
      // A second time has the same result and no audit row.
      expect((await json(run, ['users', 'disable', person.id])).is_active).toBe(false)

      const enabled = await run(['users', 'enable', person.id])
      expect(enabled).toEqual({ code: 0, out: `${person.email} is enabled.\n`, err: '' })
      await becomes(key, 200)
      expect(await statusOf(server, person.access)).toBe(401)
      expect(await logInStatus(server, person.email, person.password)).toBe(200)
      const events = (await auditOf(person.id)).filter(({ action }) => /abled$/.test(action))
      expect(events).toMatchObject([
        { action: 'user.disabled', actor_type: 'system' },
        { action: 'user.enabled', actor_type: 'system' },
      ])
    })

    test('refuse to disable the last admin, and report an unknown user', async () => {
      const admins = await sql`SELECT email FROM latchkey.users WHERE role = 'admin' AND is_active`
      expect(admins).toHaveLength(1)
      await fails(
        ['users', 'disable', admins[0]?.email],
        'The last active admin cannot be demoted, disabled or deleted.',
      )
      for (const who of ['nobody@example.com', Bun.randomUUIDv7(), 'nobody']) {
        for (const command of ['disable', 'enable']) {
          await fails(['users', command, who], 'There is no such user.')
        }
      }
    })
  })

  describe('users set-password', () => {
    test('ends every session and reset, and keeps the keys', async () => {
      const person = await newPerson(server)
      const { key } = await newKey(server, person.access)
      const boss = await json(run, ['users', 'create', '--email', 'reset@example.com', '--role', 'admin'])
      const { access: bearer } = await logIn(server, boss.email, boss.password)
      const reset = await call(server, `POST /users/${person.id}/password-reset`, { bearer })

      const words = ['users', 'set-password', person.email, '--password-stdin']
      const { code, out, err } = await run(words, OTHER_PASSWORD)
      expect({ code, out, err }).toEqual({
        code: 0,
        out: 'The password is set; 1 session ended.\n',
        err: '',
      })
      await becomes(person.access, 401)
      expect((await refresh(server, person.refresh)).status).toBe(401)
      expect(await logInStatus(server, person.email, person.password)).toBe(401)
      expect(await logInStatus(server, person.email, OTHER_PASSWORD)).toBe(200)
      expect(await statusOf(server, key)).toBe(200)
      const stale = { token: reset.body.token, new_password: PASSWORD }
      expect((await call(server, 'POST /auth/password-reset', { json: stale })).status).toBe(401)
      const [event] = (await auditOf(person.id)).filter(({ action }) => action === 'user.password_changed')
      expect(event).toMatchObject({
        actor_type: 'system',
        details: { sessions_ended: 1, keys_revoked: 0 },
      })
      await json(run, ['users', 'disable', boss.email])
    })

    test('can end the keys too, and makes a password where none is given', async () => {
      const person = await newPerson(server)
      const { key } = await newKey(server, person.access)
      await newKey(server, person.access)
      const { code, out } = await run(['users', 'set-password', person.id, '--revoke-keys'])
      expect(code).toBe(0)
      expect(out).toStartWith('The password is set; 1 session and 2 keys ended.\n')
      const password = /shown this once: (\S{24,})\n$/.exec(out)?.[1] ?? ''
      await becomes(key, 401)
      expect(await logInStatus(server, person.email, password)).toBe(200)
      // Also for a disabled user, who is still refused.
      await json(run, ['users', 'disable', person.id])
      await json(run, ['users', 'set-password', person.id, '--password-stdin'], PASSWORD)
      expect(await logInStatus(server, person.email, PASSWORD)).toBe(401)
      await json(run, ['users', 'enable', person.id])
      expect(await logInStatus(server, person.email, PASSWORD)).toBe(200)
    })

    test('refuses a bad password, and changes nothing', async () => {
      const person = await newPerson(server)
      const words = ['users', 'set-password', person.email, '--password-stdin']
      await fails(words, 'password: Is among the most common passwords', 'password')
      const usual = 'password: Is a common password or word but for digits, signs and look-alikes'
      await fails(words, usual, 'Summer2026!')
      await fails(words, 'password: Must not be the e-mail address', person.email)
      await fails(words, 'there is no password on standard input', '')
      await fails(['users', 'set-password', 'nobody@example.com'], 'There is no such user.')
      expect(await statusOf(server, person.access)).toBe(200)
      expect(await logInStatus(server, person.email, person.password)).toBe(200)
    })
  })

  test('sessions end --all ends every session and no key', async () => {
    const people: Person[] = [await newPerson(server), await newPerson(server)]
    const keys = await Promise.all(people.map(({ access }) => newKey(server, access)))
    const { ended } = await json(run, ['sessions', 'end', '--all'])
    expect(ended).toBeGreaterThanOrEqual(2)
    for (const { access, refresh: token } of people) {
      await becomes(access, 401)
      expect((await refresh(server, token)).status).toBe(401)
    }
    for (const { key } of keys) expect(await statusOf(server, key)).toBe(200)
    for (const { email, password } of people) await logIn(server, email, password)
    const again = await run(['sessions', 'end', '--all'])
    expect(again).toEqual({ code: 0, out: '2 sessions ended.\n', err: '' })
    const events = await sql`
      SELECT actor_type, details FROM latchkey.audit_events WHERE details ->> 'reason' = 'ended_all' ORDER BY id`
    expect(events).toMatchObject([
      { actor_type: 'system', details: { sessions: ended } },
      { actor_type: 'system', details: { sessions: 2 } },
    ])
  })

  describe('signing-keys', () => {
    test('rotate publishes the next key, revoke has the tokens of a key refused, list prints the keys', async () => {
      const person = await newPerson(server)
      const current = kidOf(person.access)
      expect(await json(run, ['signing-keys', 'list'])).toEqual([
        {
          id: current,
          algorithm: 'ES256',
          state: 'current',
          created_at: expect.any(String),
          signs_from: expect.any(String),
          revoked_at: null,
        },
      ])
      const { id: next, signs_from } = await json(run, ['signing-keys', 'rotate'])
      expect(new Date(signs_from).getTime() - Date.now()).toBeWithin(280_000, 300_001)
      await until(async () => (await publishedKids(server)).length === 2, 'both are published', 1000)
      expect(await publishedKids(server)).toEqual([current, next])
      await fails(['signing-keys', 'rotate'], 'The next key is published already and has not begun to sign.')
      expect(kidOf((await logIn(server, person.email, person.password)).access)).toBe(current)

      const revoked = await run(['signing-keys', 'revoke', '--', current])
      expect(revoked).toEqual({
        code: 0,
        out: `The key ${current} is revoked: what it signed is refused. ${next} signs.\n`,
        err: '',
      })
      await becomes(person.access, 401)
      const isGone = async () => Bun.deepEquals(await publishedKids(server), [next])
      await until(isGone, 'the server signs with the next one alone', 1000)
      const traded = await refresh(server, person.refresh)
      expect(kidOf(traded.body.access_token)).toBe(next)
      expect(await statusOf(server, traded.body.access_token)).toBe(200)
      const { out } = await run(['signing-keys', 'list'])
      expect(out).toMatch(/^KID +ALGORITHM +STATE +CREATED +SIGNS FROM\n/)
      expect(out).toMatch(new RegExp(`^${current} +ES256 +revoked `, 'm'))
      expect(out).toMatch(new RegExp(`^${next} +ES256 +current `, 'm'))
    })

    test('revoke refuses an unknown KID, and accepts a KID that begins with "-" after "--"', async () => {
      const before = await json(run, ['signing-keys', 'list'])
      const missing = 'There is no such signing key, or it is revoked already.'
      await fails(['signing-keys', 'revoke', 'nonsense'], missing)
      await fails(['signing-keys', 'revoke', '--', '-nonsense'], missing)
      expect((await run(['signing-keys', 'revoke', '-nonsense'])).code).toBe(2)
      expect(await json(run, ['signing-keys', 'list'])).toEqual(before)
    })

    test('rewrap is the second step of a SECRET_KEY rotation, after which the old key decrypts nothing', async () => {
      const before = await json(run, ['signing-keys', 'list'])
      const swapped = {
        ...env,
        SECRET_KEY: randomBytes(32).toString('hex'),
        SECRET_KEY_PREVIOUS: env.SECRET_KEY ?? '',
      }
      const rewrapped = await runInProcess(['signing-keys', 'rewrap'], { env: swapped })
      expect(rewrapped).toEqual({
        code: 0,
        out: '1 signing key and 0 TOTP secrets encrypted under the present SECRET_KEY.\n',
        err: '',
      })
      const { SECRET_KEY_PREVIOUS, ...alone } = swapped
      const list = await runInProcess(['signing-keys', 'list', '--json'], { env: alone })
      expect(JSON.parse(list.out)).toEqual(before)
      await fails(
        ['signing-keys', 'list'],
        'SECRET_KEY does not open the stored signing keys: set SECRET_KEY_PREVIOUS to the key that made them',
      )
      // The running server has already read the keys. They are encrypted under the old key again.
      await newPerson(server)
      const back = { ...env, SECRET_KEY_PREVIOUS: alone.SECRET_KEY }
      expect((await runInProcess(['signing-keys', 'rewrap'], { env: back })).code).toBe(0)
      expect(await json(run, ['signing-keys', 'list'])).toEqual(before)
    })

    test('with HS256 there is no signing key to rotate or revoke', async () => {
      const empty = await createDatabase()
      const hs256 = { ...env, DATABASE_URL: empty.url, ALGORITHM: 'HS256' }
      expect(await runInProcess(['signing-keys', 'list'], { env: hs256 })).toEqual({
        code: 0,
        out: 'There are no signing keys.\n',
        err: '',
      })
      for (const words of [['rotate'], ['revoke', 'x']]) {
        const { code, out, err } = await runInProcess(['signing-keys', ...words], { env: hs256 })
        expect({ code, out }).toEqual({ code: 1, out: '' })
        expect(err).toBe(
          'latchkey: With ALGORITHM=HS256 tokens are signed with SECRET_KEY; there are no signing keys.\n',
        )
      }
      await empty.drop()
    })
  })

  test('no password that these tests set is in the log of the server or in the audit trail', async () => {
    const rows = await sql`SELECT t::text AS row FROM latchkey.audit_events t`
    expect(rows.length).toBeGreaterThan(20)
    const told = server.loggedText() + rows.map(({ row }) => row).join('\n')
    for (const password of [PASSWORD, OTHER_PASSWORD]) expect(told).not.toContain(password)
  })
})
