import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sql } from 'drizzle-orm'
import { errorCode, isHeldElsewhere, isUnavailable } from '../../src/db/errors.ts'
import { migrate } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/db/open.ts'
import { users } from '../../src/db/schema.ts'
import { silentLog } from '../../src/lib/log.ts'
import { embeddedSnapshot, snapshotPath } from '../support/databases.ts'
import { databaseConfig } from '../support/postgres.ts'
import { rows } from '../support/rows.ts'
import { selectRows } from '../support/select.ts'
import { until } from '../support/until.ts'

setDefaultTimeout(240_000)

const made: string[] = []
afterAll(() => {
  for (const directory of made) rmSync(directory, { recursive: true, force: true })
})

function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-embedded-'))
  made.push(directory)
  return directory
}

async function open(directory: string) {
  const snapshot = await embeddedSnapshot()
  return openDatabase(databaseConfig(null, directory), silentLog, { creates: true, snapshot })
}

/** Another process on that directory. `lines` are its output so far. */
async function startChild(directory: string, from?: 'initdb') {
  await embeddedSnapshot()
  const script = fileURLToPath(import.meta.resolve('../support/embedded-child.ts'))
  const child = Bun.spawn([process.execPath, script, directory, from ?? snapshotPath], {
    stdout: 'pipe',
    stderr: 'ignore',
    env: {},
  })
  let said = ''
  const reading = (async () => {
    for await (const chunk of child.stdout) said += new TextDecoder().decode(chunk)
  })()
  // Text after the last newline may be an incomplete line.
  const lines = () => said.split('\n').slice(0, -1)
  const kill = async () => {
    child.kill('SIGKILL')
    await child.exited
    await reading
  }
  return { lines, kill, isReady: () => lines().includes('ready') }
}

test('a second process is refused while the first runs, and after kill -9 has every acknowledged row', async () => {
  const directory = newDirectory()
  const acknowledged: string[] = []
  for (let round = 1; round <= 2; round++) {
    const child = await startChild(directory)
    await until(() => child.lines().length > 50 * round, 'it has stored some rows', 30_000)
    const error: unknown = await open(directory).catch((e) => e)
    expect(isHeldElsewhere(error)).toBe(true)
    expect(String(error)).toContain(`the embedded database in ${directory} is in use by another`)
    await child.kill()
    acknowledged.push(...child.lines().slice(1))
  }
  const database = await open(directory)
  expect(isHeldElsewhere(await open(directory).catch((e) => e))).toBe(true)
  const found = await database.db.select({ id: users.id }).from(users)
  const ids = new Set(found.map(({ id }) => id))
  expect(acknowledged.length).toBeGreaterThanOrEqual(150)
  expect(acknowledged.filter((id) => !ids.has(id))).toEqual([])
  await database.close()
})

for (const from of ['snapshot', 'initdb'] as const) {
  test(`a first start from ${from} that is killed half-way is done again by the next start`, async () => {
    const directory = newDirectory()
    const data = join(directory, 'database/data')
    for (const part of from === 'initdb' ? ['PG_VERSION'] : ['', 'base/5']) {
      const child = await startChild(directory, from === 'initdb' ? 'initdb' : undefined)
      await until(() => existsSync(join(data, part)), `${part} is there`, 30_000)
      await child.kill()
      expect(child.isReady()).toBe(false)
    }
    expect(existsSync(join(directory, 'database/incomplete'))).toBe(true)
    const database = await open(directory)
    expect(existsSync(join(directory, 'database/incomplete'))).toBe(false)
    await migrate(databaseConfig(null, directory), database)
    await database.db.insert(users).values(rows.user())
    await database.close()
    const again = await open(directory)
    expect(await again.db.select().from(users)).toHaveLength(1)
    await again.close()
  })
}

test('a directory with data of another PostgreSQL version, or without a database, is not touched', async () => {
  const directory = newDirectory()
  const data = join(directory, 'database/data')
  mkdirSync(data, { recursive: true })
  await expect(open(directory)).rejects.toThrow(`${data} is not a database: PG_VERSION is missing`)
  writeFileSync(join(data, 'PG_VERSION'), '17\n')
  await expect(open(directory)).rejects.toThrow(`${data} is of PostgreSQL 17; the one in this Latchkey is 18`)
  expect(existsSync(join(data, 'PG_VERSION'))).toBe(true)
})

test('other users cannot read the directory, and a query that would deadlock with its transaction fails', async () => {
  const directory = newDirectory()
  mkdirSync(join(directory, 'database'))
  chmodSync(join(directory, 'database'), 0o777)
  const database = await open(directory)
  expect(statSync(join(directory, 'database')).mode & 0o777).toBe(0o700)

  const inside = database.db.transaction(() => database.db.execute(sql`SELECT 1`))
  const error: unknown = await inside.catch((e) => e)
  expect(errorCode(error)).toBe('POOL_TIMEOUT')
  expect(isUnavailable(error)).toBe(true)
  expect(await selectRows(database.db, sql`SELECT 1 AS one`)).toEqual([{ one: 1 }])
  await database.close()
  expect(isUnavailable(await database.db.execute(sql`SELECT 1`).catch((e: unknown) => e))).toBe(true)
})

test('when the disk fails the database ends like PostgreSQL, and is started again like PostgreSQL', async () => {
  const directory = newDirectory()
  const config = databaseConfig(null, directory)
  const database = await open(directory)
  await migrate(config, database)
  const heard: string[] = []
  await database.listen(['fault'], { message: (m) => heard.push(m), gap: () => heard.push('gap') })
  const kept = rows.user()
  await database.db.insert(users).values(kept)

  const log = join(directory, 'database/data/pg_wal')
  renameSync(log, `${log}.away`)
  // A new segment of the write-ahead log cannot be made.
  const breakIt = async () => {
    await database.db.execute(sql`SELECT pg_switch_wal()`)
    await database.db.insert(users).values(rows.user())
  }
  const failed: unknown = await breakIt().catch((e) => e)
  expect(isUnavailable(failed)).toBe(true)
  rmSync(log, { recursive: true, force: true })
  renameSync(`${log}.away`, log)

  const works = () =>
    database.db
      .select({ id: users.id })
      .from(users)
      .then(
        (found) => found.length === 1 && found[0]?.id === kept.id,
        () => false,
      )
  await until(works, 'it works again, with what was acknowledged')
  await database.notify('fault', 'after')
  await until(() => heard.includes('after'), 'messages arrive again')
  expect(heard).toEqual(['gap', 'after'])
  await database.close()
})
