import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { eq, sql } from 'drizzle-orm'
import type { DatabaseConfig } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import { users } from '../../src/db/schema.ts'
import { silentLog } from '../../src/lib/log.ts'
import { secret } from '../../src/lib/secret.ts'
import { createDatabase, databaseConfig, type TestDatabase } from '../support/postgres.ts'
import { selectRows } from '../support/select.ts'

setDefaultTimeout(240_000)

let target: TestDatabase
beforeAll(async () => {
  target = await createDatabase()
})
afterAll(() => target?.drop())

async function withDatabase<T>(
  settings: Partial<DatabaseConfig>,
  work: (db: Awaited<ReturnType<typeof openDatabase>>['db']) => Promise<T>,
): Promise<T> {
  const database = await openDatabase({ ...databaseConfig(target.url), ...settings }, silentLog)
  try {
    return await work(database.db)
  } finally {
    await database.close()
  }
}

test('a connection has the name of the application and the limits of a statement', async () => {
  const found = await withDatabase({ databaseStatementTimeoutMs: 1234 }, (db) =>
    selectRows(
      db,
      sql`SELECT current_setting('application_name') AS name, current_setting('statement_timeout') AS timeout`,
    ),
  )
  expect(found).toEqual([{ name: 'latchkey', timeout: '1234ms' }])
})

test('`options` in the URL cannot override our settings', async () => {
  const url = `${target.url}?options=${encodeURIComponent('-c datestyle=German -c work_mem=5MB')}`
  const found = await withDatabase({ databaseUrl: secret(url) }, (db) =>
    selectRows(db, sql`SELECT current_setting('datestyle') AS style, current_setting('work_mem') AS memory`),
  )
  expect(found).toEqual([{ style: 'ISO, MDY', memory: '5MB' }])
})

test('the pool opens up to DATABASE_POOL_SIZE connections, and never more', async () => {
  const count = sql`SELECT count(*)::int FROM pg_stat_activity
    WHERE application_name = 'latchkey' AND datname = current_database()`
  const most = await withDatabase({ databasePoolSize: 3 }, async (db) => {
    const counts = await Promise.all(
      Array.from({ length: 30 }, async () => {
        const [row] = await selectRows<{ n: number }>(db, sql`SELECT (${count}) AS n FROM pg_sleep(0.02)`)
        return row?.n ?? 0
      }),
    )
    return Math.max(...counts)
  })
  expect(most).toBe(3)
})

for (const databasePrepare of [true, false]) {
  test(`DATABASE_PREPARE=${databasePrepare}: statements ${databasePrepare ? 'are' : 'are never'} kept on the server`, async () => {
    const kept = await withDatabase({ databasePrepare, databasePoolSize: 1 }, async (db) => {
      const byId = db
        .select()
        .from(users)
        .where(eq(users.id, sql.placeholder('id')))
        .prepare('by_id')
      for (let i = 0; i < 3; i++) expect(await byId.execute({ id: Bun.randomUUIDv7() })).toEqual([])
      return selectRows(
        db,
        sql`SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%"users"%'`,
      )
    })
    expect(kept).toHaveLength(databasePrepare ? 1 : 0)
  })
}

test('the names in a URL may have any character', async () => {
  const odd = 'odd name/%?#ü'
  await withDatabase({}, (db) => db.execute(sql.raw(`CREATE DATABASE "${odd}"`)))
  const url = target.url.replace(/\/[^/]*$/, `/${encodeURIComponent(odd)}`)
  const database = await openDatabase(databaseConfig(url), silentLog)
  expect(await selectRows(database.db, sql`SELECT current_database() AS name`)).toEqual([{ name: odd }])
  await database.close()
  await withDatabase({}, (db) => db.execute(sql.raw(`DROP DATABASE "${odd}"`)))
})
