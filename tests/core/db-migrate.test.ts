import { expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { migrate, readMigrationState } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/db/open.ts'
import { silentLog } from '../../src/lib/log.ts'
import { createDatabase, databaseConfig } from '../support/postgres.ts'
import { selectRows } from '../support/select.ts'
import { asSuperuser, describeMigrations } from '../support/suites/migrations.ts'
import { until } from '../support/until.ts'

setDefaultTimeout(240_000)

describeMigrations(18)

test('an older binary runs on a newer schema, and reports that', async () => {
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

test('a migration waits while another process holds the lock, and fails with a message after the limit', async () => {
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
  // The migration waits on its own connection, and gets the lock when the holder releases it.
  const isWaiting = async () =>
    (
      await holder`SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()`
    ).length === 1
  await until(isWaiting, 'the second process waits for the lock')
  await holder.end()
  expect(await waiting).toMatchObject({ pending: 0 })
  await database.close()
  await target.drop()
})

test('a failed migration is rolled back whole, and the next start can apply it', async () => {
  const target = await createDatabase({ migrated: false })
  const config = databaseConfig(target.url)
  // The first migration makes its tables. The second one fails, because this function has the same name.
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
