import type postgres from 'postgres'
import { identifierOf } from '../../src/core/resources/audience.ts'
import type { ResourceScope, TokenAudience } from '../../src/db/oauth.ts'
import { MINUTE_MS } from '../../src/lib/time.ts'
import { makeRefreshToken } from '../../src/lib/tokens.ts'
import type { TestService } from './service.ts'

/** A row of `resources`. */
export type TestResource = { id: string; identifier: string; slug: string }
/** A row of `oauth_clients`. */
export type TestApp = { id: string; clientId: string }
/** A grant of a person, with one session under it. */
export type AppSession = {
  grantId: string
  sessionId: string
  audience: string
  access: string
  refresh: string
}

let made = 0

/** Registers a resource, as an admin does. */
export async function addResource(
  sql: postgres.Sql,
  scopes: readonly (string | ResourceScope)[] = ['read', 'write'],
  named: Partial<TestResource> = {},
): Promise<TestResource> {
  const slug = named.slug ?? `api-${++made}`
  const resource = { id: Bun.randomUUIDv7(), slug, identifier: `https://${slug}.example.com/mcp`, ...named }
  const written = scopes.map((scope) =>
    typeof scope === 'string' ? { name: scope, description: scope, grantable_by: 'everyone' } : scope,
  )
  await sql`INSERT INTO latchkey.resources (id, identifier, slug, name, scopes, created_at)
    VALUES (${resource.id}, ${resource.identifier}, ${slug}, ${`The ${slug}`}, ${sql.json(written)}, now())`
  return resource
}

/** Registers an app, as an admin does. */
export async function addApp(
  sql: postgres.Sql,
  { scopes = null, firstParty = false }: { scopes?: string[] | null; firstParty?: boolean } = {},
): Promise<TestApp> {
  const id = Bun.randomUUIDv7()
  await sql`INSERT INTO latchkey.oauth_clients
      (id, client_id, source, kind, name, redirect_uris, grants, scopes, first_party, created_at)
    VALUES (${id}, ${id}, 'registered', 'public', 'An app', '{https://app.example.com/cb}',
      '{authorization_code,refresh_token}', ${scopes}, ${firstParty}, now())`
  return { id, clientId: id }
}

/** What a person allows an app. `resource`: for the audience `resource` alone. */
export type Allowed = {
  audience?: TokenAudience
  resource?: TestResource | null
  scopes?: string[] | null
  identityScopes?: string[]
  amr?: string[]
  role?: string | null
}

/** Leaves what a person's consent and the trade of the code leave: a grant, a session of the app, and its tokens. */
export async function allowApp(
  at: TestService,
  sql: postgres.Sql,
  app: TestApp,
  userId: string,
  { audience = 'resource', resource = null, scopes = ['read'], identityScopes = [], ...more }: Allowed,
): Promise<AppSession> {
  const [grantId, sessionId] = [Bun.randomUUIDv7(), Bun.randomUUIDv7()]
  const { amr = ['mfa', 'otp', 'pwd'], role = null } = more
  const salt = crypto.getRandomValues(new Uint8Array(16))
  const now = new Date(at.context.clock())
  const expiresAt = new Date(now.getTime() + 90 * 24 * 60 * MINUTE_MS)
  await sql`INSERT INTO latchkey.oauth_grants
      (id, user_id, client_id, audience, resource_id, scopes, first_allowed_at, last_allowed_at)
    VALUES (${grantId}, ${userId}, ${app.id}, ${audience}, ${resource?.id ?? null}, ${scopes ?? []}, ${now}, ${now})`
  await sql`INSERT INTO latchkey.sessions (id, user_id, kind, grant_id, salt, scopes, identity_scopes, amr, auth_time,
      created_at, rotated_at, idle_expires_at, expires_at)
    VALUES (${sessionId}, ${userId}, 'client', ${grantId}, ${salt}, ${scopes}, ${identityScopes}, ${amr}, ${now},
      ${now}, ${now}, ${expiresAt}, ${expiresAt})`
  const identifier = identifierOf(at.config, { audience, resource })
  const access = await at.context.signing.sign({
    subject: userId,
    audience: identifier,
    clientId: app.clientId,
    sessionId,
    role,
    scopes: audience === 'userinfo' ? identityScopes : (scopes ?? []),
    isNarrowed: audience === 'users' && scopes !== null,
    authentication: { authTime: now, amr },
    expiresAtMs: now.getTime() + 30 * MINUTE_MS,
  })
  const [key] = at.context.keys.refresh
  if (!key) throw new Error('No key of refresh tokens')
  const refresh = makeRefreshToken(key, { sessionId, generation: 0, salt })
  return { grantId, sessionId, audience: identifier, access, refresh }
}

/** A token for which a key was exchanged (RFC 8693). */
export async function exchangeKey(
  at: TestService,
  sql: postgres.Sql,
  keyId: string,
  resource: TestResource,
  scopes: string[] = ['read'],
): Promise<string> {
  const [row] = await sql`SELECT s.id, COALESCE(k.user_id, k.service_account_id) AS owner
    FROM latchkey.api_key_secrets s JOIN latchkey.api_keys k ON k.id = s.key_id
    WHERE k.id = ${keyId} AND s.ended_at IS NULL`
  return at.context.signing.sign({
    subject: row?.owner,
    audience: resource.identifier,
    clientId: row?.owner,
    sessionId: row?.id,
    role: null,
    scopes,
    isNarrowed: false,
    authentication: null,
    expiresAtMs: at.context.clock() + 30 * MINUTE_MS,
  })
}
