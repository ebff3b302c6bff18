/**
 * A service as one would write it by hand: Hono on Bun, postgres.js, and one prepared query by SHA-256 for
 * each request: `hono.ts <url> <keys> <people>`.
 */
import { Hono } from 'hono'
import postgres from 'postgres'
import { announce } from '../support/announcement.ts'

const [databaseUrl = '', keyCount, peopleCount] = process.argv.slice(2)
const sql = postgres(databaseUrl, { max: 10 })
const owners = Array.from({ length: Number(peopleCount) }, () => crypto.randomUUID())
const keys = Array.from(
  { length: Number(keyCount) },
  () => `sk_${crypto.getRandomValues(new Uint8Array(32)).toHex()}`,
)
const hashOf = (text: string) => Bun.SHA256.hash(text) as Uint8Array

await sql`
  CREATE TABLE keys (
    id uuid PRIMARY KEY, hash bytea NOT NULL UNIQUE, name text, owner uuid NOT NULL, scopes text[] NOT NULL,
    expires_at timestamptz, revoked_at timestamptz
  )`
const rows = keys.map((key, number) => ({
  id: crypto.randomUUID(),
  hash: hashOf(key),
  name: 'bench',
  owner: owners[number % owners.length] ?? '',
  scopes: ['read'],
}))
// A statement has at most 65,534 parameters.
while (rows.length > 0) await sql`INSERT INTO keys ${sql(rows.splice(0, 10_000))}`
await sql`VACUUM ANALYZE keys`

const app = new Hono().post('/verify', async (c) => {
  const { key } = await c.req.json<{ key: string }>()
  const [row] = await sql`
    SELECT id, name, owner, scopes, expires_at FROM keys
    WHERE hash = ${hashOf(key)} AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())`
  return c.json(row ? { valid: true, ...row } : { valid: false })
})
const server = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: app.fetch })
announce(
  server.url,
  keys.map((key) => ({ path: '/verify', method: 'POST', json: { key }, expected: '"valid":true' })),
)
