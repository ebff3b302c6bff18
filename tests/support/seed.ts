import { createHash, randomBytes, randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { createDatabase, type TestDatabase } from './postgres.ts'

/** A database of the replaced service, as one of its versions left it. */
export type SeedDatabase = {
  url: string
  sql: postgres.Sql
  addUser(user: Partial<SeedUserRow> & { email: string }): Promise<string>
  addKey(userId: string, key?: Partial<SeedKeyRow>): Promise<{ id: string; key: string }>
  /** Adds many keys at once, each named `many of <user>`. */
  addKeys(userId: string, count: number): Promise<string[]>
  end(): Promise<void>
}
export type SeedUserRow = {
  password: string
  hashed_password: string
  role: string
  is_active: boolean | null
  created_at: string
}
export type SeedKeyRow = {
  key: string
  name: string | null
  scopes: string | null
  is_active: boolean | null
  created_at: string
  expires_at: string | null
}

/** The lowest cost, because the tests are not about the time of a hash. */
export const bcrypt = (password: string | Uint8Array) =>
  Bun.password.hash(password, { algorithm: 'bcrypt', cost: 4 })
export const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
/** `sk_` and 43 characters of base64url, as both versions made keys. */
export const seedKey = () => `sk_${randomBytes(32).toString('base64url')}`

const TABLES = {
  1: `
    CREATE TABLE users (id serial PRIMARY KEY, email varchar NOT NULL UNIQUE, hashed_password varchar NOT NULL,
      role varchar DEFAULT 'user', is_active boolean DEFAULT true, created_at timestamp DEFAULT now());
    CREATE TABLE api_keys (id serial PRIMARY KEY, key varchar NOT NULL UNIQUE, name varchar NOT NULL,
      user_id integer NOT NULL REFERENCES users (id), scopes varchar DEFAULT '', is_active boolean DEFAULT true,
      created_at timestamp DEFAULT now(), expires_at timestamp, revoked_at timestamp);
    CREATE TABLE refresh_tokens (id serial PRIMARY KEY, token varchar, user_id integer, revoked_at timestamp);`,
  2: `
    CREATE TABLE users (id uuid PRIMARY KEY, email varchar NOT NULL UNIQUE, hashed_password varchar NOT NULL,
      is_active boolean DEFAULT true, created_at timestamptz DEFAULT now());
    CREATE TABLE api_keys (id uuid PRIMARY KEY, key varchar NOT NULL UNIQUE, name varchar NOT NULL,
      user_id uuid NOT NULL REFERENCES users (id), is_active boolean DEFAULT true,
      created_at timestamptz DEFAULT now(), expires_at timestamptz, revoked_at timestamptz);`,
}

/** Creates the tables of a version, in a new database or in an existing one. */
export async function createSeed(version: 1 | 2, url?: string): Promise<SeedDatabase> {
  const own: TestDatabase | null = url === undefined ? await createDatabase({ migrated: false }) : null
  const place = url ?? own?.url ?? ''
  const sql = postgres(place, { max: 1, onnotice: () => {} })
  await sql.unsafe(TABLES[version])
  const ids = () => (version === 1 ? {} : { id: randomUUID() })
  return {
    url: place,
    sql,
    async addUser({ password = 'a seed password', role, ...user }) {
      const hashed_password = user.hashed_password ?? (await bcrypt(password))
      const row = { ...ids(), ...user, hashed_password, ...(version === 1 && role ? { role } : {}) }
      const [added] = await sql`INSERT INTO users ${sql(row)} RETURNING id::text`
      return added?.id
    },
    async addKey(userId, { key = seedKey(), scopes, ...more } = {}) {
      const row = {
        ...ids(),
        name: 'a key of old',
        ...more,
        user_id: version === 1 ? Number(userId) : userId,
        key: version === 1 ? key : sha256(key),
        ...(version === 1 ? { scopes: scopes === undefined ? 'read' : scopes } : {}),
      }
      const [added] = await sql`INSERT INTO api_keys ${sql(row)} RETURNING id::text`
      return { id: added?.id, key }
    },
    async addKeys(userId, count) {
      const keys = Array.from({ length: count }, seedKey)
      const rows = keys.map((key) => ({
        ...ids(),
        name: `many of ${userId}`,
        user_id: version === 1 ? Number(userId) : userId,
        key: version === 1 ? key : sha256(key),
        ...(version === 1 ? { scopes: 'read' } : {}),
      }))
      for (let at = 0; at < count; at += 1000) {
        await sql`INSERT INTO api_keys ${sql(rows.slice(at, at + 1000))}`
      }
      return keys
    },
    async end() {
      await sql.end()
      await own?.drop()
    },
  }
}
