import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { importSeed as readSeed } from '../../src/core/import/seed/seed.ts'
import { OPERATOR } from '../../src/core/principal.ts'
import { removeUser } from '../../src/core/users/accounts.ts'
import { secret } from '../../src/lib/secret.ts'
import { describeFailure } from '../../src/server/failure.ts'
import { call, logIn } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { connectTo } from '../support/people.ts'
import { createDatabase } from '../support/postgres.ts'
import { expectProblem } from '../support/problem.ts'
import { bcrypt, createSeed, type SeedDatabase, seedKey } from '../support/seed.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'

let service: TestService
let sql: postgres.Sql
const seeds: SeedDatabase[] = []
beforeAll(async () => {
  service = await startService()
  sql = connectTo(service)
})
afterEach(async () => {
  for (const seed of seeds.splice(0)) await seed.end()
})
afterAll(async () => {
  await sql.end()
  await service.stop()
})

async function newSeed(version: 1 | 2): Promise<SeedDatabase> {
  const seed = await createSeed(version)
  seeds.push(seed)
  return seed
}

const settings = () => ({
  DATABASE_URL: service.databaseUrl,
  SECRET_KEY: service.config.secretKey?.reveal() ?? '',
})

/** Runs the command, expects success, and gives its report. */
async function importSeed(from: SeedDatabase, ...more: string[]) {
  const words = ['import', 'seed', '--from', from.url, '--json', ...more]
  const { code, out, err } = await runInProcess(words, { env: settings() })
  expect({ code, err }).toEqual({ code: 0, err: expect.any(String) })
  return { ...JSON.parse(out), out, err }
}

const use = (key: string) => call(service, 'GET /protected/service-only', { bearer: key })
const tryLogIn = (email: string, password: string) =>
  call(service, 'POST /auth/login', { json: { email, password } })
const userOf = async (email: string) => (await sql`SELECT * FROM latchkey.users WHERE email = ${email}`)[0]
let addresses = 0
const address = () => `somebody-${++addresses}@example.com`
const postgresOf = (url: string) => postgres(url, { max: 1, onnotice: () => {} })
const none = { imported: 0, already_imported: 0, refused: [] }

describe('an import from the first version of the seed', () => {
  test('keeps the same passwords and the same keys valid', async () => {
    const seed = await newSeed(1)
    const [email, short] = [address(), address()]
    const id = await seed.addUser({ email, password: 'correct horse', created_at: '2024-02-03T04:05:06' })
    await seed.addUser({ email: short, password: 'abc' })
    const { key } = await seed.addKey(id, { scopes: 'read,write', name: 'nightly job' })
    const unscoped = await seed.addKey(id, { scopes: '' })

    const { users, keys, out, err } = await importSeed(seed)
    expect({ users, keys }).toEqual({ users: { ...none, imported: 2 }, keys: { ...none, imported: 2 } })
    expect(out + err).not.toContain(key)

    await logIn(service, email, 'correct horse')
    await logIn(service, short, 'abc')
    expectProblem(await tryLogIn(short, 'abd'), 'invalid_login')
    const used = await use(key)
    expect(used.body).toMatchObject({ auth_type: 'api_key', scopes: ['read', 'write'] })
    expect((await call(service, 'GET /auth/me', { apiKey: key })).body).toMatchObject({
      email,
      // The seed's times without a zone are UTC.
      created_at: '2024-02-03T04:05:06.000Z',
    })
    expectProblem(await use(unscoped.key), 'insufficient_scope')
    expectProblem(await use(seedKey()), 'invalid_token')
    // The owner manages the imported key like any key.
    const { access: bearer } = await logIn(service, email, 'correct horse')
    const listed = (await call(service, 'GET /keys/list', { bearer })).body
    expect(listed).toHaveLength(2)
    expect(listed).toContainEqual(
      expect.objectContaining({ name: 'nightly job', start: key.slice(0, 11), scopes: ['read', 'write'] }),
    )
    const own = listed.find((each: { name: string }) => each.name === 'nightly job')
    expect((await call(service, `DELETE /keys/revoke/${own.id}`, { bearer })).status).toBe(200)
    expectProblem(await use(key), 'invalid_token')
  })

  test.each([
    ['beyond 72 bytes, cut there as it was', `${'0123456789'.repeat(8)}!`],
    ['cut within a character', `${'a'.repeat(71)}éclair`],
    ['of decomposed characters, hashed as they were typed', 'cafe\u0301 au lait'],
    ['with blanks around it', '  two blanks  '],
  ])('keeps a password %s valid, before and after the hash is replaced', async (_, password) => {
    const seed = await newSeed(1)
    const email = address()
    const cut = new Uint8Array(Buffer.from(password).subarray(0, 72))
    await seed.addUser({ email, hashed_password: await bcrypt(cut) })
    await importSeed(seed)
    expectProblem(await tryLogIn(email, `!${password}`), 'invalid_login')
    await logIn(service, email, password)
    expect((await userOf(email))?.password_hash).toStartWith('$argon2id$')
    await logIn(service, email, password)
    expectProblem(await tryLogIn(email, `!${password}`), 'invalid_login')
  })

  test('keeps inactive keys revoked, expired keys expired and disabled users disabled', async () => {
    const seed = await newSeed(1)
    const [email, out] = [address(), address()]
    const id = await seed.addUser({ email })
    const outId = await seed.addUser({ email: out, is_active: false })
    const inactive = await seed.addKey(id, { is_active: false })
    const unset = await seed.addKey(id, { is_active: null })
    const expired = await seed.addKey(id, { expires_at: '2024-01-01T00:00:00' })
    const lives = await seed.addKey(id, { expires_at: '2999-01-01T00:00:00' })
    const outs = await seed.addKey(outId)
    const { keys } = await importSeed(seed)
    expect(keys).toEqual({ ...none, imported: 5 })
    expect((await use(lives.key)).status).toBe(200)
    for (const { key } of [inactive, unset, expired, outs]) expectProblem(await use(key), 'invalid_token')
    expectProblem(await tryLogIn(out, 'a seed password'), 'invalid_login')

    const { access: bearer } = await logIn(service, email, 'a seed password')
    const listed = (await call(service, 'GET /keys/list', { bearer })).body
    const states = listed.map((key: { revoked_at: unknown; expires_at: unknown }) => [
      key.revoked_at === null,
      key.expires_at,
    ])
    expect(states.toSorted()).toEqual([
      [false, null],
      [false, null],
      [true, '2024-01-01T00:00:00.000Z'],
      [true, '2999-01-01T00:00:00.000Z'],
    ])
  })

  test("raises a user's ceiling to exactly the scopes of their live keys", async () => {
    const seed = await newSeed(1)
    const [email, other] = [address(), address()]
    const id = await seed.addUser({ email })
    await seed.addUser({ email: other })
    const { key } = await seed.addKey(id, { scopes: 'read, reports:daily' })
    await seed.addKey(id, { scopes: 'billing' })
    await seed.addKey(id, { scopes: 'dead', is_active: false })
    await seed.addKey(id, { scopes: 'gone', expires_at: '2020-01-01T00:00:00' })
    await importSeed(seed)
    expect((await userOf(email))?.scopes).toEqual(['read', 'write', 'reports:daily', 'billing'])
    expect((await userOf(other))?.scopes).toBeNull()
    expect((await call(service, 'GET /auth/me', { apiKey: key })).body.scopes).toEqual([
      'read',
      'reports:daily',
    ])
  })

  test("replaces the wildcard by the user's usual scopes", async () => {
    const seed = await newSeed(1)
    const id = await seed.addUser({ email: address() })
    const { key } = await seed.addKey(id, { scopes: '*' })
    await importSeed(seed)
    expect((await use(key)).body.scopes).toEqual(['read', 'write'])
  })

  test('drops reserved scopes and malformed scopes', async () => {
    const seed = await newSeed(1)
    const email = address()
    const id = await seed.addUser({ email })
    const bad = [
      'latchkey:users.write',
      'read,latchkey:keys.write',
      'Read',
      'read,écrire',
      '["read"',
      'a'.repeat(65),
    ]
    const made: string[] = []
    for (const scopes of bad) made.push((await seed.addKey(id, { scopes })).key)
    const { keys } = await importSeed(seed)
    expect(keys).toEqual({ ...none, refused: bad.map(() => expect.objectContaining({ email })) })
    for (const { reason } of keys.refused) expect(reason).toStartWith('scopes: ')
    for (const key of made) expectProblem(await use(key), 'invalid_token')
    expect((await userOf(email))?.scopes).toBeNull()
  })

  test('keeps admins and reports them, and can import them as users', async () => {
    const seed = await newSeed(1)
    const [boss, odd] = [address(), address()]
    await seed.addUser({ email: boss, role: 'admin' })
    await seed.addUser({ email: odd, role: 'superuser' })
    const dry = await importSeed(seed, '--no-admins', '--dry-run')
    expect(dry.err).not.toContain(boss)
    const { err } = await importSeed(seed)
    expect(err).toContain(boss)
    expect(err).not.toContain(odd)
    expect((await userOf(boss))?.role).toBe('admin')
    expect((await userOf(odd))?.role).toBe('user')
    const other = await newSeed(1)
    const demoted = address()
    await other.addUser({ email: demoted, role: 'admin' })
    await importSeed(other, '--no-admins')
    expect((await userOf(demoted))?.role).toBe('user')
  })

  test('reports e-mails that differ only in case, and does not merge the users or their keys', async () => {
    const seed = await newSeed(1)
    const email = address()
    const first = await seed.addUser({ email, password: 'the first one', created_at: '2024-01-01T00:00:00' })
    const written = email.toUpperCase()
    const second = await seed.addUser({
      email: written,
      password: 'the second one',
      created_at: '2024-01-02T00:00:00',
    })
    const one = await seed.addKey(first)
    const two = await seed.addKey(second)
    const { users, keys } = await importSeed(seed)
    const reason = expect.stringContaining('differs only in case')
    expect(users).toEqual({ ...none, imported: 1, refused: [{ id: Number(second), email: written, reason }] })
    expect(keys).toMatchObject({ imported: 1, refused: [{ id: Number(two.id), email: written }] })
    expect((await use(one.key)).status).toBe(200)
    expectProblem(await use(two.key), 'invalid_token')
    await logIn(service, email, 'the first one')
    expectProblem(await tryLogIn(written, 'the second one'), 'invalid_login')
  })

  test('does not change an existing user with the same e-mail, and gives them no keys', async () => {
    const seed = await newSeed(1)
    const email = address()
    await call(service, 'POST /auth/signup', { json: { email, password: 'somebody else entirely' } })
    const { key } = await seed.addKey(await seed.addUser({ email, password: 'a seed password' }))
    const { users, keys } = await importSeed(seed)
    expect(users.refused).toEqual([
      expect.objectContaining({ email, reason: expect.stringContaining('already') }),
    ])
    expect(keys.refused).toEqual([expect.objectContaining({ reason: 'Its owner was refused' })])
    await logIn(service, email, 'somebody else entirely')
    expectProblem(await tryLogIn(email, 'a seed password'), 'invalid_login')
    expectProblem(await use(key), 'invalid_token')
  })

  test('refuses unusable rows, each with its reason, and imports the rest', async () => {
    const seed = await newSeed(1)
    const good = await seed.addUser({ email: address() })
    const cases: [email: string, hash: string, reason: string][] = [
      ['no address', await bcrypt('x'), 'e-mail'],
      [`${'a'.repeat(300)}@example.com`, await bcrypt('x'), 'e-mail'],
      [address(), '$2b$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', 'cost 15'],
      [address(), 'pbkdf2_sha256$1000$salt$hash', 'bcrypt or argon2'],
      [address(), 'plain password', 'bcrypt or argon2'],
    ]
    for (const [email, hashed_password] of cases) await seed.addUser({ email, hashed_password })
    const comma = await seed.addKey(good, { key: `sk_${'x'.repeat(30)},${'y'.repeat(9)}` })
    const own = await seed.addKey(good, { key: `sk_${'A'.repeat(49)}` })
    const fine = await seed.addKey(good)
    const { users, keys, out, err } = await importSeed(seed)
    expect(users.imported).toBe(1)
    expect(users.refused.map((each: { reason: string }) => each.reason)).toEqual(
      cases.map(([, , reason]) => expect.stringContaining(reason)),
    )
    expect(keys).toMatchObject({ imported: 1, refused: [{ id: Number(comma.id) }, { id: Number(own.id) }] })
    expect((await use(fine.key)).status).toBe(200)
    for (const hidden of [comma.key, own.key, 'plain password', 'CCCCCC'])
      expect(out + err).not.toContain(hidden)
  })
})

describe('an import from the second version of the seed', () => {
  test('keeps ids and passwords, and keys with the scope read', async () => {
    const seed = await newSeed(2)
    const email = address()
    const id = await seed.addUser({
      email,
      password: 'correct horse',
      created_at: '2025-03-04T05:06:07+02:00',
    })
    const { id: keyId, key } = await seed.addKey(id, { expires_at: '2999-01-01T00:00:00+00:00' })
    const inactive = await seed.addKey(id, { is_active: false })
    const expired = await seed.addKey(id, { expires_at: '2024-01-01T00:00:00+00:00' })
    const { users, keys } = await importSeed(seed)
    expect({ users, keys }).toEqual({ users: { ...none, imported: 1 }, keys: { ...none, imported: 3 } })
    expect((await use(key)).body).toMatchObject({ scopes: ['read'], key_id: keyId, owner_id: id })
    expect((await call(service, 'GET /auth/me', { apiKey: key })).body).toMatchObject({
      id,
      created_at: '2025-03-04T03:06:07.000Z',
    })
    for (const over of [inactive, expired]) expectProblem(await use(over.key), 'invalid_token')
    await logIn(service, email, 'correct horse')
    // The stored hash itself is no valid key.
    const [row] = await seed.sql`SELECT key FROM api_keys WHERE id = ${keyId}`
    expectProblem(await use(row?.key), 'invalid_token')
  })

  test('raises ceilings to the scope read where users have none by default', async () => {
    const strict = await startService({ userScopes: [] })
    try {
      const seed = await newSeed(2)
      const id = await seed.addUser({ email: address() })
      const { key } = await seed.addKey(id)
      await seed.addKey(id)
      const env = {
        DATABASE_URL: strict.databaseUrl,
        SECRET_KEY: settings().SECRET_KEY,
        USER_SCOPES: 'other',
      }
      env.SECRET_KEY = strict.config.secretKey?.reveal() ?? ''
      expect(await runInProcess(['import', 'seed', '--from', seed.url], { env })).toMatchObject({
        code: 0,
      })
      const answer = await call(strict, 'GET /protected/service-only', { bearer: key })
      expect(answer.body.scopes).toEqual(['read'])
    } finally {
      await strict.stop()
    }
  })
})

/** The rows of every table that an import writes. */
const everything = async () => {
  const counts = await sql`SELECT (SELECT count(*) FROM latchkey.users) AS users,
    (SELECT count(*) FROM latchkey.api_keys) AS keys, (SELECT count(*) FROM latchkey.api_key_secrets) AS secrets,
    (SELECT count(*) FROM latchkey.audit_events) AS events,
    (SELECT md5(string_agg(u::text, ',' ORDER BY id)) FROM latchkey.users u) AS rows`
  return { ...counts[0] }
}

describe.each([1, 2] as const)('an import of version %i', (version) => {
  test('a second import changes nothing', async () => {
    const seed = await newSeed(version)
    const email = address()
    const id = await seed.addUser({ email })
    for (let i = 0; i < 3; i++) await seed.addKey(id, { scopes: 'read,extra' })
    await importSeed(seed)
    const before = await everything()
    const { users, keys } = await importSeed(seed)
    expect(users).toEqual({ ...none, already_imported: 1 })
    expect(keys).toEqual({ ...none, already_imported: 3 })
    expect(await everything()).toEqual(before)
    // The next import brings users who are new in the seed.
    await seed.addKey(await seed.addUser({ email: address() }))
    const third = await importSeed(seed)
    expect(third.users).toEqual({ ...none, already_imported: 1, imported: 1 })
    expect(third.keys).toEqual({ ...none, already_imported: 3, imported: 1 })
  })

  test('a dry run writes nothing and reports the same as the real import', async () => {
    const seed = await newSeed(version)
    const email = address()
    await call(service, 'POST /auth/signup', { json: { email, password: 'somebody else entirely' } })
    const id = await seed.addUser({ email: address() })
    const wide = Array.from({ length: 30 }, (_, i) => `wide-${i}`).join(',')
    const wider = Array.from({ length: 30 }, (_, i) => `wider-${i}`).join(',')
    for (const scopes of ['read', wide, wider, 'latchkey:verify']) await seed.addKey(id, { scopes })
    await seed.addUser({ email: address(), hashed_password: 'none' })
    const taken = await seed.addUser({ email })
    await seed.addKey(taken)
    await seed.addUser({ email: email.toUpperCase() })
    const before = await everything()
    const dry = await importSeed(seed, '--dry-run')
    expect(dry.err).toContain('nothing is written')
    expect(await everything()).toEqual(before)
    const real = await importSeed(seed)
    expect(dry.out).toBe(real.out)
    expect(real.users).toMatchObject({ imported: 1, refused: [{}, {}, {}] })
    expect(real.keys.imported).toBe(version === 1 ? 2 : 4)
    expect((await importSeed(seed, '--dry-run')).out).toBe((await importSeed(seed)).out)
  })

  test('two imports at the same moment import each row once', async () => {
    const seed = await newSeed(version)
    const made: string[] = []
    for (let i = 0; i < 5; i++) {
      const id = await seed.addUser({ email: address() })
      for (let k = 0; k < 4; k++) made.push((await seed.addKey(id, { scopes: 'read,extra' })).key)
    }
    const runs = await Promise.all([importSeed(seed), importSeed(seed), importSeed(seed)])
    const total = (kind: 'users' | 'keys', what: string) =>
      runs.reduce((sum, run) => sum + run[kind][what], 0)
    expect(runs.flatMap(({ users, keys }) => [...users.refused, ...keys.refused])).toEqual([])
    expect([total('users', 'imported'), total('users', 'already_imported')]).toEqual([5, 10])
    expect([total('keys', 'imported'), total('keys', 'already_imported')]).toEqual([20, 40])
    for (const key of made) expect((await use(key)).status).toBe(200)
  })

  test('a second import brings users that were disabled and keys that were revoked since the first', async () => {
    const seed = await newSeed(version)
    const email = address()
    const id = await seed.addUser({ email })
    const [kept, dropped] = [await seed.addKey(id), await seed.addKey(id)]
    const otherEmail = address()
    const other = await seed.addKey(await seed.addUser({ email: otherEmail }))
    await importSeed(seed)
    const { access: bearer } = await logIn(service, otherEmail, 'a seed password')
    for (const { key } of [kept, dropped, other]) expect((await use(key)).status).toBe(200)
    await seed.sql`UPDATE api_keys SET is_active = false, revoked_at = now() WHERE id::text = ${dropped.id}`
    await seed.sql`UPDATE users SET is_active = false WHERE email = ${otherEmail}`
    const before = await everything()
    await importSeed(seed, '--dry-run')
    expect(await everything()).toEqual(before)
    const { users, keys } = await importSeed(seed)
    expect(users).toEqual({ ...none, already_imported: 2 })
    expect(keys).toEqual({ ...none, already_imported: 3 })
    const isOver = async () =>
      (await use(dropped.key)).status === 401 && (await use(other.key)).status === 401
    await until(isOver, 'the server has heard of it')
    expectProblem(await call(service, 'GET /auth/me', { bearer }), 'invalid_token')
    expectProblem(await tryLogIn(otherEmail, 'a seed password'), 'invalid_login')
    expect((await use(kept.key)).status).toBe(200)
  })

  test('a second import does not restore a key that was rotated, revoked or deleted here', async () => {
    const seed = await newSeed(version)
    const email = address()
    const id = await seed.addUser({ email })
    const made = [await seed.addKey(id), await seed.addKey(id), await seed.addKey(id)]
    const gone = address()
    const gones = await seed.addKey(await seed.addUser({ email: gone }))
    await importSeed(seed)
    const { access: bearer } = await logIn(service, email, 'a seed password')
    const ids: string[] = []
    for (const { key } of made) ids.push((await use(key)).body.key_id)
    const rotated = await call(service, `POST /keys/${ids[0]}/rotate`, {
      bearer,
      json: { overlap_seconds: 0 },
    })
    expect(rotated.status).toBe(201)
    expect((await call(service, `DELETE /keys/${ids[1]}`, { bearer })).status).toBe(200)
    expect((await call(service, `DELETE /keys/delete/${ids[2]}`, { bearer })).status).toBe(200)
    const deleted = (await call(service, 'GET /auth/me', { apiKey: gones.key })).body.id
    await removeUser(service.context, SYSTEM, OPERATOR, deleted)

    const { users, keys } = await importSeed(seed)
    const reason = expect.stringContaining('deleted here')
    expect(users).toEqual({
      ...none,
      already_imported: 1,
      refused: [expect.objectContaining({ email: gone, reason })],
    })
    expect(keys).toMatchObject({ imported: 0, already_imported: 2 })
    expect(keys.refused).toHaveLength(2)
    for (const { key } of [...made, gones]) expectProblem(await use(key), 'invalid_token')
    expect((await use(rotated.body.key)).status).toBe(200)
  })
})

test('the seed may be in the same database, where --from is not needed', async () => {
  const seed = await createSeed(1, service.databaseUrl)
  try {
    const email = address()
    const { key } = await seed.addKey(await seed.addUser({ email }))
    const { code, out } = await runInProcess(['import', 'seed'], { env: settings() })
    expect(code).toBe(0)
    expect(out).toContain('Users: 1 imported, 0 imported before, 0 refused.')
    expect((await use(key)).status).toBe(200)
    await logIn(service, email, 'a seed password')
    expect(await seed.sql`SELECT count(*)::int AS n FROM public.users`).toEqual([{ n: 1 }] as never)
  } finally {
    await seed.sql`DROP TABLE public.api_keys, public.users, public.refresh_tokens`
    await seed.end()
  }
})

describe('tables of other shapes', () => {
  const HASH = 'hashed_password text'
  const KEYS = 'CREATE TABLE api_keys (id int, key text, user_id int)'

  test.each<[what: string, tables: string, key: string, scopes: string[]]>([
    [
      'SHA-256 as bytes, scopes as an array',
      `CREATE TABLE users (id bigint, email text, password_hash text, enabled boolean);
       CREATE TABLE api_keys (id bigint, key_hash bytea, user_id bigint, scopes text[], revoked boolean);
       INSERT INTO api_keys VALUES (1, sha256('key-of-old'), 1, '{read,write}', false)`,
      'key-of-old',
      ['read', 'write'],
    ],
    [
      'scopes in JSON, an integer for a flag, an owner of another name',
      `CREATE TABLE users (id int, email text, ${HASH}, is_active smallint);
       CREATE TABLE api_keys (id int, api_key text, owner_id int, scopes jsonb, is_active int, expires_at date);
       INSERT INTO api_keys VALUES (1, 'key-of-old-2', 1, '["read"]', 1, '2999-01-01')`,
      'key-of-old-2',
      ['read'],
    ],
    [
      'no more than has to be',
      `CREATE TABLE users (id int, email text, ${HASH}); ${KEYS}; INSERT INTO api_keys VALUES (1, 'key-of-old-3', 1)`,
      'key-of-old-3',
      ['read'],
    ],
  ])('are understood: %s', async (_, tables, key, scopes) => {
    const { url, drop } = await createDatabase({ migrated: false })
    const other = postgresOf(url)
    try {
      await other.unsafe(tables)
      const [hash] = Object.values(
        (
          await other`SELECT column_name FROM information_schema.columns
        WHERE table_name = 'users' AND column_name LIKE '%password%'`
        )[0] ?? {},
      )
      const row = { id: 1, email: address(), [String(hash)]: await bcrypt('a seed password') }
      await other`INSERT INTO users ${other(row)}`
      const flag = await other`SELECT 1 FROM information_schema.columns
        WHERE table_name = 'users' AND column_name = 'is_active'`
      if (flag.length > 0) await other`UPDATE users SET is_active = 1`
      const { code, err } = await runInProcess(['import', 'seed', '--from', url], { env: settings() })
      expect({ code, err }).toMatchObject({ code: 0 })
      expect((await use(key)).body.scopes).toEqual(scopes)
      await logIn(service, row.email as string, 'a seed password')
    } finally {
      await other.end()
      await drop()
    }
  })

  test.each([
    ['', 'there is no table public.users'],
    [`CREATE TABLE users (id int, email text, ${HASH})`, 'there is no table public.api_keys'],
    [`CREATE TABLE users (id int, email text); ${KEYS}`, 'public.users has no column for the hashes'],
    [
      `CREATE TABLE users (id int, email text, ${HASH}); CREATE TABLE api_keys (id int, user_id int)`,
      'no column for the keys',
    ],
    [
      `CREATE TABLE users (id int, email text, ${HASH}); CREATE TABLE api_keys (id int, key text)`,
      "no column for the owners' ids",
    ],
    [
      `CREATE TABLE users (id int, email text, ${HASH}); CREATE TABLE api_keys (id int, key text, user_id int, status text)`,
      'public.api_keys.status may say',
    ],
    [
      `CREATE TABLE users (id int, email text, ${HASH}, locked_until timestamp); ${KEYS}`,
      'public.users.locked_until may say',
    ],
    [
      `CREATE TABLE users (id int, email text, ${HASH}, created_at text); ${KEYS}`,
      'public.users.created_at is text',
    ],
    [
      `CREATE TABLE users (id int, email text, ${HASH}, is_active text); ${KEYS}`,
      'public.users.is_active is text',
    ],
  ])('are refused in one sentence, and nothing is written: %s', async (tables, sentence) => {
    const { url, drop } = await createDatabase({ migrated: false })
    const other = postgresOf(url)
    try {
      await other.unsafe(tables)
      const before = await everything()
      const options = { schema: 'public', keepsAdmins: true, isTrial: false, tell: () => {} }
      const failed = await readSeed(service.context, SYSTEM, { ...options, url: secret(url) }).catch(
        describeFailure,
      )
      expect(failed).toContain(sentence)
      expect(failed).not.toContain('\n')
      expect(await everything()).toEqual(before)
    } finally {
      await other.end()
      await drop()
    }
  })

  test('in another schema are read with --schema', async () => {
    const seed = await newSeed(1)
    const { key } = await seed.addKey(await seed.addUser({ email: address() }))
    await seed.sql`ALTER TABLE api_keys ADD COLUMN status text DEFAULT 'good'`
    await seed.sql.unsafe(`CREATE SCHEMA "to import"; CREATE VIEW "to import".users AS SELECT * FROM users;
      CREATE VIEW "to import".api_keys AS
        SELECT id, key, name, scopes, user_id, status = 'good' AS is_active FROM api_keys`)
    const { keys } = await importSeed(seed, '--schema', 'to import')
    expect(keys).toEqual({ ...none, imported: 1 })
    expect((await use(key)).status).toBe(200)
  })
})

describe('a source that cannot be read', () => {
  test.each([
    ['postgres://u:hunter2@127.0.0.1:1/db', /^latchkey: the seed's database cannot be read: .*ECONNREFUSED/],
    ['mysql://u:hunter2@h/db', /^latchkey: --from must be a PostgreSQL URL/],
    ['hunter2', /^latchkey: --from cannot be read as a URL/],
  ])('%s is reported in one sentence without its password', async (from, sentence) => {
    const { code, out, err } = await runInProcess(['import', 'seed', '--from', from], { env: settings() })
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toMatch(sentence)
    expect(err).not.toContain('hunter2')
  })

  test('is named on standard input with --from -, so that its password is not on the command line', async () => {
    const seed = await newSeed(2)
    await seed.addUser({ email: address() })
    const words = ['import', 'seed', '--from', '-', '--json']
    const { code, out } = await runInProcess(words, { env: settings(), input: `${seed.url}\n` })
    expect(code).toBe(0)
    expect(JSON.parse(out).users.imported).toBe(1)
  })
})
