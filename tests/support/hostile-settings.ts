import { expect } from 'bun:test'
import postgres from 'postgres'
import { ensureFirstAdmin } from '../../src/core/users/accounts.ts'
import { secret } from '../../src/lib/secret.ts'
import { call, logIn, newKey, newPerson } from './client.ts'
import { testConfig } from './config.ts'
import { PASSWORD } from './people.ts'
import { startService, type TestService } from './service.ts'

type Settings = readonly (readonly [name: string, value: string])[]

/**
 * Settings of a role or a database that change the meaning of text, the effect of a statement, or how long a
 * statement may take. Those of one group stand in one database: none of them hides the effect of another.
 */
export const HOSTILE_GROUPS: Readonly<Record<string, Settings>> = {
  'how values are written': [
    ['datestyle', "'SQL, DMY'"],
    ['intervalstyle', "'sql_standard'"],
    ['timezone', "'Pacific/Kiritimati'"],
    ['bytea_output', "'escape'"],
    ['quote_all_identifiers', 'on'],
    ['extra_float_digits', '-15'],
    ['xmlbinary', "'hex'"],
  ],
  'how text is read': [
    ['datestyle', "'German'"],
    ['standard_conforming_strings', 'off'],
    ['client_encoding', "'LATIN1'"],
    ['transform_null_equals', 'on'],
    ['array_nulls', 'off'],
    ['backslash_quote', 'off'],
  ],
  'what names and snapshots mean': [
    ['datestyle', "'Postgres, DMY'"],
    ['search_path', 'hostile, pg_catalog'],
    ['default_transaction_isolation', "'repeatable read'"],
    ['row_security', 'off'],
  ],
  'what a transaction may do': [
    ['default_transaction_isolation', "'serializable'"],
    ['default_transaction_read_only', 'on'],
    ['default_transaction_deferrable', 'on'],
  ],
  'how long anything may take': [
    ['lock_timeout', "'1ms'"],
    ['statement_timeout', "'1ms'"],
    ['idle_in_transaction_session_timeout', "'1ms'"],
    ['idle_session_timeout', "'20ms'"],
    ['transaction_timeout', "'1ms'"],
  ],
}

/** The settings of every group. Of a name that is there twice the last value holds. */
export const HOSTILE_SETTINGS: Settings = Object.values(HOSTILE_GROUPS).flat()

/**
 * Applies them to the database at `url`, as an operator would by hand. `url` must not lead through a pooler.
 */
export async function setForDatabase(
  url: string,
  settings: readonly (readonly [string, string])[],
): Promise<void> {
  const name = new URL(url).pathname.slice(1)
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  // The schema that `SET search_path = hostile, pg_catalog` searches first.
  await sql.unsafe(`CREATE SCHEMA hostile;
    CREATE FUNCTION hostile.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$;
    CREATE FUNCTION hostile.pg_notify(text, text) RETURNS void LANGUAGE sql AS ''`)
  const known = new Set((await sql`SELECT lower(name) AS name FROM pg_settings`).map(({ name }) => name))
  for (const [setting, value] of settings) {
    // An older server has fewer.
    if (known.has(setting)) await sql.unsafe(`ALTER DATABASE "${name}" SET ${setting} = ${value}`)
  }
  await sql.end()
}

const ADMIN = { adminEmail: 'admin@example.com', adminPassword: secret(PASSWORD) }

/**
 * Uses the main features of Latchkey, then restarts it and uses them again.
 * @param on the database, with the URLs that lead to it
 */
export async function useMainFlows(on: { databaseUrl: string; directUrl: string }): Promise<void> {
  const start = (secretKey?: TestService['config']['secretKey']) =>
    startService(
      { ...ADMIN, databaseDirectUrl: secret(on.directUrl), databasePrepare: false },
      { databaseUrl: on.databaseUrl, config: testConfig(secretKey ? { secretKey } : {}) },
    )
  const first = await start()
  const ended = { isEnded: false }
  try {
    await ensureFirstAdmin(first.context)
    const admin = await logIn(first, ADMIN.adminEmail, PASSWORD)
    const asker = await newKey(first, admin.access, { scopes: 'latchkey:verify' })
    const verify = async (at: TestService, key: string) => {
      const { status, body } = await call(at, 'POST /keys/verify', { apiKey: asker.key, json: { key } })
      return status === 200 ? body.code : status
    }

    const person = await newPerson(first)
    const renewed = await call(first, 'POST /auth/refresh', { json: { refresh_token: person.refresh } })
    expect(renewed.status).toBe(200)
    const bearer: string = renewed.body.access_token

    // A date whose day and month can be exchanged.
    const expiresAt = `${new Date().getUTCFullYear() + 1}-10-05T12:34:56.789Z`
    const labels = { metadata: { 'a "quoted" \\ name': "it's ü" } }
    const json = { scopes: 'read', expires_at: expiresAt }
    const ending = await newKey(first, bearer, { ...json, name: 'ends "soon" \\ ü' })
    await call(first, `PATCH /keys/${ending.id}`, { bearer: admin.access, json: labels })
    const counted = await newKey(first, bearer, { scopes: 'read', credits: { remaining: 30 } })
    const revoked = await newKey(first, bearer, { scopes: 'read' })
    const expectListed = async (at: TestService) => {
      const { body } = await call(at, 'GET /keys/list', { bearer })
      const found = body.find(({ id }: { id: string }) => id === ending.id)
      expect(found).toMatchObject({ ...json, ...labels, scopes: ['read'], name: 'ends "soon" \\ ü' })
    }
    await expectListed(first)
    expect(await verify(first, ending.key)).toBe('VALID')
    // Sent at once, because each of them changes the same row.
    const uses = await Promise.all(Array.from({ length: 31 }, () => verify(first, counted.key)))
    expect(uses.sort()).toEqual([...Array(1).fill('CREDITS_EXHAUSTED'), ...Array(30).fill('VALID')])
    expect((await call(first, `DELETE /keys/revoke/${revoked.id}`, { bearer })).status).toBe(200)
    expect(await verify(first, revoked.key)).toBe('REVOKED')

    const trail = await call(first, 'GET /audit?limit=100', { bearer: admin.access })
    expect(trail.status).toBe(200)
    const [latest] = trail.body.items
    expect(latest.action).toBe('key.revoked')
    expect(Math.abs(Date.parse(latest.at) - Date.now())).toBeLessThan(60_000)

    await first.stop()
    ended.isEnded = true
    const second = await start(first.config.secretKey)
    try {
      expect((await call(second, 'GET /auth/me', { bearer })).body.email).toBe(person.email)
      await expectListed(second)
      expect(await verify(second, ending.key)).toBe('VALID')
      expect(await verify(second, revoked.key)).toBe('REVOKED')
      second.advance(Date.parse(expiresAt) - Date.now() + 1)
      expect(await verify(second, ending.key)).toBe('EXPIRED')
    } finally {
      await second.stop()
    }
  } finally {
    if (!ended.isEnded) await first.stop()
  }
}
