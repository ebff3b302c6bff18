import { afterAll, beforeAll, expect, test } from 'bun:test'
import postgres from 'postgres'
import { createRegionHeartbeat } from '../../src/core/regions/heartbeat.ts'
import { publicationScript } from '../../src/core/regions/publication.ts'
import { statementsOf } from '../../src/core/regions/script.ts'
import type { OpenDatabase } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import { silentLog } from '../../src/lib/log.ts'
import { createDatabase, databaseConfig, type TestDatabase } from '../support/postgres.ts'
import { rows } from '../support/rows.ts'

let database: TestDatabase
let opened: OpenDatabase
let sql: postgres.Sql
/** Of this file alone: roles belong to a whole server. */
const ROLE = `region_${Bun.randomUUIDv7().replaceAll('-', '')}`

beforeAll(async () => {
  database = await createDatabase()
  opened = await openDatabase(databaseConfig(database.url), silentLog)
  sql = postgres(database.url, { max: 1, onnotice: () => {} })
})
afterAll(async () => {
  await sql`DROP OWNED BY ${sql(ROLE)}`
  await sql`DROP ROLE ${sql(ROLE)}`
  await sql.end()
  await opened.close()
  await database.drop()
})

const read = async () => {
  const [row] = await sql`SELECT n::int, token, previous, timeline, server_version FROM latchkey.heartbeats`
  return { ...row }
}
/** As a server that looks anew whether there are regions. */
const send = () => createRegionHeartbeat(opened.db)()

test('home writes no heartbeat without a publication, and with one each second a heartbeat that names the one before', async () => {
  const before = rows.heartbeat()
  await sql`INSERT INTO latchkey.heartbeats ("only", n, at, token, previous, timeline, server_version)
    VALUES (true, 7, now() - interval '1 day', ${before.token}, ${before.previous}, 1, 150000)`
  await send()
  expect(await read()).toMatchObject({ n: 7, token: before.token })

  for (const statement of statementsOf(publicationScript(ROLE))) await sql.unsafe(statement)
  expect(await read()).toMatchObject({ n: 7, token: before.token })
  await send()
  const first = await read()
  expect(first).toMatchObject({ n: 8, previous: before.token, timeline: 1 })
  expect(first.token).not.toBe(before.token)
  expect(first.server_version).toBeGreaterThanOrEqual(180_000)

  // A clock that was set back does not stop them.
  for (const at of ["now() - interval '1 s'", "now() + interval '1 hour'"]) {
    const { n, token } = await read()
    await sql.unsafe(`UPDATE latchkey.heartbeats SET at = ${at}`)
    await send()
    expect(await read()).toMatchObject({ n: n + 1, previous: token })
  }
})

test('of several servers one writes the heartbeat', async () => {
  const { n } = await read()
  await sql`UPDATE latchkey.heartbeats SET at = now() - interval '1 hour'`
  // Each sees a heartbeat that is long due, and a row that another one has locked.
  const holder = postgres(database.url, { max: 1, onnotice: () => {} })
  await holder.begin(async (tx) => {
    await tx`SELECT 1 FROM latchkey.heartbeats FOR NO KEY UPDATE`
    await Promise.all([send(), send(), send()])
  })
  await holder.end()
  expect(await read()).toMatchObject({ n })
  await send()
  expect(await read()).toMatchObject({ n: n + 1 })
})

test('the SQL of a publication runs again, and changes nothing then', async () => {
  const published = () => sql`SELECT * FROM pg_publication_tables ORDER BY tablename`
  const [before, heartbeat] = [await published(), await read()]
  for (const statement of statementsOf(publicationScript(ROLE))) await sql.unsafe(statement)
  expect([...(await published())]).toEqual([...before])
  expect(await read()).toEqual(heartbeat)
})
