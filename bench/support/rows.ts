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

/** An access token of an app for each person, for one API. Each comes from one refresh of the app's session. */
export async function appTokensOf(
  latchkey: Latchkey,
  people: readonly NewPerson[],
): Promise<{ api: { identifier: string; slug: string }; tokens: string[] }> {
  const { sql } = latchkey
  const expiresAt = new Date(Date.now() + DAY_MS)
  const api = { identifier: 'https://api.example.com/bench', slug: 'bench' }
  const scopes = sql.json([{ name: 'read', description: 'Read', grantable_by: 'everyone' }])
  const [made] = await sql<{ client: string; resource: string }[]>`
    WITH resource AS (
      INSERT INTO latchkey.resources (id, identifier, slug, name, scopes, created_at)
      VALUES (uuidv7(), ${api.identifier}, ${api.slug}, 'Bench', ${scopes}, now()) RETURNING id
    ), named AS (SELECT uuidv7() AS id), client AS (
      INSERT INTO latchkey.oauth_clients (id, client_id, source, kind, name, redirect_uris, grants, created_at)
      SELECT id, id::text, 'registered', 'public', 'bench', '{https://app.example.com/callback}',
        '{authorization_code,refresh_token}', now() FROM named RETURNING id
    )
    SELECT client.id AS client, resource.id AS resource FROM client, resource`
  if (!made) throw new Error('There is no app')
  const sessions = await sql<NewSession[]>`
    WITH allowed AS (
      INSERT INTO latchkey.oauth_grants
        (id, user_id, client_id, audience, resource_id, scopes, first_allowed_at, last_allowed_at)
      SELECT uuidv7(), user_id, ${made.client}, 'resource', ${made.resource}, '{read}', now(), now()
      FROM unnest(${people.map(({ id }) => id)}::uuid[]) AS user_id RETURNING id, user_id
    )
    INSERT INTO latchkey.sessions (id, user_id, kind, grant_id, salt, scopes, identity_scopes, amr, auth_time,
      created_at, rotated_at, idle_expires_at, expires_at)
    SELECT uuidv7(), user_id, 'client', id, substr(sha256(convert_to(id::text, 'UTF8')), 1, 16), '{read}', '{}',
      '{pwd}', now(), now(), now(), ${expiresAt}, ${expiresAt}
    FROM allowed RETURNING id, salt`
  const asked = refreshTokensOf(latchkey, sessions).map((refresh_token) => ({
    path: '/oauth/token',
    method: 'POST' as const,
    form: { grant_type: 'refresh_token', client_id: made.client, refresh_token },
  }))
  const answers = await askEach(latchkey, asked)
  return { api, tokens: answers.map((text) => JSON.parse(text).access_token) }
}

/** The request that refreshes by this token. */
export const refreshing = (refresh_token: string): LoadRequest => ({
  path: '/auth/refresh',
  method: 'POST',
  json: { refresh_token },
})

/** What the console is asked about: contents of a large installation after some years. */
export const INSTALLATION = {
  owners: 100_000,
  keys: 1_000_000,
  usedKeys: KEYS,
  events: 10_000_000,
  days: 90,
} as const
/** Owners that are service accounts, and the keys of the greatest of them, all of which are used. */
const ACCOUNTS = 5_000
const KEYS_OF_GREATEST = 3_000

/** Whom and what the installation has, by the ids that a measurement asks for. */
export type Installation = {
  /** Whole keys, which may be used. */
  usedKeys: string[]
  /** The service account with the most keys. */
  greatestAccount: string
}

/**
 * Fills a database with the contents of `INSTALLATION`, in some minutes. Indexes are made at the end, and no trigger runs
 * meanwhile: rows are inserted four times as fast.
 * @param say is told what comes next
 */
export async function insertInstallation(
  latchkey: Latchkey,
  say: (line: string) => void,
): Promise<Installation> {
  const { sql } = latchkey
  await sql.unsafe(`SET session_replication_role = replica; SET synchronous_commit = off;
    SET work_mem = '256MB'; SET maintenance_work_mem = '1GB'; SET search_path = latchkey`)
  say('owners')
  await insertOwners(latchkey)
  say('keys')
  const people = await sql<Pick<NewPerson, 'id'>[]>`SELECT id FROM owners WHERE NOT is_account LIMIT 1000`
  const usedKeys = await insertKeys(latchkey, people, INSTALLATION.usedKeys)
  const [greatest] = await sql<{ id: string }[]>`
    UPDATE api_keys SET user_id = NULL, service_account_id = (SELECT id FROM owners WHERE is_account LIMIT 1)
    WHERE id IN (SELECT id FROM api_keys WHERE name = 'bench' ORDER BY id LIMIT ${KEYS_OF_GREATEST})
    RETURNING service_account_id AS id`
  if (!greatest) throw new Error('No account has keys')
  await sql`CREATE TEMPORARY TABLE used AS SELECT id FROM api_keys WHERE name = 'bench'`
  await withoutIndexes(latchkey, ['api_keys', 'api_key_secrets', 'key_activity'], () =>
    insertUnusedKeys(latchkey),
  )
  say('usage')
  await withoutIndexes(latchkey, ['key_usage', 'usage_by_owner', 'key_refusals'], () => insertUsage(latchkey))
  say('audit events')
  await withoutIndexes(latchkey, ['audit_events'], () => insertEvents(latchkey))
  say('VACUUM ANALYZE')
  await sql.unsafe('RESET ALL')
  await sql`VACUUM ANALYZE`
  return { usedKeys, greatestAccount: greatest.id }
}

/** Fills tables whose indexes are made afterwards; primary keys too, unless another table names them. */
async function withoutIndexes({ sql }: Latchkey, tables: readonly string[], fill: () => Promise<void>) {
  const keys = await sql<{ drop: string; make: string }[]>`
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) AS drop,
      format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) AS make
    FROM pg_constraint AS own WHERE contype = 'p' AND conrelid = ANY (${tables}::text[]::regclass[])
      AND NOT EXISTS (SELECT FROM pg_constraint AS other WHERE other.confrelid = own.conrelid)`
  const indexes = await sql<{ drop: string; make: string }[]>`
    SELECT format('DROP INDEX %s', indexrelid::regclass) AS drop, pg_get_indexdef(indexrelid) AS make FROM pg_index
    WHERE indrelid = ANY (${tables}::text[]::regclass[])
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)`
  const all = [...keys, ...indexes]
  for (const { drop } of all) await sql.unsafe(drop)
  await fill()
  for (const { make } of all) await sql.unsafe(make)
}

const WORDS = `ARRAY['billing','search','mobile','data','platform','reports','webhooks','exports','payments','inventory']`
const USES = `ARRAY['nightly job','staging','production','CI','dashboard','import','laptop','partner']`
const NAMES = `ARRAY['ada','alan','anita','barbara','claude','donald','edsger','frances','grace','hedy',
  'ida','jean','john','karen','katherine','ken','leslie','margaret','radia','tim']`

/** Users with their sessions, and service accounts with a manager each. All of them are in `owners`, with a number. */
async function insertOwners({ sql }: Latchkey): Promise<void> {
  const users = INSTALLATION.owners - ACCOUNTS
  await sql.unsafe(`
    INSERT INTO users (id, email, email_verified, is_active, created_at)
    SELECT uuidv7(), (${NAMES})[1 + n % 20] || '.' || (${WORDS})[1 + n / 20 % 10] || n || '@example.com',
      true, n % 100 > 0, now() - interval '3 years' * random()
    FROM generate_series(1, ${users}) AS n;
    INSERT INTO service_accounts (id, name, scopes, external_id, is_active, created_at)
    SELECT uuidv7(), initcap((${WORDS})[1 + n % 10]) || ' service ' || n, '{read}', 'customer-' || n,
      n % 100 > 0, now() - interval '3 years' * random()
    FROM generate_series(1, ${ACCOUNTS}) AS n;
    CREATE TEMPORARY TABLE owners AS
    SELECT row_number() OVER () AS number, id, is_account FROM (
      SELECT id, false AS is_account FROM users WHERE role = 'user'
      UNION ALL SELECT id, true FROM service_accounts) AS owner;
    ANALYZE owners;
    INSERT INTO account_managers (id, service_account_id, user_id, created_at)
    SELECT uuidv7(), account.id, person.id, now()
    FROM owners AS account JOIN owners AS person ON person.number = account.number - ${users}
    WHERE account.is_account;
    INSERT INTO sessions (id, user_id, salt, created_at, rotated_at, idle_expires_at, expires_at)
    SELECT uuidv7(), id, substr(sha256(uuid_send(id)), 1, 16), now(), now(), now() + interval '7 days',
      now() + interval '30 days'
    FROM owners, generate_series(1, 2) WHERE NOT is_account`)
}

async function insertUnusedKeys({ sql }: Latchkey): Promise<void> {
  const count = INSTALLATION.keys - INSTALLATION.usedKeys
  await sql.unsafe(`
    INSERT INTO api_keys (id, user_id, service_account_id, name, scopes, is_active, created_at, expires_at,
      revoked_at, external_id)
    SELECT uuidv7(), CASE WHEN NOT is_account THEN id END, CASE WHEN is_account THEN id END,
      (${WORDS})[1 + n % 10] || ' ' || (${USES})[1 + n / 10 % 8] || ' ' || n, '{read}', random() > 0.01,
      now() - interval '3 years' * random(),
      CASE WHEN random() < 0.3 THEN now() + interval '1 day' * (395 * random() - 30) END,
      CASE WHEN random() < 0.1 THEN now() - interval '1 year' * random() END,
      CASE WHEN n % 4 = 0 THEN 'customer-' || n END
    FROM generate_series(1, ${count}) AS n JOIN owners ON number = 1 + n % ${INSTALLATION.owners};
    INSERT INTO api_key_secrets (id, key_id, hash, start, created_at)
    SELECT uuidv7(), id, sha256(uuid_send(id)), 'sk_' || left(md5(id::text), 8), created_at
    FROM api_keys WHERE name <> 'bench';
    INSERT INTO key_activity (key_id, last_used_at, last_used_day)
    SELECT id, at, (at AT TIME ZONE 'UTC')::date
    FROM (SELECT id, now() - interval '180 days' * random() AS at FROM api_keys WHERE random() < 0.5) AS last`)
}

/** Uses of the used keys in each hour, in the order in which they happen, some of them refused, and their sums as the job for them makes them. */
async function insertUsage({ sql }: Latchkey): Promise<void> {
  const hours = `generate_series(date_trunc('hour', now()) - interval '${INSTALLATION.days} days',
    date_trunc('hour', now()), interval '1 hour')`
  await sql.unsafe(`
    INSERT INTO key_usage (key_id, hour, outcome, count)
    SELECT id, hour, 'VALID', 1 + floor(50 * random()) FROM ${hours} AS hour, used ORDER BY hour, id;
    INSERT INTO key_usage (key_id, hour, outcome, count)
    SELECT key_id, hour, 'RATE_LIMITED', 1 + count / 10 FROM key_usage WHERE random() < 0.05;
    INSERT INTO key_refusals (key_id, at, outcome, ip, count)
    SELECT id, now() - interval '7 days' * random(), 'RATE_LIMITED', '192.0.2.' || n, 1
    FROM used, generate_series(1, 50) AS n;
    INSERT INTO usage_by_owner (owner_id, hour, outcome, count)
    SELECT COALESCE(owner_id, '00000000-0000-0000-0000-000000000000'), hour, outcome, sum(count)
    FROM (SELECT COALESCE(user_id, service_account_id) AS owner_id, hour, outcome, count
      FROM key_usage JOIN api_keys ON api_keys.id = key_id WHERE hour < date_trunc('hour', now())) AS used
    GROUP BY GROUPING SETS ((owner_id, hour, outcome), (hour, outcome))`)
}

/** Log-ins, failed ones, and changes of keys, a fiftieth of which one admin made. */
async function insertEvents({ sql }: Latchkey): Promise<void> {
  await sql.unsafe(`
    CREATE TEMPORARY TABLE some_keys AS SELECT row_number() OVER () AS number, id FROM api_keys;
    ANALYZE some_keys;
    INSERT INTO audit_events (id, at, action, outcome, actor_type, actor_id, target_type, target_id, ip, request_id, details)
    SELECT uuidv7(), now() - interval '${INSTALLATION.days} days' * ((${INSTALLATION.events} - n)::float8 / ${INSTALLATION.events}),
      (ARRAY['user.login','user.login','user.login_failed','key.created','key.updated','key.rotated','key.revoked'])[1 + n % 7],
      CASE WHEN n % 7 = 2 THEN 'refused' ELSE 'success' END,
      CASE WHEN n % 7 = 2 THEN 'anonymous' ELSE 'user' END,
      CASE WHEN n % 7 = 2 THEN NULL WHEN n % 50 = 3 THEN admin.id ELSE owners.id END,
      CASE WHEN n % 7 > 2 THEN 'api_key' ELSE 'user' END,
      CASE WHEN n % 7 > 2 THEN some_keys.id ELSE owners.id END,
      '192.0.2.' || n % 250, substr(md5(n::text), 1, 12) || '-' || lpad(to_hex(n), 6, '0'), '{}'
    FROM generate_series(1, ${INSTALLATION.events}) AS n
      JOIN owners ON owners.number = 1 + (n::bigint * 7919) % ${INSTALLATION.owners - ACCOUNTS}
      JOIN some_keys ON some_keys.number = 1 + (n::bigint * 7919) % ${INSTALLATION.keys}
      CROSS JOIN (SELECT id FROM users WHERE role = 'admin' LIMIT 1) AS admin`)
}
