import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import postgres from 'postgres'
import {
  HOSTILE_GROUPS,
  HOSTILE_SETTINGS,
  setForDatabase,
  useMainFlows,
} from '../support/hostile-settings.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

setDefaultTimeout(240_000)

const databases: TestDatabase[] = []
afterAll(async () => {
  for (const database of databases) await database.drop()
})

async function hostileDatabase(
  settings: readonly (readonly [string, string])[],
  options: { migrated?: boolean } = {},
): Promise<string> {
  const database = await createDatabase(options)
  databases.push(database)
  await setForDatabase(database.url, settings)
  return database.url
}

describe('settings of the role and the database do not change the behaviour', () => {
  test.each(Object.entries(HOSTILE_GROUPS))('%s', async (_, settings) => {
    const url = await hostileDatabase(settings)
    await useMainFlows({ databaseUrl: url, directUrl: url })
  })

  test('all of them together, from the first migration on', async () => {
    const url = await hostileDatabase(HOSTILE_SETTINGS, { migrated: false })
    await useMainFlows({ databaseUrl: url, directUrl: url })
  })

  test('the control: another client of such a database gets the settings', async () => {
    const settings = [
      ['datestyle', "'SQL, DMY'"],
      ['default_transaction_read_only', 'on'],
    ] as const
    const sql = postgres(await hostileDatabase(settings), { max: 1 })
    const [row] = await sql`SELECT '2031-10-05 00:00+00'::timestamptz::text AS at`
    expect(row?.at).toStartWith('05/10/2031')
    expect(sql`CREATE TABLE public.t (n int)`).rejects.toMatchObject({ code: '25006' })
    await sql.end()
  })
})
