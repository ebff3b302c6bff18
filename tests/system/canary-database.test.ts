import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { generateDrizzleJson, generateMigration } from 'drizzle-kit/api'
import { DrizzleQueryError, eq, sql } from 'drizzle-orm'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle as drizzlePglite } from 'drizzle-orm/pglite'
import { drizzle } from 'drizzle-orm/postgres-js'
import type postgres from 'postgres'
import journal from '../../drizzle/meta/_journal.json'
import * as authorization from '../../src/db/authorization.ts'
import * as columns from '../../src/db/columns.ts'
import * as consoleTables from '../../src/db/console.ts'
import { EMBEDDED_MAJOR_VERSION } from '../../src/db/embedded/directory.ts'
import { type Engine, startEngine } from '../../src/db/embedded/engine.ts'
import { readMigrations } from '../../src/db/migrations.macro.ts'
import * as oauth from '../../src/db/oauth.ts'
import * as people from '../../src/db/people.ts'
import * as portalTables from '../../src/db/portal.ts'
import * as regions from '../../src/db/regions.ts'
import * as schema from '../../src/db/schema.ts'
import { embeddedSnapshot } from '../support/databases.ts'

// Behaviour of our libraries on which we rely without a promise. When a test fails after an upgrade, look at src/db.
setDefaultTimeout(240_000)

const drizzleFolder = join(import.meta.dir, '../../drizzle')

describe('drizzle-orm', () => {
  /** A client on which every member throws, except for the named ones. */
  const only = (members: Record<string, unknown>) =>
    new Proxy(members, {
      get(target, name) {
        if (name in target) return Reflect.get(target, name)
        // Every await reads `then`.
        if (name === 'then') return undefined
        throw new Error(`drizzle uses ${String(name)}`)
      },
    })

  test('uses options, unsafe and begin of a postgres.js client, and in a transaction unsafe and savepoint', async () => {
    const calls: unknown[][] = []
    const unsafe = (...args: unknown[]) => {
      calls.push(args)
      const rows = Promise.resolve([])
      return Object.assign(rows, { values: () => Promise.resolve([]) })
    }
    const transaction = only({
      unsafe,
      savepoint: (work: (sql: unknown) => unknown) => work(transaction),
    })
    const client = only({
      options: { parsers: {}, serializers: {} },
      unsafe,
      begin: (work: (sql: unknown) => unknown) => work(transaction),
    })
    const db = drizzle(client as unknown as postgres.Sql, { schema })
    await db.select().from(schema.users)
    await db.query.users.findMany()
    await db.execute(sql`SELECT 1`)
    await db
      .insert(schema.loginAttempts)
      .values({ emailHmac: new Uint8Array(32), attempts: 1, windowStartedAt: new Date() })
    await db.transaction((tx) => tx.transaction((nested) => nested.delete(schema.users)))
    const prepared = db
      .select()
      .from(schema.users)
      .where(eq(schema.users.id, sql.placeholder('id')))
      .prepare('p')
    await prepared.execute({ id: 'x' })
    expect(calls).toHaveLength(6)
    // Only a statement with a name is prepared on the server.
    expect(calls.map(([, , options]) => options)).toEqual([
      { prepare: false },
      { prepare: false },
      { prepare: false },
      { prepare: false },
      { prepare: false },
      { prepare: true },
    ])
  })

  test("puts its parsers of times into the client's options", () => {
    const options: { parsers: Record<string, unknown>; serializers: Record<string, unknown> } = {
      parsers: {},
      serializers: {},
    }
    drizzle({ options } as unknown as postgres.Sql)
    expect(Object.keys(options.parsers)).toContain('1184')
    expect(Object.keys(options.serializers)).toContain('3802')
  })

  test('uses query and transaction of PGlite', async () => {
    const empty = { rows: [] }
    const client = only({
      query: async () => empty,
      transaction: (work: (tx: unknown) => unknown) => work(only({ query: async () => empty })),
    })
    const db = drizzlePglite({ client: client as unknown as PGlite, schema })
    await db.select().from(schema.users)
    await db.execute(sql`SELECT 1`)
    const deleted: unknown = await db.transaction((tx) =>
      tx.transaction((nested) => nested.delete(schema.users)),
    )
    expect(deleted).toEqual(empty)
  })

  test('has the query and its parameters in the message of an error, and the database error as its cause', () => {
    const cause = Object.assign(new Error('no'), { code: '23505' })
    const error = new DrizzleQueryError('SELECT $1', ['secret'], cause)
    expect(error).toMatchObject({ query: 'SELECT $1', params: ['secret'], cause })
    expect(error.message).toContain('secret')
  })

  test('reads migrations in the order of the journal, and the folder has no other files', () => {
    const files = readMigrationFiles({ migrationsFolder: drizzleFolder })
    expect(files.map(({ folderMillis }) => folderMillis)).toEqual(journal.entries.map(({ when }) => when))
    expect(readMigrations().map(({ when }) => when)).toEqual(journal.entries.map(({ when }) => when))
    const times = journal.entries.map(({ when }) => when)
    expect(times).toEqual([...new Set(times)].sort((a, b) => a - b))
    const names = readdirSync(drizzleFolder).filter((name) => name.endsWith('.sql'))
    expect(names.sort()).toEqual(journal.entries.map(({ tag }) => `${tag}.sql`))
  })

  test('makes by its migrations the tables of the schema', async () => {
    const last = String(journal.entries.length - 1).padStart(4, '0')
    const made = await Bun.file(join(drizzleFolder, `meta/${last}_snapshot.json`)).json()
    const wanted = generateDrizzleJson(
      {
        ...columns,
        ...schema,
        ...people,
        ...consoleTables,
        ...portalTables,
        ...oauth,
        ...authorization,
        ...regions,
      },
      made.prevId,
      ['latchkey'],
    )
    expect(await generateMigration(made, wanted)).toEqual([])
  })
})

describe('PGlite', () => {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-canary-'))
  let engine: Engine | null = null
  const open = async () => {
    engine ??= await startEngine(join(directory, 'data'), await embeddedSnapshot())
    return engine.pg
  }
  afterAll(async () => {
    await engine?.pg.close()
    rmSync(directory, { recursive: true, force: true })
  })
  type StreamOps = { fsync?: (stream: unknown) => number }
  const streamOps = (pg: PGlite) =>
    (pg.Module as unknown as { NODEFS: { stream_ops: StreamOps } }).NODEFS.stream_ops

  test('turns fsync off by default, and has no fsync for its files', async () => {
    expect(PGlite.defaultStartParams).toContain('-F')
    const shipped = await PGlite.create({ noInitDb: true })
    expect(streamOps(shipped).fsync).toBeUndefined()
  })

  test('is the version of PostgreSQL that we check data directories for, and runs with our settings', async () => {
    const pg = await open()
    const show = async (name: string) =>
      (await pg.query<Record<string, string>>(`SHOW ${name}`)).rows[0]?.[name]
    expect(await show('server_version')).toStartWith(`${EMBEDDED_MAJOR_VERSION}.`)
    expect(await show('fsync')).toBe('on')
    expect(await show('synchronous_commit')).toBe('on')
    expect(await show('wal_sync_method')).toBe('fsync')
    expect(await show('shared_buffers')).toBe('16MB')
  })

  test('calls fsync for each commit, and not for a query', async () => {
    const pg = await open()
    const ops = streamOps(pg)
    const real = ops.fsync
    if (!real) throw new Error('no fsync')
    let calls = 0
    ops.fsync = (stream) => {
      calls++
      return real(stream)
    }
    await pg.exec('CREATE TABLE synced (n int)')
    const during = async (work: () => Promise<unknown>) => {
      calls = 0
      await work()
      return calls
    }
    expect(await during(() => pg.query('INSERT INTO synced VALUES (1)'))).toBe(1)
    expect(await during(() => pg.query('SELECT * FROM synced'))).toBe(0)
    const three = () =>
      pg.transaction(async (tx) => {
        for (const n of [1, 2, 3]) await tx.query('INSERT INTO synced VALUES ($1)', [n])
      })
    expect(await during(three)).toBe(1)
    ops.fsync = real
  })

  test('does not report a commit for a transaction with a caught error', async () => {
    const pg = await open()
    const swallowing = pg.transaction(async (tx) => {
      await tx.query('SELECT 1/0').catch(() => {})
    })
    await expect(swallowing).rejects.toThrow()
  })
})
