import { writeFileSync } from 'node:fs'
import { deriveKeys } from '../../src/lib/derived-keys.ts'
import { secret } from '../../src/lib/secret.ts'
import { makeRefreshToken } from '../../src/lib/tokens.ts'
import type { Latchkey } from './latchkey.ts'

const DAY_MS = 86_400_000

/** The key of that number, as `insertKeys` makes them. */
export const keyNumber = (number: number): string => `bench-key-${number}`

/** Makes `count` keys of one user in the database itself: `keyNumber(1)` and on. A million take about a minute. */
export async function insertKeys({ sql, person }: Latchkey, count: number): Promise<void> {
  await sql`
    WITH n AS MATERIALIZED (
      SELECT number, uuidv7() AS key_id, uuidv7() AS secret_id FROM generate_series(1, ${count}::int) AS number
    ), k AS (
      INSERT INTO latchkey.api_keys (id, user_id, name, scopes, created_at)
      SELECT key_id, ${person.id}, 'bench', '{read}', now() FROM n
    )
    INSERT INTO latchkey.api_key_secrets (id, key_id, hash, start, created_at)
    SELECT secret_id, key_id, sha256(convert_to('bench-key-' || number, 'UTF8')), 'bench-key-', now() FROM n`
  await sql`VACUUM ANALYZE`
}

/** Makes `count` people who all have the password of the bench's own person. */
export async function insertPeople({ sql, person }: Latchkey, count: number): Promise<string[]> {
  const people = await sql<{ email: string }[]>`
    INSERT INTO latchkey.users (id, email, password_hash, password_changed_at, created_at)
    SELECT uuidv7(), 'person-number-' || number || '@example.com', password_hash, password_changed_at, now()
    FROM generate_series(1, ${count}::int) AS number, latchkey.users WHERE id = ${person.id}
    RETURNING email`
  return people.map(({ email }) => email)
}

/** A session as it stands in the database, in the words that a rotation needs. */
export type NewSession = { id: string; salt: Uint8Array }

/** Makes `count` sessions of the bench's person, at generation 0. */
export async function insertSessions({ sql, person }: Latchkey, count: number): Promise<NewSession[]> {
  const expiresAt = new Date(Date.now() + DAY_MS)
  return sql<NewSession[]>`
    INSERT INTO latchkey.sessions (id, user_id, salt, created_at, rotated_at, idle_expires_at, expires_at)
    SELECT uuidv7(), ${person.id}, substr(sha256(convert_to(number || clock_timestamp()::text, 'UTF8')), 1, 16),
      now(), now(), ${expiresAt}, ${expiresAt}
    FROM generate_series(1, ${count}::int) AS number
    RETURNING id, salt`
}

/** The first refresh token of each session. */
export function refreshTokensOf({ secretKey }: Latchkey, sessions: readonly NewSession[]): string[] {
  const [key] = deriveKeys(secret(secretKey), null).refresh
  if (!key) throw new Error('No key to sign refresh tokens with')
  return sessions.map(({ id, salt }) => makeRefreshToken(key, { sessionId: id, generation: 0, salt }))
}

/** Writes bodies down, one a line, as the generator reads them. */
export function writeBodies(path: string, bodies: readonly unknown[]): void {
  writeFileSync(path, `${bodies.map((body) => JSON.stringify(body)).join('\n')}\n`)
}
