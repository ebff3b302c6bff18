import type postgres from 'postgres'
import { encryptTotpSecret, makeTotpSecret } from '../../src/core/second-factors/totp.ts'
import { hmac } from '../../src/lib/derived-keys.ts'
import { KEYS_WRITE, PORTAL, REGION, SERVICE_ACCOUNTS_WRITE, USERS_WRITE } from '../../src/lib/scopes.ts'
import { secret } from '../../src/lib/secret.ts'
import { hashToken, makeApiKey, makePortalBearer, makePortalLink } from '../../src/lib/tokens.ts'
import { createAuthenticator } from './authenticator.ts'
import { type Call, call } from './client.ts'
import { type AddedPerson, addPerson, beginSession, PASSWORD } from './people.ts'
import { claimsOf } from './refresh.ts'
import type { TestService } from './service.ts'
import { totpAt } from './totp.ts'

/** The kinds of caller, by the rows on which their authority rests. */
export const KINDS = ['admin', 'user', 'key', 'account key', 'account token'] as const
/** Customers in the portal: of a session that a key made, and of one that an admin made. */
export const PORTALS = ['portal', 'admin portal'] as const
export const EVERY_KIND = [...KINDS, ...PORTALS] as const
export type Kind = (typeof EVERY_KIND)[number]

type InsertedKey = { id: string; key: string; secretId: string }

/** A caller, and everything that this caller may change. */
export type World = {
  kind: Kind
  bearer: string
  /** The person who calls, or the owner of the calling key or account. */
  person: AddedPerson
  sessionId: string
  otherSession: { id: string; access: string }
  /** The service account that calls. */
  account: string
  /** The key that calls. */
  caller: InsertedKey
  /** The portal session that calls, or that the calling key made. */
  portalSession: string
  /** The `jti` of the token that calls. */
  tokenId: string
  signingKeyId: string
  target: AddedPerson
  targetSession: string
  /** What the person and the target allowed an app. */
  grants: { own: string; ofTarget: string }
  resetId: string
  /** A mail that was given up. */
  mailId: string
  /** An account that the person and another one manage. Its id is its external id too. */
  managedAccount: string
  otherManager: AddedPerson
  key: string
  /** A key with two live secrets, the older one first. */
  rotated: { id: string; secrets: [string, string] }
  /** The person's passkey. */
  passkeyId: string
  /** The secrets of the person's authenticator apps: the confirmed one, and one that is pending. */
  totp: { confirmed: string; pending: string }
  now: number
  resource: string
  /** A confidential app. */
  app: { id: string; secretId: string }
  /** What a new passkey of the person answers; null where no person calls. */
  registration: object | null
}

const POWERS = ['read', 'write', KEYS_WRITE, USERS_WRITE, SERVICE_ACCOUNTS_WRITE, PORTAL, REGION]

/**
 * Inserts a caller of a kind, with one of everything that such a caller may change, directly into the
 * database.
 */
export async function newWorld(at: TestService, sql: postgres.Sql, kind: Kind): Promise<World> {
  // Statements that stand together in a `Promise.all` are sent together, and run in this order on one connection.
  const [person, target, otherManager] = await Promise.all([
    addPerson(sql, kind === 'user' ? {} : { role: 'admin' }),
    addPerson(sql, { scopes: ['read'] }),
    addPerson(sql),
  ])
  const [session, other] = [await beginSession(at, person), await beginSession(at, person)]
  const ofTarget = await beginSession(at, target)
  const [resetId, mailId, account, managedAccount] = [newId(), newId(), newId(), newId()]
  const totp = { confirmed: makeTotpSecret(), pending: makeTotpSecret() }
  const [passkeyId, clientId] = [newId(), newId()]
  const [resource, app] = [newId(), { id: newId(), secretId: newId() }]
  await Promise.all([
    // Only a user without a password can be invited.
    sql`UPDATE latchkey.users SET password_hash = NULL WHERE id = ${target.id}`,
    sql`INSERT INTO latchkey.one_time_tokens (id, purpose, user_id, created_at, expires_at, issued_by)
    VALUES (${resetId}, 'reset', ${target.id}, now(), now() + interval '1 hour', ${person.id})`,
    sql`INSERT INTO latchkey.mails (id, kind, recipient, parameters, created_at, next_attempt_at, ended_at, outcome)
    VALUES (${mailId}, 'test', ${target.email}, '{}', now(), now(), now(), 'failed')`,
    sql`INSERT INTO latchkey.service_accounts (id, name, scopes, external_id, created_by, created_at) VALUES
    (${account}, 'caller', ${POWERS}, NULL, ${person.id}, now()),
    (${managedAccount}, 'managed', '{read}', ${managedAccount}, ${person.id}, now())`,
    sql`INSERT INTO latchkey.account_managers (id, service_account_id, user_id, created_at)
    SELECT gen_random_uuid(), id, created_by, now() FROM latchkey.service_accounts
    WHERE created_by IS NOT NULL ON CONFLICT DO NOTHING`,
    sql`INSERT INTO latchkey.account_managers (id, service_account_id, user_id, created_at)
    VALUES (gen_random_uuid(), ${managedAccount}, ${otherManager.id}, now())`,
    insertTotp(at, sql, person.id, totp.confirmed, true),
    insertTotp(at, sql, person.id, totp.pending, false),
    sql`INSERT INTO latchkey.passkeys
    (id, user_id, name, credential_id, public_key, sign_count, transports, is_backed_up, created_at)
    VALUES (${passkeyId}, ${person.id}, 'laptop', ${Buffer.from(passkeyId)}, '\\x00', 0, '{}', false, now())`,
    sql`UPDATE latchkey.users SET has_second_factor = true WHERE id = ${person.id}`,
    sql`INSERT INTO latchkey.login_attempts (email_hmac, attempts, window_started_at)
    VALUES (${Buffer.from(hmac(at.context.keys.email[0] ?? new Uint8Array(), target.email))}, 3, now())`,
    insertApp(sql, resource, app),
    sql`INSERT INTO latchkey.oauth_clients (id, client_id, source, kind, name, redirect_uris, grants, created_at)
    VALUES (${clientId}, ${clientId}, 'registered', 'public', 'app', '{}', '{authorization_code}', now())`,
  ])
  const owner = kind.startsWith('account') ? { account } : { user: person.id }
  const caller = await insertKey(sql, owner, POWERS)
  const portal = await insertPortal(
    sql,
    kind === 'admin portal' ? { user: target.id } : { account: managedAccount },
    kind === 'admin portal' ? { user: person.id } : { key: caller.id },
  )
  const shown = { portal: { account: managedAccount }, 'admin portal': { user: target.id } }
  const ofTargets = Object.hasOwn(shown, kind) ? shown[kind as keyof typeof shown] : owner
  const [{ id: key }, rotated] = await Promise.all([
    insertKey(sql, ofTargets, ['read']),
    insertKey(sql, ofTargets, ['read']),
  ])
  const newer = await insertSecret(sql, rotated.id)
  const grants = { own: newId(), ofTarget: newId() }
  await Promise.all([
    sql`UPDATE latchkey.api_key_secrets SET expires_at = now() + interval '1 hour' WHERE id = ${rotated.secretId}`,
    // An access token may only add a secret to a key that ends before the token.
    sql`UPDATE latchkey.api_keys SET expires_at = now() + interval '10 min' WHERE id IN (${key}, ${rotated.id})`,
    sql`INSERT INTO latchkey.oauth_grants (id, user_id, client_id, audience, scopes, first_allowed_at, last_allowed_at)
      VALUES (${grants.own}, ${person.id}, ${clientId}, 'userinfo', '{openid}', now(), now()),
        (${grants.ofTarget}, ${target.id}, ${clientId}, 'userinfo', '{openid}', now(), now())`,
  ])
  const bearer = await credentialOf(at, kind, { session: session.access, caller, account, portal })
  const signed = bearer.startsWith('eyJ') ? bearer : session.access
  return {
    kind,
    bearer,
    person,
    sessionId: claimsOf(at, session.refresh).sessionId,
    otherSession: { id: claimsOf(at, other.refresh).sessionId, access: other.access },
    account,
    caller,
    portalSession: portal.id,
    tokenId: partOf(signed, 1).jti ?? '',
    signingKeyId: partOf(signed, 0).kid ?? '',
    target,
    targetSession: claimsOf(at, ofTarget.refresh).sessionId,
    grants,
    resetId,
    mailId,
    managedAccount,
    otherManager,
    key,
    rotated: { id: rotated.id, secrets: [rotated.secretId, newer.secretId] },
    passkeyId,
    totp,
    resource,
    app,
    now: at.context.clock(),
    registration: kind === 'admin' || kind === 'user' ? await registrationOf(at, bearer) : null,
  }
}

async function insertApp(sql: postgres.Sql, resource: string, app: World['app']) {
  await sql`INSERT INTO latchkey.resources (id, identifier, slug, name, scopes, created_at)
    VALUES (${resource}, ${`https://${resource}.example.com`}, ${resource}, 'API', '[]', now())`
  await sql`INSERT INTO latchkey.oauth_clients (id, client_id, source, kind, name, redirect_uris, grants, created_at)
    VALUES (${app.id}, ${app.id}, 'registered', 'confidential', 'App', '{https://app.example.com/cb}', '{authorization_code}', now())`
  await sql`INSERT INTO latchkey.oauth_client_secrets (id, client_id, hash, start, created_at)
    VALUES (${app.secretId}, ${app.id}, ${Buffer.from(hashToken(app.secretId))}, 'cs_start', now())`
}

async function insertTotp(
  at: TestService,
  sql: postgres.Sql,
  userId: string,
  secret: string,
  isConfirmed: boolean,
) {
  const id = newId()
  const encrypted = Buffer.from(encryptTotpSecret(at.context, id, secret))
  await sql`INSERT INTO latchkey.totp_secrets (id, user_id, secret, created_at, confirmed_at)
    VALUES (${id}, ${userId}, ${encrypted}, now(), ${isConfirmed ? new Date() : null})`
}

async function registrationOf(at: TestService, bearer: string): Promise<object> {
  const { body } = await call(at, 'POST /auth/passkeys/options', { bearer })
  return createAuthenticator(new URL(at.config.publicUrl).origin).create(body)
}

const newId = () => Bun.randomUUIDv7()
const partOf = (token: string, at: number): Record<string, string> =>
  JSON.parse(Buffer.from(token.split('.')[at] ?? '', 'base64url').toString())

/** Inserts a key into the database. */
export async function insertKey(
  sql: postgres.Sql,
  owner: { user?: string; account?: string },
  scopes: string[],
  createdBy: string | null = null,
): Promise<InsertedKey> {
  const id = newId()
  await sql`INSERT INTO latchkey.api_keys (id, user_id, service_account_id, scopes, created_by, created_at)
    VALUES (${id}, ${owner.user ?? null}, ${owner.account ?? null}, ${scopes}, ${createdBy}, now())`
  return { id, ...(await insertSecret(sql, id)) }
}

/** Inserts a portal session with every power, whose link was exchanged. */
async function insertPortal(
  sql: postgres.Sql,
  owner: { user?: string; account?: string },
  maker: { user?: string; key?: string },
): Promise<{ id: string; bearer: string }> {
  const [id, bearer] = [newId(), makePortalBearer()]
  await sql`INSERT INTO latchkey.portal_sessions (id, user_id, service_account_id, made_by_user, made_by_key, scopes, may,
      link_hash, link_expires_at, bearer_hash, created_at, expires_at)
    VALUES (${id}, ${owner.user ?? null}, ${owner.account ?? null}, ${maker.user ?? null}, ${maker.key ?? null}, '{read}',
      '{read,create,rotate,revoke}', ${Buffer.from(hashToken(makePortalLink()))}, now() + interval '5 min',
      ${Buffer.from(hashToken(bearer))}, now(), now() + interval '15 min')`
  return { id, bearer }
}

async function insertSecret(sql: postgres.Sql, keyId: string): Promise<{ key: string; secretId: string }> {
  const [key, secretId] = [makeApiKey('sk_'), newId()]
  await sql`INSERT INTO latchkey.api_key_secrets (id, key_id, hash, start, created_at)
    VALUES (${secretId}, ${keyId}, ${Buffer.from(hashToken(key))}, ${key.slice(0, 11)}, now())`
  return { key, secretId }
}

async function credentialOf(
  at: TestService,
  kind: Kind,
  given: { session: string; caller: InsertedKey; account: string; portal: { bearer: string } },
): Promise<string> {
  const { session, caller, account, portal } = given
  if (kind === 'admin' || kind === 'user') return session
  if (kind === 'portal' || kind === 'admin portal') return portal.bearer
  if (kind !== 'account token') return caller.key
  const form = { grant_type: 'client_credentials', client_id: account, client_secret: caller.key }
  return (await call(at, 'POST /oauth/token', { form })).body.access_token
}

/** Settings of a mail server that is down. Some of these routes write a mail, which is never sent. */
export const UNSENT_MAIL = { smtpUrl: secret('smtp://127.0.0.1:1'), mailFrom: 'no-reply@example.com' }

/** A request that changes something, with the callers that may send it. */
export type ChangingRoute = {
  by: readonly Kind[]
  /** The path parameters, in order. */
  ids?(w: World): string[]
  json?(w: World): unknown
  /** Whether the route needs an admin: a demotion then refuses it too, not only the end of the credential. */
  isOfAdmins?: boolean
}

const PEOPLE = ['admin', 'user'] as const
const MANAGERS = ['admin', 'user', 'key'] as const
const ADMINISTRATORS = ['admin', 'key', 'account key', 'account token'] as const
const ADMIN_OR_KEY = ['admin', 'key'] as const
const CREATE = { by: KINDS, json: () => ({ scopes: ['read'] }) }
const REVOKE = { by: KINDS, ids: (w: World) => [w.key] }

/** Every request that changes something with a caller's authority, by its route in the OpenAPI document. */
export const CHANGING_ROUTES: Record<string, ChangingRoute> = {
  'POST /keys': { ...CREATE, by: EVERY_KIND },
  'POST /keys/create': CREATE,
  'PATCH /keys/{id}': { by: KINDS, ids: (w) => [w.key], json: () => ({ name: 'other' }) },
  'POST /keys/{id}/rotate': { by: EVERY_KIND, ids: (w) => [w.key], json: () => ({}) },
  'POST /keys/{id}/credits': { by: KINDS, ids: (w) => [w.key], json: () => ({ set: 5 }) },
  'DELETE /keys/{id}/secrets/{secret}': { by: KINDS, ids: (w) => [w.rotated.id, w.rotated.secrets[1]] },
  'POST /keys/revoke': { by: KINDS, json: (w) => ({ ids: [w.key] }) },
  'DELETE /keys/{id}': { ...REVOKE, by: EVERY_KIND },
  'POST /portal/sessions': { by: ADMIN_OR_KEY, json: (w) => ({ service_account_id: w.managedAccount }) },
  'DELETE /portal/sessions/{id}': { by: ADMIN_OR_KEY, ids: (w) => [w.portalSession] },
  'DELETE /portal/session': { by: PORTALS },
  'DELETE /keys/revoke/{id}': REVOKE,
  'DELETE /keys/delete/{id}': { by: PEOPLE, ids: (w) => [w.key] },
  'POST /keys/import': {
    by: ['admin'],
    json: (w) => ({
      keys: [{ name: 'old', owner: { user_id: w.target.id }, key: makeApiKey('old_'), scopes: ['read'] }],
    }),
    isOfAdmins: true,
  },
  'POST /service-accounts': { by: KINDS, json: () => ({ name: 'new', scopes: ['read'] }) },
  'PATCH /service-accounts/{id}': {
    by: MANAGERS,
    ids: (w) => [w.managedAccount],
    json: () => ({ name: 'other' }),
  },
  'DELETE /service-accounts/{id}': { by: MANAGERS, ids: (w) => [w.managedAccount] },
  'PUT /service-accounts': {
    by: ADMIN_OR_KEY,
    json: (w) => ({ external_id: w.managedAccount, name: 'put' }),
  },
  'PUT /service-accounts/{id}/managers': {
    by: MANAGERS,
    ids: (w) => [w.managedAccount],
    json: (w) => ({ user_id: w.target.id }),
  },
  'DELETE /service-accounts/{id}/managers/{managerId}': {
    by: MANAGERS,
    ids: (w) => [w.managedAccount, w.otherManager.id],
  },
  'POST /service-accounts/{id}/credits': {
    by: ADMIN_OR_KEY,
    ids: (w) => [w.managedAccount],
    json: () => ({ set: 5 }),
  },
  'POST /users/{id}/credits': {
    by: ['admin'],
    ids: (w) => [w.target.id],
    json: () => ({ set: 5 }),
    isOfAdmins: true,
  },
  'POST /users': {
    by: ADMINISTRATORS,
    json: (w) => ({ email: `new-${w.person.id}@example.com` }),
    isOfAdmins: true,
  },
  'PATCH /users/{id}': {
    by: ADMINISTRATORS,
    ids: (w) => [w.target.id],
    json: () => ({ scopes: [] }),
    isOfAdmins: true,
  },
  'DELETE /users/{id}': { by: ADMINISTRATORS, ids: (w) => [w.target.id], isOfAdmins: true },
  'POST /users/{id}/logout': { by: ADMINISTRATORS, ids: (w) => [w.target.id], isOfAdmins: true },
  'POST /users/{id}/password-reset': { by: ['admin'], ids: (w) => [w.target.id], isOfAdmins: true },
  'POST /users/{id}/invite': { by: ['admin'], ids: (w) => [w.target.id], isOfAdmins: true },
  'DELETE /users/{id}/password-resets/{reset_id}': {
    by: ['admin'],
    ids: (w) => [w.target.id, w.resetId],
    isOfAdmins: true,
  },
  'DELETE /users/{id}/sessions/{sid}': {
    by: ['admin'],
    ids: (w) => [w.target.id, w.targetSession],
    isOfAdmins: true,
  },
  'DELETE /users/{id}/grants/{grant_id}': {
    by: ['admin'],
    ids: (w) => [w.target.id, w.grants.ofTarget],
    isOfAdmins: true,
  },
  'POST /usage/report': {
    by: ['admin', 'key', 'account key', 'account token'],
    json: () => ({ id: Bun.randomUUIDv7(), region: 'eu-1', counts: [], last_uses: [], refusals: [] }),
  },
  'POST /mails/test': { by: ['admin'], json: (w) => ({ to: w.target.email }), isOfAdmins: true },
  'POST /mails/{id}/retry': { by: ['admin'], ids: (w) => [w.mailId], isOfAdmins: true },
  'POST /auth/password': {
    by: PEOPLE,
    json: () => ({ current_password: PASSWORD, new_password: 'another-long-one' }),
  },
  'POST /auth/email': {
    by: PEOPLE,
    json: (w) => ({ email: `other-${w.person.id}@example.com`, current_password: PASSWORD }),
  },
  // The admin is the only one.
  'DELETE /auth/me': { by: ['user'], json: () => ({ current_password: PASSWORD }) },
  'POST /auth/logout-all': { by: PEOPLE },
  'POST /auth/mfa/totp': { by: PEOPLE },
  'POST /auth/mfa/totp/confirm': { by: PEOPLE, json: (w) => ({ code: totpAt(w.totp.pending, w.now) }) },
  'DELETE /auth/mfa/totp': { by: PEOPLE },
  'POST /auth/mfa/recovery-codes': { by: PEOPLE },
  'POST /auth/passkeys': { by: PEOPLE, json: (w) => ({ name: 'new', response: w.registration }) },
  'PATCH /auth/passkeys/{id}': { by: PEOPLE, ids: (w) => [w.passkeyId], json: () => ({ name: 'other' }) },
  'DELETE /auth/passkeys/{id}': { by: PEOPLE, ids: (w) => [w.passkeyId] },
  'POST /auth/reauthenticate': { by: PEOPLE, json: (w) => ({ code: totpAt(w.totp.confirmed, w.now) }) },
  'DELETE /users/{id}/mfa': { by: ['admin'], ids: (w) => [w.target.id], isOfAdmins: true },
  'POST /users/{id}/unlock': { by: ['admin'], ids: (w) => [w.target.id], isOfAdmins: true },
  'DELETE /auth/grants/{id}': { by: PEOPLE, ids: (w) => [w.grants.own] },
  'POST /resources': {
    by: ['admin'],
    json: () => ({ identifier: `https://${newId()}.example.com`, name: 'new', slug: newId(), scopes: [] }),
    isOfAdmins: true,
  },
  'PATCH /resources/{id}': {
    by: ['admin'],
    ids: (w) => [w.resource],
    json: () => ({ is_active: false }),
    isOfAdmins: true,
  },
  'DELETE /resources/{id}': { by: ['admin'], ids: (w) => [w.resource], isOfAdmins: true },
  'POST /oauth/clients': {
    by: ['admin'],
    json: () => ({
      name: 'new',
      kind: 'confidential',
      redirect_uris: ['https://app.example.com/cb'],
      grants: ['authorization_code'],
    }),
    isOfAdmins: true,
  },
  'PATCH /oauth/clients/{id}': {
    by: ['admin'],
    ids: (w) => [w.app.id],
    json: () => ({ is_active: false }),
    isOfAdmins: true,
  },
  'DELETE /oauth/clients/{id}': { by: ['admin'], ids: (w) => [w.app.id], isOfAdmins: true },
  'POST /oauth/clients/{id}/secrets': {
    by: ['admin'],
    ids: (w) => [w.app.id],
    json: () => ({}),
    isOfAdmins: true,
  },
  'DELETE /oauth/clients/{id}/secrets/{secret_id}': {
    by: ['admin'],
    ids: (w) => [w.app.id, w.app.secretId],
    isOfAdmins: true,
  },
  'DELETE /auth/sessions/{id}': { by: PEOPLE, ids: (w) => [w.otherSession.id] },
}

/** A changing request in the form that `call` takes. */
export function requestOf(route: string, w: World): [route: string, call: Call] {
  const { ids, json } = CHANGING_ROUTES[route] ?? {}
  const given = ids?.(w) ?? []
  const path = route.replaceAll(/\{\w+\}/g, () => given.shift() ?? '')
  return [path, { bearer: w.bearer, ...(json && { json: json(w) }) }]
}

/**
 * A short text of all data that decides security. Two digests are equal if nothing changed in between. The
 * audit trail, counters and times of use are left out, because a refused request may write them.
 */
export async function digest(sql: postgres.Sql): Promise<string> {
  const [row] = await sql`
    SELECT md5(string_agg(row, E'\n' ORDER BY row)) AS digest FROM (
      SELECT x::text AS row FROM latchkey.users x
      UNION ALL SELECT x::text FROM latchkey.service_accounts x
      UNION ALL SELECT x::text FROM latchkey.account_managers x
      UNION ALL SELECT x::text FROM latchkey.sessions x
      UNION ALL SELECT x::text FROM latchkey.api_keys x
      UNION ALL SELECT ROW(id, key_id, hash, expires_at)::text FROM latchkey.api_key_secrets
      UNION ALL SELECT x::text FROM latchkey.api_key_credits x
      UNION ALL SELECT x::text FROM latchkey.owner_credits x
      UNION ALL SELECT x::text FROM latchkey.top_ups x
      UNION ALL SELECT x::text FROM latchkey.key_creations x
      UNION ALL SELECT x::text FROM latchkey.one_time_tokens x
      UNION ALL SELECT x::text FROM latchkey.revoked_tokens x
      UNION ALL SELECT x::text FROM latchkey.signing_keys x
      UNION ALL SELECT x::text FROM latchkey.portal_sessions x
      UNION ALL SELECT x::text FROM latchkey.resources x
      UNION ALL SELECT ROW(id, client_id, source, kind, name, redirect_uris, post_logout_redirect_uris, grants, scopes,
        first_party, is_active, jwks, jwks_uri)::text FROM latchkey.oauth_clients
      UNION ALL SELECT ROW(id, client_id, hash, expires_at)::text FROM latchkey.oauth_client_secrets
      UNION ALL SELECT ROW(id, user_id, client_id, audience, resource_id, scopes)::text FROM latchkey.oauth_grants
      UNION ALL SELECT ROW(id, session_id, denied_at, grant_id, allowed_scopes, used_at)::text FROM latchkey.device_codes
      UNION ALL SELECT x::text FROM latchkey.account_managers x
      UNION ALL SELECT x::text FROM latchkey.totp_secrets x
      UNION ALL SELECT x::text FROM latchkey.recovery_codes x
      UNION ALL SELECT x::text FROM latchkey.passkeys x
      UNION ALL SELECT x::text FROM latchkey.login_attempts x
      UNION ALL SELECT x::text FROM latchkey.oauth_grants x
      UNION ALL SELECT x::text FROM latchkey.authorization_requests x
      UNION ALL SELECT x::text FROM latchkey.authorization_codes x
      UNION ALL SELECT ROW(id, ended_at)::text FROM latchkey.mails WHERE kind = 'test'
      UNION ALL SELECT x::text FROM latchkey.usage_reports x
    ) AS rows`
  return row?.digest ?? ''
}
