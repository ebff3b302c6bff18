import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { argon2Sync, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type postgres from 'postgres'
import { emptyDirectory } from '../support/binary.ts'
import { call, logIn } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { addLoggedIn, connectTo } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { bcrypt, seedKey, sha256 } from '../support/seed.ts'
import { startService, type TestService } from '../support/service.ts'

let service: TestService
let sql: postgres.Sql
let here: ReturnType<typeof emptyDirectory>
beforeAll(async () => {
  service = await startService()
  sql = connectTo(service)
  here = emptyDirectory()
})
afterAll(async () => {
  here[Symbol.dispose]()
  await sql.end()
  await service.stop()
})

const settings = () => ({
  DATABASE_URL: service.databaseUrl,
  SECRET_KEY: service.config.secretKey?.reveal() ?? '',
})
const run = (words: string[], stdin = '') =>
  runInProcess(['import', ...words], { env: settings(), input: stdin })

let files = 0
function file(text: string | Uint8Array): string {
  const path = join(here.path, `import-${++files}.txt`)
  writeFileSync(path, text)
  return path
}
const lines = (items: unknown[]) => items.map((item) => `${JSON.stringify(item)}\n`).join('')

/** Imports items from a file of JSON lines, expects success, and gives the report. */
async function importLines(kind: 'users' | 'keys', items: unknown[], ...more: string[]) {
  const { code, out, err } = await run([kind, file(lines(items)), '--json', ...more])
  expect({ code, err }).toEqual({ code: 0, err: expect.any(String) })
  return { ...JSON.parse(out), out, err }
}

let addresses = 0
const address = () => `imported-${++addresses}@example.com`
const use = (key: string) => call(service, 'GET /protected/service-only', { bearer: key })
const tryLogIn = (email: string, password: string) =>
  call(service, 'POST /auth/login', { json: { email, password } })
const none = { imported: 0, already_imported: 0, refused: [] }
const rowOf = async (email: string) => (await sql`SELECT * FROM latchkey.users WHERE email = ${email}`)[0]

/** An argon2 hash by another implementation than the one that verifies it. */
function argon2(
  kind: 'argon2id' | 'argon2i' | 'argon2d',
  password: string,
  memory = 256,
  passes = 2,
  lanes = 1,
) {
  const nonce = randomBytes(16)
  const parameters = { message: password, nonce, parallelism: lanes, tagLength: 32, memory, passes }
  const tag = argon2Sync(kind, parameters)
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64').replace(/=+$/, '')
  return `$${kind}$v=19$m=${memory},t=${passes},p=${lanes}$${text(nonce)}$${text(tag)}`
}

describe('import users', () => {
  test.each<[what: string, hash: (password: string) => string | Promise<string>]>([
    ['bcrypt', bcrypt],
    ['bcrypt, as PHP writes it', async (password) => (await bcrypt(password)).replace('$2b$', '$2y$')],
    ['argon2id', (password) => argon2('argon2id', password)],
    ['argon2id at the most that is taken', (password) => argon2('argon2id', password, 65_536, 10)],
    ['argon2id in four lanes, as Python writes it', (password) => argon2('argon2id', password, 65_536, 3, 4)],
    ['argon2i', (password) => argon2('argon2i', password)],
    ['argon2d', (password) => argon2('argon2d', password)],
  ])('keeps their passwords valid: %s', async (_, hash) => {
    const [email, password] = [address(), 'short']
    const { users, keys } = await importLines('users', [{ email, password_hash: await hash(password) }])
    expect({ users, keys }).toEqual({ users: { ...none, imported: 1 }, keys: none })
    // The most expensive hash takes a second, and on a busy machine longer than the limit of a log-in.
    const patiently = async (typed: string) => {
      let answer = await tryLogIn(email, typed)
      for (let again = 0; answer.status === 503 && again < 20; again++) answer = await tryLogIn(email, typed)
      return answer
    }
    expectProblem(await patiently(`${password}!`), 'invalid_login')
    expect((await patiently(password)).status).toBe(200)
    expect(service.context.passwords.isOutdated((await rowOf(email))?.password_hash)).toBe(false)
    await logIn(service, email, password)
  })

  test('keeps every member of a user', async () => {
    const [full, bare] = [address(), address()]
    const id = crypto.randomUUID()
    const more = { role: 'admin', is_active: false, email_verified: true, scopes: 'read,reports' }
    await importLines('users', [
      { id, email: `  ${full.toUpperCase()} `, ...more, created_at: '2020-01-02T03:04:05Z' },
      { id: 17, email: bare, password_hash: null, scopes: null },
    ])
    expect(await rowOf(full)).toMatchObject({
      id,
      role: 'admin',
      is_active: false,
      email_verified: true,
      scopes: ['read', 'reports'],
      password_hash: null,
      created_at: new Date('2020-01-02T03:04:05Z'),
    })
    expect(await rowOf(bare)).toMatchObject({
      role: 'user',
      is_active: true,
      email_verified: false,
      scopes: null,
    })
    // A user without a password cannot log in.
    for (const password of ['', 'null', 'undefined'])
      expect((await tryLogIn(bare, password)).status).not.toBe(200)
    const [event] = await sql`SELECT * FROM latchkey.audit_events WHERE target_id = ${id}`
    expect(event).toMatchObject({
      action: 'user.created',
      actor_type: 'system',
      details: { role: 'admin', imported: true },
    })
  })

  const UU = 'CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'
  test('refuses unusable users, each with the reason, and imports the others', async () => {
    const cases: [what: string, item: Record<string, unknown>, reason: string][] = [
      ['bcrypt of cost 15', { password_hash: `$2b$15$${UU}` }, 'cost 15'],
      ['bcrypt of cost 3', { password_hash: `$2b$03$${UU}` }, 'cost 3'],
      ['bcrypt cut short', { password_hash: `$2b$12$${UU.slice(1)}` }, 'damaged'],
      ['bcrypt of a broken implementation', { password_hash: `$2x$12$${UU}` }, 'bcrypt or argon2'],
      [
        'argon2 with more than 64 MiB',
        { password_hash: argon2('argon2id', 'x').replace('m=256', 'm=65537') },
        'memory',
      ],
      [
        'argon2 with more than 10 passes',
        { password_hash: argon2('argon2id', 'x').replace('t=2', 't=11') },
        'passes',
      ],
      [
        'argon2 in a hundred lanes',
        { password_hash: argon2('argon2id', 'x', 1024, 1, 8).replace('p=8', 'p=100') },
        'lanes',
      ],
      ['argon2 of no passes', { password_hash: argon2('argon2id', 'x').replace('t=2', 't=0') }, 'damaged'],
      [
        'argon2 of an older version',
        { password_hash: argon2('argon2id', 'x').replace('v=19', 'v=16') },
        'version',
      ],
      [
        'scrypt',
        { password_hash: '$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4' },
        'bcrypt or argon2',
      ],
      ['Django', { password_hash: 'pbkdf2_sha256$600000$salt$hash' }, 'bcrypt or argon2'],
      ['SHA-256', { password_hash: sha256('x') }, 'bcrypt or argon2'],
      ['a password', { password_hash: 'a plain password' }, 'bcrypt or argon2'],
      ['an empty hash', { password_hash: '' }, 'bcrypt or argon2'],
      ['a password as a member', { password: 'a plain password' }, 'Unknown member: password'],
      ['an unknown role', { role: 'root' }, 'role'],
      ['malformed scopes', { scopes: '*' }, 'scopes'],
      ['a flag that is a text', { is_active: 'false' }, 'is_active'],
      ['a malformed time', { created_at: 'yesterday' }, 'created_at'],
      ['no address', { email: 'nobody' }, 'e-mail'],
      ['an address with NUL', { email: 'a\0b@example.com' }, 'e-mail'],
      ['no address at all', { email: undefined }, 'email'],
    ]
    // A valid user stands between any two bad ones.
    const items = cases.flatMap(([, item]) => [{ email: address() }, { email: address(), ...item }])
    const { users, out, err } = await importLines('users', items)
    expect(users.imported).toBe(cases.length)
    const found = cases.map(([what], at) => [what, users.refused[at]?.reason])
    expect(found).toEqual(
      cases.map(([what, , reason], at) => [
        what,
        expect.stringMatching(new RegExp(`^item ${2 * at + 2}: .*${reason}`)),
      ]),
    )
    for (const [, { password_hash: hash, password }] of cases) {
      for (const hidden of [hash, password]) if (hidden) expect(out + err).not.toContain(String(hidden))
    }
    const there = await sql`SELECT email FROM latchkey.users`
    const bad = items.filter((_, at) => at % 2 === 1).map(({ email }) => email)
    expect(there.filter(({ email }) => bad.includes(email))).toHaveLength(0)
  })

  test('reports e-mails that differ only in case, imports the first user, and merges none', async () => {
    const email = address()
    const written = email.replace('imported', 'Imported')
    const [one, two] = [await bcrypt('the first'), await bcrypt('the second')]
    const { users } = await importLines('users', [
      { id: 1, email, password_hash: one },
      { id: 2, email: written, password_hash: two },
      { id: 3, email, password_hash: two },
    ])
    expect(users.imported).toBe(1)
    expect(users.refused).toEqual([
      { id: 2, email: written, reason: expect.stringContaining('differs only in case') },
      { id: 3, email, reason: expect.stringContaining('same address') },
    ])
    await logIn(service, written, 'the first')
    expectProblem(await tryLogIn(written, 'the second'), 'invalid_login')
  })

  test('a second time imports no user twice, also not after a log-in; another user with the same e-mail is refused', async () => {
    const [email, taken] = [address(), address()]
    await call(service, 'POST /auth/signup', { json: { email: taken, password: 'somebody else entirely' } })
    const items = [
      { email, password_hash: await bcrypt('an old password') },
      { email: taken, password_hash: await bcrypt('an old password') },
    ]
    const refused = [expect.objectContaining({ email: taken, reason: expect.stringContaining('already') })]
    expect((await importLines('users', items)).users).toEqual({ ...none, imported: 1, refused })
    await logIn(service, email, 'an old password')
    expect((await importLines('users', items)).users).toEqual({ ...none, already_imported: 1, refused })
    expectProblem(await tryLogIn(taken, 'an old password'), 'invalid_login')
  })
})

describe('import keys', () => {
  test('accepts a JSON array, lines of objects, and standard input; a dry run reports the same and writes nothing', async () => {
    const owner = await addLoggedIn(service, sql)
    const made = [seedKey(), seedKey(), seedKey()]
    const items = made.map((key) => ({ owner: { email: owner.email }, hash: sha256(key), scopes: 'read' }))
    const [first, second, third] = items
    const pretty = file(`\uFEFF${JSON.stringify([first], null, 2)}`)
    const dry = await run(['keys', pretty, '--json', '--dry-run'])
    expect(JSON.parse(dry.out)).toEqual({ users: none, keys: { ...none, imported: 1 } })
    expect(dry.err).toContain('nothing is written')
    expectProblem(await use(made[0] ?? ''), 'invalid_token')
    expect((await run(['keys', pretty, '--json'])).out).toBe(dry.out)
    expect((await run(['keys', file(`\r\n${JSON.stringify(second)}\r\n\r\n`)])).out).toBe(
      'Users: 0 imported, 0 imported before, 0 refused.\nKeys: 1 imported, 0 imported before, 0 refused.\n',
    )
    expect((await run(['keys', '-'], JSON.stringify([third]))).out).toContain('Keys: 1 imported')
    for (const key of made)
      expect((await use(key)).body).toMatchObject({ owner_id: owner.id, scopes: ['read'] })
    const again = await importLines('keys', items)
    expect(again.keys).toEqual({ ...none, already_imported: 3 })
    const [event] =
      await sql`SELECT * FROM latchkey.audit_events WHERE action = 'key.imported' ORDER BY id DESC`
    expect(event).toMatchObject({ actor_type: 'system', details: { owner: { type: 'user', id: owner.id } } })
  })

  test('reports refused keys by their position, for people in a table without control characters', async () => {
    const owner = await addLoggedIn(service, sql)
    const key = seedKey()
    const mine = { owner: { email: owner.email }, key, scopes: 'read' }
    const items = [
      mine,
      { ...mine, id: 'k\u001b[31m', key: 'two words' },
      'sk_key',
      { ...mine, scopes: 'READ' },
      mine,
    ]
    const { keys, out } = await importLines('keys', items)
    expect(keys).toMatchObject({ imported: 1, already_imported: 1 })
    expect(keys.refused.map(({ reason }: { reason: string }) => reason.split(':')[0])).toEqual([
      'item 2',
      'item 3',
      'item 4',
    ])
    expect(out).not.toContain(key)
    const printed = await run(['keys', file(lines(items))])
    expect(printed.out).toContain('Keys: 0 imported, 2 imported before, 3 refused.')
    expect(printed.out).not.toContain('\u001b')
    expect(printed.out).toMatch(/REFUSED +ID +EMAIL +REASON\n/)
  })

  test.each<[what: string, text: string | Uint8Array, sentence: string]>([
    ['empty', '', 'empty'],
    ['blank', ' \n ', 'empty'],
    ['broken', '[{"key":"sk_hunter2"', 'not valid JSON'],
    ['broken in a line', '{"key":"a"}\n{"key":sk_hunter2}\n', 'line 2'],
    ['a whole object over lines', '{\n"key":"sk_hunter2"\n}', 'line 1'],
    ['of NUL', '{"key":"a\0"}', 'NUL'],
    ['in another encoding', new Uint8Array([0xff, 0xfe, 0x5b, 0x00, 0x5d, 0x00]), 'UTF-8'],
    ['too long', `[${' '.repeat(8 * 1024 * 1024)}]`, '8 MiB'],
    ['nested beyond all bounds', '['.repeat(1_000_000), 'not valid JSON'],
  ])('of a file that is %s is refused as a whole, in one sentence', async (_, text, sentence) => {
    const { code, out, err } = await run(['keys', file(text)])
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toMatch(/^latchkey: [^\n]*\n$/)
    expect(err).toContain(sentence)
    expect(err).not.toContain('hunter2')
  })

  test('of a missing file fails, and without a file argument is wrong use', async () => {
    const missing = await run(['keys', join(here.path, 'missing.json')])
    expect(missing).toMatchObject({ code: 1, out: '', err: expect.stringContaining('missing.json') })
    expect(await run(['keys'])).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringContaining('FILE is missing'),
    })
  })
})
