/** What one would write by hand: Hono on Bun, postgres.js, and one prepared look-up by SHA-256 a request: `hono.ts <url>`. */
import { Hono } from 'hono'
import postgres from 'postgres'
import { announce } from '../support/announcement.ts'

const [databaseUrl = ''] = process.argv.slice(2)
const sql = postgres(databaseUrl, { max: 10 })
const key = `sk_${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex')}`
const hashOf = (text: string) => Bun.SHA256.hash(text) as Uint8Array

await sql`
  CREATE TABLE keys (
    id uuid PRIMARY KEY, hash bytea NOT NULL UNIQUE, name text, owner uuid NOT NULL, scopes text[] NOT NULL,
    expires_at timestamptz, revoked_at timestamptz
  )`
await sql`
  INSERT INTO keys (id, hash, name, owner, scopes)
  VALUES (${crypto.randomUUID()}, ${hashOf(key)}, 'bench', ${crypto.randomUUID()}, ${['read']})`

const app = new Hono().post('/verify', async (c) => {
  const { key } = await c.req.json<{ key: string }>()
  const [row] = await sql`
    SELECT id, name, owner, scopes, expires_at FROM keys
    WHERE hash = ${hashOf(key)} AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())`
  return c.json(row ? { valid: true, ...row } : { valid: false })
})
const server = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: app.fetch })
announce(server.url, { path: '/verify', method: 'POST', json: { key } })
