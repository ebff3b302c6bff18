import type { Latchkey } from './latchkey.ts'
import { askEach, type LoadRequest } from './load.ts'
import { deriveKeys, makeApiKey, makeRefreshToken, secret } from './source.ts'

/** The number of people in a figure that is not about one credential. Each person has ten keys. */
export const PEOPLE = 1_000
export const KEYS = 10_000

const DAY_MS = 86_400_000
/** The number of keys in one statement. */
const BATCH = 100_000

// Rows are inserted by SQL. Over HTTP, 1,000 log-ins would hash 1,000 passwords, and 10,000 keys would need
// as many requests. Credentials come from Latchkey: its own functions make keys and refresh tokens, and the
// running service signs access tokens.

/** A person with an account. */
export type NewPerson = { id: string; email: string }

/** Inserts `PEOPLE` people, all with the password of the bench's own person. */
export async function insertPeople({ sql, person }: Latchkey): Promise<NewPerson[]> {
  return sql<NewPerson[]>`
    INSERT INTO latchkey.users (id, email, password_hash, password_changed_at, created_at)
    SELECT uuidv7(), 'person-number-' || number || '@example.com', password_hash, password_changed_at, now()
    FROM generate_series(1, ${PEOPLE}::int) AS number, latchkey.users WHERE id = ${person.id}
    RETURNING id, email`
}

/**
 * Inserts `count` keys with the scope "read", owned by `owners` in turn. A million keys take about a minute.
 */
export async function insertKeys(
  { sql }: Latchkey,
  owners: readonly Pick<NewPerson, 'id'>[],
  count = KEYS,
): Promise<string[]> {
  const keys = Array.from({ length: count }, () => makeApiKey('sk_'))
  const ids = owners.map(({ id }) => id)
  for (let start = 0; start < count; start += BATCH) {
    await sql`
      WITH k AS MATERIALIZED (
        SELECT key, uuidv7() AS id, (${ids}::uuid[])[1 + number % ${ids.length}] AS user_id
        FROM unnest(${keys.slice(start, start + BATCH)}::text[]) WITH ORDINALITY AS given (key, number)
      ), made AS (
        INSERT INTO latchkey.api_keys (id, user_id, name, scopes, created_at)
        SELECT id, user_id, 'bench', '{read}', now() FROM k
      )
      INSERT INTO latchkey.api_key_secrets (id, key_id, hash, start, created_at)
      SELECT uuidv7(), id, sha256(convert_to(key, 'UTF8')), left(key, 11), now() FROM k`
  }
  await sql`VACUUM ANALYZE`
  return keys
}

/** A session row with the values that a rotation needs. */
export type NewSession = { id: string; salt: Uint8Array }

/** Inserts one session for each person, at generation 0. */
export async function insertSessions({ sql }: Latchkey, people: readonly NewPerson[]): Promise<NewSession[]> {
  const expiresAt = new Date(Date.now() + DAY_MS)
  return sql<NewSession[]>`
    INSERT INTO latchkey.sessions (id, user_id, salt, created_at, rotated_at, idle_expires_at, expires_at)
    SELECT uuidv7(), user_id, substr(sha256(convert_to(user_id || clock_timestamp()::text, 'UTF8')), 1, 16),
      now(), now(), ${expiresAt}, ${expiresAt}
    FROM unnest(${people.map(({ id }) => id)}::uuid[]) AS user_id
    RETURNING id, salt`
}

/** The first refresh token of each session. */
export function refreshTokensOf({ secretKey }: Latchkey, sessions: readonly NewSession[]): string[] {
  const [key] = deriveKeys(secret(secretKey), null).refresh
  if (!key) throw new Error('No key to sign refresh tokens with')
  return sessions.map(({ id, salt }) => makeRefreshToken(key, { sessionId: id, generation: 0, salt }))
}

/** An access token of each person. Each comes from one refresh of that person's session. */
export async function accessTokensOf(latchkey: Latchkey, people: readonly NewPerson[]): Promise<string[]> {
  const tokens = refreshTokensOf(latchkey, await insertSessions(latchkey, people))
  const answers = await askEach(latchkey, tokens.map(refreshing))
  return answers.map((text) => JSON.parse(text).access_token)
}

/** The request that refreshes by this token. */
export const refreshing = (refresh_token: string): LoadRequest => ({
  path: '/auth/refresh',
  method: 'POST',
  json: { refresh_token },
})
