import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import type postgres from 'postgres'
import { emptyDirectory } from './support/binary.ts'
import { call, logIn } from './support/client.ts'
import { connectTo } from './support/people.ts'
import { expectProblem } from './support/problem.ts'
import { latchkey } from './support/program.ts'
import { bcrypt, createSeed, type SeedDatabase, seedKey } from './support/seed.ts'
import { startService, type TestService } from './support/service.ts'

let service: TestService
let sql: postgres.Sql
let here: ReturnType<typeof emptyDirectory>
const seeds: SeedDatabase[] = []
beforeAll(async () => {
  service = await startService()
  sql = connectTo(service)
  here = emptyDirectory()
})
afterEach(async () => {
  for (const seed of seeds.splice(0)) await seed.end()
})
afterAll(async () => {
  here[Symbol.dispose]()
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

/** Runs the command, which must go through, and reads its report. */
async function importSeed(from: SeedDatabase, ...more: string[]) {
  const words = ['import', 'seed', '--from', from.url, '--json', ...more]
  const { code, out, err } = await latchkey(here.path, words, settings())
  expect({ code, err }).toEqual({ code: 0, err: expect.any(String) })
  return { ...JSON.parse(out), out, err }
}

const use = (key: string) => call(service, 'GET /protected/service-only', { bearer: key })
const tryLogIn = (email: string, password: string) =>
  call(service, 'POST /auth/login', { json: { email, password } })
const userOf = async (email: string) => (await sql`SELECT * FROM latchkey.users WHERE email = ${email}`)[0]
let addresses = 0
const address = () => `somebody-${++addresses}@example.com`
const none = { imported: 0, already_imported: 0, refused: [] }

describe('the first version', () => {
  test('goes on without noticing: the same passwords log in, the same keys verify', async () => {
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
      // A time without a zone is UTC.
      created_at: '2024-02-03T04:05:06.000Z',
    })
    expectProblem(await use(unscoped.key), 'insufficient_scope')
    expectProblem(await use(seedKey()), 'invalid_token')
    // Its owner manages it like any other.
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
  ])('a password %s logs in, now and after it has been hashed anew', async (_, password) => {
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

  test('keeps what is over, over: inactive keys are revoked, expired ones expired, disabled users out', async () => {
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

  test("raises a user's ceiling to the scopes of their living keys, and to nothing else", async () => {
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

  test("puts a user's usual scopes in place of the wildcard", async () => {
    const seed = await newSeed(1)
    const id = await seed.addUser({ email: address() })
    const { key } = await seed.addKey(id, { scopes: '*' })
    await importSeed(seed)
    expect((await use(key)).body.scopes).toEqual(['read', 'write'])
  })

  test('takes no scope of this service from it, and none that is malformed', async () => {
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

  test('keeps its admins, tells who they are, and leaves them behind where asked', async () => {
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

  test('reports addresses that differ only in case, and merges nobody: their keys stay apart', async () => {
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

  test('does not touch somebody who has that address here already, and gives them no keys', async () => {
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

  test('refuses what cannot go on, each with its reason, and imports the rest', async () => {
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
