import { describe, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import type { DatabaseConfig } from '../../../src/db/database.ts'
import { migrate } from '../../../src/db/migrate.ts'
import { openDatabase } from '../../../src/db/open.ts'
import { users } from '../../../src/db/schema.ts'
import { silentLog } from '../../../src/lib/log.ts'
import {
  createDatabase,
  databaseConfig,
  hasVersion,
  type PostgresVersion,
  sharedServer,
  type TestDatabase,
} from '../postgres.ts'
import { rows } from '../rows.ts'
import { selectRows } from '../select.ts'

async function migrateAlone(config: DatabaseConfig) {
  const database = await openDatabase(config, silentLog)
  try {
    return await migrate(config, database)
  } finally {
    await database.close()
  }
}

/** Runs SQL as the superuser in `database`. */
export async function asSuperuser(database: TestDatabase, ...statements: string[]) {
  const client = postgres(database.url, { max: 1, onnotice: () => {} })
  for (const statement of statements) await client.unsafe(statement)
  await client.end()
}

/** The roles and databases for which the migrations work. */
export function describeMigrations(version: PostgresVersion): void {
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
