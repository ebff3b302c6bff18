import type postgres from 'postgres'
import { verifyCredential } from '../../src/core/verify/verify-credential.ts'
import { call } from './client.ts'
import type { Statement } from './lock-order.ts'
import type { TestService } from './service.ts'

/** An app that was registered: its row's id, which is its `client_id`, and its secret, if it has one. */
export type RegisteredApp = { id: string; secret: string | undefined }
export type RegisteredResource = { id: string; identifier: string; slug: string }

let made = 0

/** Registers an app by the API. */
export async function registerApp(
  service: TestService,
  admin: string,
  more: Record<string, unknown> = {},
): Promise<RegisteredApp> {
  const json = {
    name: `app ${++made}`,
    kind: 'public',
    redirect_uris: ['https://app.example.com/cb'],
    grants: ['authorization_code', 'refresh_token'],
    ...more,
  }
  const answer = await call(service, 'POST /oauth/clients', { bearer: admin, json })
  if (answer.status !== 201) throw new Error(`An app: ${answer.status} ${answer.text}`)
  return { id: answer.body.id, secret: answer.body.secret }
}

/** Registers an API by the API, with the scopes `read` (everyone) and `write` (ceiling). */
export async function registerResource(
  service: TestService,
  admin: string,
  more: Record<string, unknown> = {},
): Promise<RegisteredResource> {
  const slug = `api-${++made}`
  const json = {
    identifier: `https://${slug}.example.com/mcp`,
    name: slug,
    slug,
    scopes: [
      { name: 'read', description: 'Read' },
      { name: 'write', description: 'Write', grantable_by: 'ceiling' },
    ],
    ...more,
  }
  const answer = await call(service, 'POST /resources', { bearer: admin, json })
  if (answer.status !== 201) throw new Error(`A resource: ${answer.status} ${answer.text}`)
  const { id, identifier } = answer.body
  return { id, identifier, slug: answer.body.slug }
}

/** What a person allowed an app, with one session of it. */
export type AppSession = { grantId: string; sessionId: string; access: string }

/**
 * Inserts what a person allowed an app, with a session under it, and signs an access token of that session.
 * @param resource null: a first-party app's token for Latchkey's own API
 */
export async function addAppSession(
  service: TestService,
  sql: postgres.Sql,
  userId: string,
  app: { id: string },
  resource: RegisteredResource | null,
): Promise<AppSession> {
  const [grantId, sessionId] = [Bun.randomUUIDv7(), Bun.randomUUIDv7()]
  await sql`INSERT INTO latchkey.oauth_grants
      (id, user_id, client_id, audience, resource_id, scopes, first_allowed_at, last_allowed_at)
    VALUES (${grantId}, ${userId}, ${app.id}, ${resource ? 'resource' : 'users'}, ${resource?.id ?? null}, '{read}', now(), now())`
  await sql`INSERT INTO latchkey.sessions
      (id, user_id, salt, created_at, rotated_at, idle_expires_at, expires_at, scopes, kind, grant_id)
    VALUES (${sessionId}, ${userId}, ${Buffer.alloc(16)}, now(), now(), now() + interval '1 day', now() + interval '1 day',
      ${resource ? ['read'] : null}, 'client', ${grantId})`
  const access = await service.context.signing.sign({
    subject: userId,
    audience: resource?.identifier ?? service.config.jwtAudience,
    clientId: app.id,
    sessionId,
    role: resource ? null : 'user',
    scopes: ['read'],
    isNarrowed: false,
    authentication: { authTime: new Date(service.context.clock()), amr: ['pwd'] },
    expiresAtMs: service.context.clock() + 600_000,
  })
  return { grantId, sessionId, access }
}

/** The scopes of a token, as a service verifies it now; null: it is refused. */
export async function scopesNow(service: TestService, token: string): Promise<readonly string[] | null> {
  const verified = await verifyCredential(service.context, token)
  return verified.kind === 'client' || verified.kind === 'user' ? verified.scopes : null
}

/**
 * Inserts people who allowed an app, each with some sessions of it. Their grants come behind all others, in the order in which
 * the work goes.
 * @param resource for which; null: for signing in
 * @param isFirst the grants come before all others
 */
export async function addManySessions(
  sql: postgres.Sql,
  appId: string,
  {
    grants,
    each,
    resource = null,
    isFirst = false,
  }: { grants: number; each: number; resource?: string | null; isFirst?: boolean },
): Promise<void> {
  const marked = `many-${appId}-`
  const prefix = isFirst ? '00000000' : 'ffffffff'
  await sql`INSERT INTO latchkey.users (id, email, created_at)
    SELECT gen_random_uuid(), ${marked} || n || '@example.com', now() FROM generate_series(1, ${grants}) n`
  await sql`INSERT INTO latchkey.oauth_grants
      (id, user_id, client_id, audience, resource_id, scopes, first_allowed_at, last_allowed_at)
    SELECT overlay(gen_random_uuid()::text PLACING ${prefix} FROM 1 FOR 8)::uuid, id, ${appId},
      ${resource === null ? 'userinfo' : 'resource'}, ${resource}, '{}', now(), now()
    FROM latchkey.users WHERE email LIKE ${`${marked}%`}`
  await sql`INSERT INTO latchkey.sessions
      (id, user_id, salt, created_at, rotated_at, idle_expires_at, expires_at, kind, grant_id)
    SELECT gen_random_uuid(), g.user_id, '\\x00000000000000000000000000000000', now(), now(), now() + interval '1 day',
      now() + interval '1 day', 'client', g.id
    FROM latchkey.users u JOIN latchkey.oauth_grants g ON g.user_id = u.id AND g.client_id = ${appId},
      generate_series(1, ${each})
    WHERE u.email LIKE ${`${marked}%`}`
}

/** The number of ids in the longest list that a statement has: so many rows it locks or changes at most. */
export const longestList = (statements: readonly Statement[]): number =>
  Math.max(
    ...statements.flatMap(({ params }) => params.map((value) => (Array.isArray(value) ? value.length : 1))),
  )
