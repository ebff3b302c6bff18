import { expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { applyReplacement, stageReplacement } from '../../src/db/embedded/replacement.ts'
import { emptyDirectory, type RunningProgram } from '../support/binary.ts'
import { call, logIn, newKey, newPerson } from '../support/client.ts'
import { latchkey, serve } from '../support/compiled.ts'
import { embeddedHome } from '../support/embedded-home.ts'
import { createDatabase } from '../support/postgres.ts'
import { refresh } from '../support/refresh.ts'

const SLOW_MS = 240_000
const PASSPHRASE = { LATCHKEY_PASSPHRASE: 'correct horse battery staple' }
const done = { code: 0, err: '' }

const keyStatus = async (server: RunningProgram, apiKey: string) =>
  (await call(server, 'GET /protected/any', { apiKey })).status

/** Expects that no temporary file of a command or the server is left. */
const leftovers = (path: string) =>
  readdirSync(join(path, 'data')).filter((name) => /^transfer|^replacement/.test(name))

test(
  'a backup of a running server is restored under the running server, with the rows of the time of the backup',
  async () => {
    using here = await embeddedHome()
    await using server = await serve(here.path)
    const person = await newPerson(server)
    const kept = await newKey(server, person.access)
    const file = join(here.path, 'one.backup')
    expect(await latchkey(here.path, ['backup', '--to', 'one.backup'])).toMatchObject(done)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(await keyStatus(server, kept.key)).toBe(200)

    const later = await newKey(server, person.access)
    await call(server, `DELETE /keys/${kept.id}`, { bearer: person.access })
    expect([await keyStatus(server, kept.key), await keyStatus(server, later.key)]).toEqual([401, 200])

    expect(await latchkey(here.path, ['restore', '--from', 'one.backup'])).toMatchObject(done)
    // The same process serves the restored database at the same port.
    expect((await latchkey(here.path, ['users', 'list'])).out).toContain(person.email)
    expect([await keyStatus(server, kept.key), await keyStatus(server, later.key)]).toEqual([200, 401])
    expect((await call(server, 'GET /auth/me', { bearer: person.access })).status).toBe(200)
    expect((await refresh(server, person.refresh)).status).toBe(200)
    expect(leftovers(here.path)).toEqual([])
    expect(await server.end('SIGTERM')).toBe(0)

    // The replaced database is kept, and can be restored by hand.
    expect(existsSync(join(here.path, 'data/replaced/database/data/PG_VERSION'))).toBe(true)
  },
  SLOW_MS,
)

test(
  'a backup is restored into an empty directory with its SECRET_KEY, without a running server',
  async () => {
    using here = await embeddedHome()
    const file = join(here.path, 'one.backup')
    let person: Awaited<ReturnType<typeof newPerson>>
    {
      await using server = await serve(here.path)
      person = await newPerson(server)
      await server.end('SIGTERM')
    }
    expect(await latchkey(here.path, ['backup', '--to', file])).toMatchObject(done)

    using there = emptyDirectory()
    expect(await latchkey(there.path, ['restore', '--from', file])).toMatchObject(done)
    const keyOf = (path: string) => readFileSync(join(path, 'data/secret_key'), 'utf8')
    expect(keyOf(there.path)).toBe(keyOf(here.path))
    expect(statSync(join(there.path, 'data/secret_key')).mode & 0o777).toBe(0o600)
    await using moved = await serve(there.path)
    expect((await refresh(moved, person.refresh)).status).toBe(200)
    await logIn(moved, person.email, person.password)
  },
  SLOW_MS,
)

test(
  'a damaged backup changes nothing, whether a server runs or not',
  async () => {
    using here = await embeddedHome()
    await using server = await serve(here.path)
    const person = await newPerson(server)
    expect(await latchkey(here.path, ['backup', '--to', 'good'])).toMatchObject(done)
    const good = readFileSync(join(here.path, 'good'))
    const damaged: Record<string, Uint8Array> = {
      cut: good.subarray(0, good.length / 2),
      text: Buffer.from('no backup'),
      empty: Buffer.from(''),
      // Damages the middle of the database.
      changed: Buffer.from(good).fill(0, good.length / 2, good.length / 2 + 1000),
      'without a database': await new Bun.Archive({ 'latchkey-backup.json': '{}' }).bytes(),
    }
    for (const [name, bytes] of Object.entries(damaged)) {
      writeFileSync(join(here.path, name), bytes)
      const refused = await latchkey(here.path, ['restore', '--from', name])
      expect({ name, ...refused }).toMatchObject({
        code: 1,
        err: 'latchkey: the file is damaged, or no backup of Latchkey; nothing is changed\n',
      })
      await logIn(server, person.email, person.password)

      using nowhere = emptyDirectory()
      const alone = await latchkey(nowhere.path, ['restore', '--from', join(here.path, name)])
      expect({ name, code: alone.code }).toEqual({ name, code: 1 })
      expect(await latchkey(nowhere.path, ['users', 'list'])).toMatchObject({
        code: 1,
        err: expect.stringContaining('there is no database'),
      })
    }
    expect(leftovers(here.path)).toEqual([])
  },
  SLOW_MS,
)

test('a restore that is interrupted at any step is finished or undone by the next process', async () => {
  using here = emptyDirectory()
  const at = (path: string) => join(here.path, path)
  const put = (folder: string, text: string) => {
    mkdirSync(join(folder, 'database/data'), { recursive: true })
    writeFileSync(join(folder, 'secret_key'), text)
    writeFileSync(join(folder, 'database/data/rows'), text)
  }
  const now = () => ['secret_key', 'database/data/rows'].map((name) => readFileSync(at(name), 'utf8'))
  put(here.path, 'old')
  await expect(
    stageReplacement(here.path, async (staged) => {
      put(staged, 'half')
      throw new Error('cut')
    }),
  ).rejects.toThrow('cut')
  expect(now()).toEqual(['old', 'old'])
  expect(readdirSync(here.path).toSorted()).toEqual(['database', 'secret_key'])

  const steps: [string, string][] = [
    ['secret_key', 'replaced/secret_key'],
    ['replacement/secret_key', 'secret_key'],
    ['database/data', 'replaced/database/data'],
    ['replacement/database/data', 'database/data'],
  ]
  for (let cutAfter = 0; cutAfter <= steps.length; cutAfter++) {
    using place = emptyDirectory()
    const inside = (path: string) => join(place.path, path)
    put(place.path, 'old')
    await stageReplacement(place.path, async (staged) => put(staged, 'new'))
    mkdirSync(inside('replaced/database'), { recursive: true })
    for (const [from, to] of steps.slice(0, cutAfter)) renameSync(inside(from), inside(to))
    applyReplacement(place.path)
    for (const name of ['secret_key', 'database/data/rows']) {
      expect(readFileSync(inside(name), 'utf8')).toBe('new')
      expect(readFileSync(inside(`replaced/${name}`), 'utf8')).toBe('old')
    }
    expect(existsSync(inside('replacement'))).toBe(false)
  }
})

test(
  'the database of a running embedded server is moved to PostgreSQL and to another embedded database',
  async () => {
    using here = await embeddedHome()
    await using server = await serve(here.path)
    const person = await newPerson(server)
    const { key } = await newKey(server, person.access)
    const exported = await latchkey(here.path, ['export', '--to', 'all.age', '--json'], PASSPHRASE)
    expect(exported).toMatchObject(done)
    expect(leftovers(here.path)).toEqual([])
    const file = join(here.path, 'all.age')

    const good = async (moved: RunningProgram) => {
      await logIn(moved, person.email, person.password)
      expect(await keyStatus(moved, key)).toBe(200)
      expect((await call(moved, 'GET /auth/me', { bearer: person.access })).status).toBe(200)
    }

    const database = await createDatabase({ migrated: false })
    try {
      const env = { DATABASE_URL: database.url, SECRET_KEY: randomBytes(48).toString('base64') }
      const imported = await latchkey(here.path, ['import', '--from', file, '--json'], {
        ...env,
        ...PASSPHRASE,
      })
      expect(imported).toMatchObject(done)
      expect(JSON.parse(imported.out).rows).toEqual(JSON.parse(exported.out).rows)
      using elsewhere = emptyDirectory()
      await using moved = await serve(elsewhere.path, env)
      await good(moved)
    } finally {
      await database.drop()
    }

    using there = emptyDirectory()
    truncateSync(file, statSync(file).size - 1)
    expect(await latchkey(there.path, ['import', '--from', file], PASSPHRASE)).toMatchObject({ code: 1 })
    expect(await latchkey(there.path, ['users', 'list'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('there is no database'),
    })
    expect(await latchkey(here.path, ['export', '--to', 'all.age'], PASSPHRASE)).toMatchObject(done)
    expect(await latchkey(there.path, ['import', '--from', file], PASSPHRASE)).toMatchObject(done)
    await using second = await serve(there.path)
    await good(second)
    // A second import is refused, and so is one under a running server.
    expect(await latchkey(there.path, ['import', '--from', file], PASSPHRASE)).toMatchObject({ code: 1 })
  },
  SLOW_MS,
)

test('with DATABASE_URL, backup and restore name the tools of PostgreSQL', async () => {
  using here = emptyDirectory()
  const database = await createDatabase()
  try {
    const env = { DATABASE_URL: database.url, SECRET_KEY: randomBytes(48).toString('base64') }
    writeFileSync(join(here.path, 'file'), '')
    for (const words of [
      ['backup', '--to', 'file'],
      ['restore', '--from', 'file'],
    ])
      expect(await latchkey(here.path, words, env)).toMatchObject({
        code: 1,
        err: expect.stringContaining('pg_dump'),
      })
  } finally {
    await database.drop()
  }
})
