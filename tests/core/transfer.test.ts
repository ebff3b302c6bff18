import { afterAll, beforeAll, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { eq } from 'drizzle-orm'
import postgres from 'postgres'
import { keyRefusals, overview, runningExports, usageByOwner } from '../../src/db/console.ts'
import { mailboxCounts, mails, oneTimeTokens } from '../../src/db/people.ts'
import { portalSessions } from '../../src/db/portal.ts'
import { heartbeats, regionState, regions, usageReports } from '../../src/db/regions.ts'
import {
  apiKeySecrets,
  keyActivity,
  keyUsage,
  ownerCredits,
  passwordResets,
  revokedTokens,
  sessions,
  topUps,
} from '../../src/db/schema.ts'
import { decryptUnder, encryptUnder } from '../../src/lib/passphrase.ts'
import { secret } from '../../src/lib/secret.ts'
import { emptyDirectory } from '../support/binary.ts'
import { call, logIn, newKey, newPerson, type Person } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { readEveryTable, TABLE_NAMES } from '../support/every-table.ts'
import { adminToken } from '../support/oauth.ts'
import { connectTo } from '../support/people.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'
import { refresh } from '../support/refresh.ts'
import { insertAppRows, rows } from '../support/rows.ts'
import { beginLogIn, codeOf, type Enrolled, newEnrolled, secondStep } from '../support/second-factors.ts'
import { startService, type TestService } from '../support/service.ts'

const PASSPHRASE = 'correct horse battery staple'
const anotherKey = () => randomBytes(48).toString('base64')

let source: TestService
let here: ReturnType<typeof emptyDirectory>
let person: Person
let enrolled: Enrolled
let made: { id: string; key: string }
let file: string
let before: Record<string, string[]>
const databases: TestDatabase[] = []

beforeAll(async () => {
  source = await startService()
  here = emptyDirectory()
  file = join(here.path, 'all.age')
  person = await newPerson(source)
  made = await newKey(source, person.access, {
    name: 'ключ 🔑 "\\',
    scopes: 'read',
    credits: { remaining: 10 },
    allowed_ips: ['10.0.0.0/8', '127.0.0.1/32'],
  })
  await call(source, `PATCH /keys/${made.id}`, {
    bearer: await adminToken(source),
    json: { metadata: { big: 9007199254740991, text: 'a\nb\\n"' } },
  })
  await call(source, 'POST /keys', {
    bearer: person.access,
    json: {},
    headers: { 'Idempotency-Key': 'a-value-of-its-own' },
  })
  const json = { name: 'account' }
  const account = await call(source, 'POST /service-accounts', { bearer: person.access, json })
  await call(source, 'POST /auth/login', { json: { email: person.email, password: 'wrong-password-0' } })
  await source.context.db.insert(keyActivity).values(rows.activity(made.id))
  await source.context.db.insert(runningExports).values(rows.export(person.id))
  await source.context.db.insert(overview).values({ only: true, computedAt: new Date(), body: { a: 1 } })
  await source.context.db.insert(keyUsage).values(rows.usage(made.id))
  await source.context.db.insert(passwordResets).values(rows.passwordReset(person.id))
  await source.context.db.insert(oneTimeTokens).values(rows.oneTimeToken(person.id))
  await source.context.db.insert(mails).values(rows.mail())
  await source.context.db.insert(mailboxCounts).values(rows.mailboxCount())
  await source.context.db.insert(usageByOwner).values(rows.ownerUsage(person.id))
  await source.context.db.insert(ownerCredits).values(rows.ownerCredits(person.id))
  await source.context.db.insert(heartbeats).values(rows.heartbeat())
  await source.context.db.insert(regionState).values({ only: true, brokenAt: new Date(), reason: 'chain' })
  await source.context.db.insert(regions).values(rows.region())
  await source.context.db.insert(usageReports).values(rows.usageReport())
  await source.context.db.insert(topUps).values(rows.topUp())
  await source.context.db.insert(keyRefusals).values(rows.refusal(made.id))
  await source.context.db.insert(portalSessions).values(rows.portalSession(account.body.id, made.id))
  const [secretRow] = await source.context.db.select().from(apiKeySecrets).limit(1)
  await source.context.db.insert(revokedTokens).values(rows.revokedToken(secretRow?.id ?? ''))
  await addFactors()
  const [browser] = await source.context.db
    .select()
    .from(sessions)
    .where(eq(sessions.userId, person.id))
    .limit(1)
  await insertAppRows(source.context.db, person.id, browser?.id ?? '')
  before = await readEveryTable(source.databaseUrl)
})
afterAll(async () => {
  here[Symbol.dispose]()
  await source.stop()
  for (const database of databases) await database.drop()
})

/** Somebody else with an authenticator app, and a row in each table of second factors, mails and one-time tokens. */
async function addFactors(): Promise<void> {
  enrolled = await newEnrolled(source)
  await beginLogIn(source, enrolled)
  await call(source, 'POST /auth/passkeys/login/options', { json: {} })
  const sql = connectTo(source)
  await sql`INSERT INTO latchkey.passkeys
    (id, user_id, name, credential_id, public_key, sign_count, transports, is_backed_up, created_at)
    VALUES (gen_random_uuid(), ${enrolled.id}, 'laptop', '\\x01', '\\x02', 4294967295, '{internal}', true, now())`
  await sql`INSERT INTO latchkey.code_failures (user_id, failures, last_failed_at) VALUES (${enrolled.id}, 1, now())`
  await sql`INSERT INTO latchkey.one_time_tokens (id, purpose, user_id, created_at, expires_at)
    VALUES (gen_random_uuid(), 'reset', ${person.id}, now(), now())`
  await sql`INSERT INTO latchkey.mails (id, kind, recipient, parameters, created_at, next_attempt_at)
    VALUES (gen_random_uuid(), 'password_changed', 'user@example.com', '{}', now(), now())`
  await sql`INSERT INTO latchkey.mailbox_counts (email_hmac, count, window_started_at) VALUES (sha256('1'), 1, now())`
  await sql.end()
}

const settingsOf = (url: string, key: string) => ({ DATABASE_URL: url, SECRET_KEY: key })
const sourceKey = () => source.config.secretKey?.reveal() ?? ''

function exportTo(path: string, passphrase = PASSPHRASE) {
  const words = ['export', '--to', path, '--passphrase-stdin', '--json']
  return runInProcess(words, { env: settingsOf(source.databaseUrl, sourceKey()), input: `${passphrase}\n` })
}

async function target(options = {}) {
  const database = await createDatabase(options)
  databases.push(database)
  const key = anotherKey()
  const importFrom = (path: string, passphrase = PASSPHRASE) =>
    runInProcess(['import', '--from', path, '--json'], {
      env: { ...settingsOf(database.url, key), LATCHKEY_PASSPHRASE: passphrase },
    })
  return { url: database.url, key, importFrom }
}

const nothing = () => Object.fromEntries(TABLE_NAMES.map((name) => [name, []]))

test('an export has every table, and cannot be read without the passphrase', async () => {
  // A new table of the schema needs rows above.
  for (const name of TABLE_NAMES) expect(`${name}: ${before[name]?.length !== 0}`).toBe(`${name}: true`)

  const { code, out, err } = await exportTo(file)
  expect({ code, err }).toEqual({ code: 0, err: '' })
  const counts = Object.fromEntries(TABLE_NAMES.map((name) => [name, before[name]?.length]))
  expect(JSON.parse(out)).toEqual({ path: file, rows: counts })
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(readdirSync(here.path)).toEqual(['all.age'])

  const text = readFileSync(file, 'latin1')
  expect(text).toStartWith('age-encryption.org/v1\n-> scrypt ')
  expect(text).not.toContain(person.email)
  const plain = await new Response(await decryptUnder(PASSPHRASE, Bun.file(file).stream())).text()
  expect(plain).toContain(person.email)
  // The cheapest key derivation, for the tests below.
  const cheap = await encryptUnder(PASSPHRASE, new Blob([plain]).stream(), 1)
  writeFileSync(file, await new Response(cheap).bytes())
})

test('an import under another SECRET_KEY restores every row, and passwords, keys and access tokens stay valid', async () => {
  const to = await target({ migrated: false })
  expect(await to.importFrom(file)).toMatchObject({ code: 0, err: '' })
  expect(await readEveryTable(to.url)).toEqual(before)

  const moved = await startService(
    {},
    { databaseUrl: to.url, config: { ...source.config, secretKey: secret(to.key) } },
  )
  try {
    expect((await call(moved, 'GET /protected/any', { bearer: person.access })).status).toBe(200)
    const { access } = await logIn(moved, person.email, person.password)
    const headers = { 'x-api-key': made.key }
    expect((await call(moved, 'GET /protected/any', { headers })).status).toBe(200)
    expect((await call(moved, 'GET /auth/me', { bearer: access })).body.id).toBe(person.id)
    const code = codeOf(moved, enrolled.secret)
    expect((await secondStep(moved, await beginLogIn(moved, enrolled), { code })).status).toBe(200)
    // Refresh tokens depend on SECRET_KEY, which differs here.
    expect((await refresh(moved, person.refresh)).status).toBe(401)
  } finally {
    await moved.stop()
  }
})

test('an import under the same SECRET_KEY keeps refresh tokens valid too', async () => {
  const to = await target()
  const env = { ...settingsOf(to.url, sourceKey()), LATCHKEY_PASSPHRASE: PASSPHRASE }
  expect(await runInProcess(['import', '--from', file], { env })).toMatchObject({ code: 0, err: '' })
  const moved = await startService({}, { databaseUrl: to.url, config: source.config })
  try {
    expect((await refresh(moved, person.refresh)).status).toBe(200)
  } finally {
    await moved.stop()
  }
})

test('an import is accepted by a database on which a server has started, and refused by one with users', async () => {
  const to = await target()
  const env = settingsOf(to.url, to.key)
  // The first command makes the signing key, like a first start.
  expect(await runInProcess(['users', 'list'], { env })).toMatchObject({ code: 0 })
  expect(await to.importFrom(file)).toMatchObject({ code: 0, err: '' })
  const imported = await readEveryTable(to.url)
  expect({ ...imported, audit_events: [] }).toEqual({ ...before, audit_events: [] })
  for (const event of before.audit_events ?? []) expect(imported.audit_events).toContain(event)

  const again = await to.importFrom(file)
  expect(again).toMatchObject({ code: 1, err: expect.stringContaining('the database is not empty') })
  expect(await readEveryTable(to.url)).toEqual(imported)
})

test.each<[name: string, damage: (path: string) => void]>([
  ['cut', (path) => truncateSync(path, statSync(path).size - 1)],
  ['cut in the middle', (path) => truncateSync(path, Math.floor(statSync(path).size / 2))],
  [
    'changed',
    (path) => {
      const bytes = readFileSync(path)
      const at = bytes.length - 40
      writeFileSync(path, bytes.fill((bytes[at] ?? 0) ^ 1, at, at + 1))
    },
  ],
  ['no export', (path) => writeFileSync(path, 'users\n')],
  ['empty', (path) => writeFileSync(path, '')],
])('nothing is imported from a file that is %s', async (name, damage) => {
  const to = await target()
  const path = join(here.path, `${name}.age`)
  writeFileSync(path, readFileSync(file))
  damage(path)
  const { code, err } = await to.importFrom(path)
  expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/damaged or cut|no export/) })
  expect(await readEveryTable(to.url)).toEqual(nothing())
})

test('nothing is imported with another passphrase or without one', async () => {
  const to = await target()
  expect(await to.importFrom(file, 'correct horse battery stable')).toMatchObject({
    code: 1,
    err: expect.stringContaining('the passphrase is wrong'),
  })
  const without = await runInProcess(['import', '--from', file], { env: settingsOf(to.url, to.key) })
  expect(without).toMatchObject({ code: 1, err: expect.stringContaining('there is no passphrase') })
  expect(await readEveryTable(to.url)).toEqual(nothing())
})

test('a failed export keeps the existing file', async () => {
  const path = join(here.path, 'kept.age')
  writeFileSync(path, 'kept')
  const env = settingsOf(source.databaseUrl, anotherKey())
  const words = ['export', '--to', path, '--passphrase-stdin']
  const failed = await runInProcess(words, { env, input: PASSPHRASE })
  expect(failed).toMatchObject({ code: 1, err: expect.stringContaining('SECRET_KEY does not open') })
  expect(readFileSync(path, 'utf8')).toBe('kept')
  expect(existsSync(`${path}.part`)).toBe(false)

  expect(await exportTo(join(here.path, 'nowhere/all.age'))).toMatchObject({ code: 1 })
  expect(await exportTo(path, 'short')).toMatchObject({
    code: 1,
    err: expect.stringContaining('at least 12 characters'),
  })
  expect(readFileSync(path, 'utf8')).toBe('kept')
})

test('a database of a newer Latchkey is refused for an export and for an import', async () => {
  const to = await target()
  const sql = postgres(to.url, { max: 1 })
  await sql`INSERT INTO latchkey.migrations (hash, created_at) VALUES ('newer', 9999999999999)`
  await sql.end()
  expect(await to.importFrom(file)).toMatchObject({
    code: 1,
    err: expect.stringContaining('a newer Latchkey'),
  })
  const env = { ...settingsOf(to.url, to.key), LATCHKEY_PASSPHRASE: PASSPHRASE }
  const path = join(here.path, 'newer.age')
  expect(await runInProcess(['export', '--to', path], { env })).toMatchObject({
    code: 1,
    err: expect.stringContaining('a newer Latchkey'),
  })
  expect(existsSync(path)).toBe(false)
})
