/**
 * A service as one would write it by hand: Hono on Bun, postgres.js, and one prepared query by SHA-256 for
 * each request: `hono.ts <url> <keys> <people> [<announced keys>]`.
 */
import { Hono } from 'hono'
import postgres from 'postgres'
import { announce } from '../support/announcement.ts'

const [databaseUrl = '', keyCount, peopleCount, announcedCount = keyCount] = process.argv.slice(2)
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
const BATCH = 100_000
for (let start = 0; start < keys.length; start += BATCH)
  await sql`
    INSERT INTO keys (id, hash, name, owner, scopes)
    SELECT gen_random_uuid(), sha256(convert_to(key, 'UTF8')), 'bench', (${owners}::uuid[])[1 + number % ${owners.length}], '{read}'
    FROM unnest(${keys.slice(start, start + BATCH)}::text[]) WITH ORDINALITY AS given (key, number)`
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
  keys
    .slice(0, Number(announcedCount))
    .map((key) => ({ path: '/verify', method: 'POST', json: { key }, expected: '"valid":true' })),
)
