import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import type { DatabaseConfig } from '../../src/db/database.ts'
import { migrate, readMigrationState } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/db/open.ts'
import { users } from '../../src/db/schema.ts'
import { silentLog } from '../../src/lib/log.ts'
import {
  createDatabase,
  databaseConfig,
  hasVersion,
  sharedServer,
  type TestDatabase,
} from '../support/postgres.ts'
import { rows } from '../support/rows.ts'
import { selectRows } from '../support/select.ts'
import { until } from '../support/until.ts'

setDefaultTimeout(30_000)

async function migrateAlone(config: DatabaseConfig) {
  const database = await openDatabase(config, silentLog)
  try {
    return await migrate(config, database)
  } finally {
    await database.close()
  }
}

/** Runs SQL as the superuser in `database`. */
async function asSuperuser(database: TestDatabase, ...statements: string[]) {
  const client = postgres(database.url, { max: 1, onnotice: () => {} })
  for (const statement of statements) await client.unsafe(statement)
  await client.end()
}

for (const version of [18, 14] as const) {
  describe.skipIf(!hasVersion(version))(`migrations on PostgreSQL ${version}`, () => {
    test('ten instances may start on an empty database at once', async () => {
      const target = await createDatabase({ version, migrated: false })
      const config = databaseConfig(target.url)
      const opened = await Promise.all(Array.from({ length: 10 }, () => openDatabase(config, silentLog)))
      const states = await Promise.all(opened.map((database) => migrate(config, database)))
      expect(states.every(({ pending }) => pending === 0)).toBe(true)
      const [first] = opened
      if (!first) throw new Error('none was opened')
      const journal = await selectRows(first.db, sql`SELECT * FROM latchkey.migrations`)
      expect(journal).toHaveLength(states[0]?.known ?? 0)
      await Promise.all(opened.map((database) => database.close()))
      await target.drop()
    })

    test("a plain role is enough, and the replaced service's own tables stay as they are", async () => {
      const target = await createDatabase({ version, migrated: false })
      const server = await sharedServer(version)
      const name = new URL(target.url).pathname.slice(1)
      await asSuperuser(
        target,
        `CREATE ROLE plain_${name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE`,
        `ALTER DATABASE ${name} OWNER TO plain_${name}`,
        'CREATE TABLE public.users (id serial PRIMARY KEY, email varchar UNIQUE, is_active boolean)',
        'CREATE TABLE public.api_keys (id serial PRIMARY KEY, user_id int REFERENCES public.users, key varchar)',
        `ALTER TABLE public.users OWNER TO plain_${name}`,
        "INSERT INTO public.users (email, is_active) VALUES ('user@example.com', true)",
        "INSERT INTO public.api_keys (user_id, key) VALUES (1, 'sk_old')",
      )
      const config = databaseConfig(server.url(name, `plain_${name}`))
      const { pending } = await migrateAlone(config)
      expect(pending).toBe(0)
      const database = await openDatabase(config, silentLog)
      await database.db.insert(users).values({ ...rows.user(), email: 'user@example.com' })
      expect(await database.db.select().from(users)).toHaveLength(1)
      await database.close()
      const client = postgres(target.url, { max: 1 })
      expect([...(await client`SELECT * FROM public.users`)]).toEqual([
        { id: 1, email: 'user@example.com', is_active: true },
      ])
      expect([...(await client`SELECT * FROM public.api_keys`)]).toEqual([
        { id: 1, user_id: 1, key: 'sk_old' },
      ])
      await client.end()
      await target.drop()
    })

    test('a role that may make no schema is content with one that was made for it', async () => {
      const target = await createDatabase({ version, migrated: false })
      const name = new URL(target.url).pathname.slice(1)
      const config = databaseConfig((await sharedServer(version)).url(name, `least_${name}`))
      await asSuperuser(target, `CREATE ROLE least_${name} LOGIN`)
      await expect(migrateAlone(config)).rejects.toMatchObject({ cause: { code: '42501' } })
      await asSuperuser(target, `CREATE SCHEMA latchkey AUTHORIZATION least_${name}`)
      expect((await migrateAlone(config)).pending).toBe(0)
      await target.drop()
    })
  })
}

test('an older binary runs on a newer schema, and can tell', async () => {
  const target = await createDatabase()
  await asSuperuser(
    target,
    "INSERT INTO latchkey.migrations (hash, created_at) VALUES ('later', 9999999999999)",
  )
  const config = databaseConfig(target.url)
  const database = await openDatabase(config, silentLog)
  expect(await readMigrationState(database)).toMatchObject({ pending: 0, unknown: 1 })
  expect(await migrate(config, database)).toMatchObject({ pending: 0, unknown: 1 })
  await database.close()
  await target.drop()
})

test('whoever finds the lock held waits, and says so when it takes too long', async () => {
  const target = await createDatabase({ migrated: false })
  const config = databaseConfig(target.url)
  const holder = postgres(target.url, { max: 1, onnotice: () => {} })
  const key = BigInt(`0x${Buffer.from('latchkey').toString('hex')}`).toString()
  await holder`SELECT pg_advisory_lock(${key}::bigint)`
  const database = await openDatabase(config, silentLog)
  await expect(migrate(config, database, { lockWaitSeconds: 0.2 })).rejects.toThrow(
    'another process has been migrating this database for 0.2 seconds; try again when it is done',
  )
  const waiting = migrate(config, database)
  // Its own connection waits for the lock, and takes it when the holder goes.
  const isWaiting = async () =>
    (await holder`SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`).length === 1
  await until(isWaiting, 'the second process waits for the lock', 10_000)
  await holder.end()
  expect(await waiting).toMatchObject({ pending: 0 })
  await database.close()
  await target.drop()
})

test('a migration that fails leaves nothing behind, and the next start can do it', async () => {
  const target = await createDatabase({ migrated: false })
  const config = databaseConfig(target.url)
  // The first migration makes its tables; the second then meets this function's name.
  await asSuperuser(
    target,
    'CREATE SCHEMA latchkey',
    'CREATE FUNCTION latchkey.evict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$',
  )
  const database = await openDatabase(config, silentLog)
  const { known } = await readMigrationState(database)
  await expect(migrate(config, database)).rejects.toMatchObject({ cause: { code: '42723' } })
  expect(await readMigrationState(database)).toMatchObject({ pending: known })
  expect(await selectRows(database.db, sql`SELECT relname FROM pg_class WHERE relname = 'users'`)).toEqual([])
  await asSuperuser(target, 'DROP FUNCTION latchkey.evict()')
  expect(await migrate(config, database)).toMatchObject({ pending: 0 })
  await database.close()
  await target.drop()
})
