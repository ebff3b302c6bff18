// biome-ignore-all format: A case is one line, however long.
import { createHash } from 'node:crypto'

/**
 * One recorded request: its name, which must not change; method and target; and the parts of the request.
 * `$name` is replaced by the value that `keep` of an earlier case took from its answer. Cases are sent in
 * order.
 */
export type Case = readonly [name: string, route: string, options?: Options]

export type Options = {
  /** The kept value that is sent as the bearer credential. */
  as?: string
  /** The kept value that is sent as X-API-Key. */
  key?: string
  /** An OAuth client, `$id:$secret`, sent by Basic. */
  client?: string
  json?: unknown
  /** A body that is sent unchanged, as JSON unless `headers` names another type. */
  text?: string
  form?: Record<string, string>
  headers?: Record<string, string>
  /** The client's address. The server treats the script as a proxy. */
  from?: string
  /**
   * All lines of the head after the request line, byte for byte: for requests that no client library sends.
   */
  lines?: readonly string[]
  /** How many such requests are sent at once. Each resulting status is an outcome. */
  times?: number
  onMetricsPort?: boolean
  /** Retry-After points to midnight in UTC. The distance from midnight is recorded. */
  untilMidnight?: boolean
  /** The kept cookie that is sent, from a page of the service's own origin. */
  cookie?: string
  /** The kept secret of an authenticator app. `$code` in the request is its present code. */
  authenticator?: string
  /** The members of the answer to keep, by the names that later cases use; `url#` is the fragment of a member. */
  keep?: Record<string, string>
  /** The names under which parameters of the address are kept to which the answer leads, and those parameters. */
  keepFromLocation?: Record<string, string>
  /** The name under which the answer's cookie is kept. */
  keepCookie?: string
}

/** A server with its own settings, and the requests that it receives. */
export type Script = { name: string; settings: Record<string, string>; cases: readonly Case[] }

const PASSWORD = 'correct-horse-battery'
const METRICS_TOKEN = 'a-token-for-the-scrape-of-metrics'
const ADMIN = { email: 'admin@example.com', password: PASSWORD }
const ORIGIN = 'https://app.example.com'
const UNKNOWN_ID = '01890a5d-ac96-774b-bcce-b302099a8057'
const EMPTY_HASH = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
const UNKNOWN = { headers: { authorization: `Bearer sk_${'0'.repeat(49)}` } }
const OWN_PAGE = { headers: { 'sec-fetch-site': 'same-origin' } }
const CSV = { accept: 'text/csv' }
const TEXT = { 'content-type': 'text/plain' }

const SETTINGS = {
  PUBLIC_URL: 'https://auth.example.com',
  ADMIN_EMAIL: ADMIN.email,
  ADMIN_PASSWORD: ADMIN.password,
  TRUSTED_PROXIES: '127.0.0.1/32',
  SHUTDOWN_DELAY_SECONDS: '0',
}

/**
 * Cases that create an account `name@example.com`. They keep `$name` (an access token), `$nameRefresh` and
 * `$nameId`.
 */
const person = (name: string): Case[] => {
  const json = { email: `${name}@example.com`, password: PASSWORD }
  return [
    [name, 'POST /auth/signup', { json, keep: { [`${name}Id`]: 'id' } }],
    [name, 'POST /auth/login', { json, keep: { [name]: 'access_token', [`${name}Refresh`]: 'refresh_token' } }],
  ]
}

/** A case that creates a key. It keeps `$name` and `$nameId`. */
const key = (name: string, as: string, json: object): Case =>
  [name, 'POST /keys', { as, json: { name, ...json }, keep: { [name]: 'key', [`${name}Id`]: 'id' } }]

/**
 * The accounts and keys that later cases use. The keys of `foreign` and `account` are ended late; the others
 * stay unchanged.
 */
const scene: Case[] = [
  ['admin', 'POST /auth/login', { json: ADMIN, keep: { admin: 'access_token' } }],
  ...person('owner'),
  ...person('stranger'),
  key('plain', 'owner', { scopes: 'read' }),
  key('bare', 'owner', {}),
  key('manager', 'owner', { scopes: ['read', 'latchkey:keys.read', 'latchkey:keys.write'] }),
  key('foreign', 'stranger', { scopes: 'read' }),
  key('verifier', 'admin', { scopes: 'latchkey:verify' }),
  key('inspector', 'admin', { scopes: 'latchkey:introspect' }),
  key('steward', 'admin', { scopes: 'read write latchkey:users.read latchkey:users.write latchkey:audit.read latchkey:service-accounts.read latchkey:service-accounts.write' }),
  ['account', 'POST /service-accounts', { as: 'owner', json: { name: 'account', scopes: 'read' }, keep: { accountId: 'id' } }],
  key('robot', 'owner', { scopes: 'read', service_account_id: '$accountId' }),
  ['robot', 'POST /oauth/token', { form: { grant_type: 'client_credentials', client_id: '$accountId', client_secret: '$robot' }, keep: { robotToken: 'access_token' } }],
]

/** Every route that requires a credential, and the accounts whose valid credentials it refuses. */
const GUARDED: Record<string, readonly string[]> = {
  'GET /auth/me': [],
  'POST /auth/password': ['plain', 'robotToken'],
  'POST /auth/logout-all': ['plain'],
  'GET /auth/sessions': ['plain'],
  'DELETE /auth/sessions/$ownerId': ['plain'],
  'GET /auth/grants': ['plain', 'robotToken'],
  'DELETE /auth/grants/$ownerId': ['plain'],
  'GET /users/$strangerId/grants': ['owner', 'plain'],
  'DELETE /users/$strangerId/grants/$ownerId': ['owner', 'steward'],
  'POST /keys': ['plain', 'robotToken'],
  'POST /keys/create': ['plain'],
  'GET /keys': ['plain'],
  'GET /keys/list': ['plain', 'robotToken'],
  'GET /keys/$plainId': ['bare'],
  'PATCH /keys/$plainId': ['bare'],
  'POST /keys/$plainId/rotate': ['bare'],
  'DELETE /keys/$plainId/secrets/sk_AbCdEfGh': ['bare'],
  'GET /keys/$plainId/usage': ['bare'],
  'DELETE /keys/revoke/$plainId': ['bare'],
  'DELETE /keys/$plainId': ['bare'],
  'DELETE /keys/delete/$plainId': ['manager'],
  'DELETE /keys/self': ['owner'],
  'POST /keys/import': ['owner', 'steward'],
  'POST /keys/verify': ['owner', 'plain'],
  'POST /verify': ['owner', 'plain'],
  'POST /keys/verify-batch': ['owner', 'plain'],
  'GET /service-accounts': ['plain'],
  'POST /service-accounts': ['plain'],
  'GET /service-accounts/$accountId': ['plain'],
  'PATCH /service-accounts/$accountId': ['plain'],
  'DELETE /service-accounts/$accountId': ['plain'],
  'POST /portal/sessions': ['owner', 'plain'],
  'DELETE /portal/sessions/$ownerId': [],
  'DELETE /portal/session': ['owner', 'plain'],
  'GET /users': ['owner', 'plain'],
  'POST /users': ['owner', 'plain'],
  'GET /users/$strangerId': ['owner', 'plain'],
  'PATCH /users/$strangerId': ['owner', 'plain'],
  'DELETE /users/$strangerId': ['owner', 'plain'],
  'POST /users/$strangerId/logout': ['owner', 'plain'],
  'POST /users/$strangerId/password-reset': ['owner', 'steward'],
  'GET /users/$strangerId/password-resets': ['owner', 'steward'],
  'DELETE /users/$strangerId/password-resets/$ownerId': ['owner', 'steward'],
  'GET /audit': ['owner', 'plain'],
  'DELETE /auth/me': ['plain', 'robotToken'],
  'POST /auth/email': ['plain', 'robotToken'],
  'GET /auth/activity': ['plain'],
  'GET /auth/mfa': ['plain', 'robotToken'],
  'POST /auth/mfa/totp': ['plain'],
  'POST /auth/mfa/totp/confirm': ['plain'],
  'DELETE /auth/mfa/totp': ['plain'],
  'POST /auth/mfa/recovery-codes': ['plain'],
  'POST /auth/reauthenticate': ['plain'],
  'POST /auth/reauthenticate/options': ['plain'],
  'POST /auth/passkeys': ['plain'],
  'POST /auth/passkeys/options': ['plain'],
  'PATCH /auth/passkeys/$ownerId': ['plain'],
  'DELETE /auth/passkeys/$ownerId': ['plain'],
  'POST /keys/lookup': ['bare'],
  'POST /keys/revoke': ['bare'],
  'POST /keys/$plainId/check': ['bare'],
  'GET /keys/$plainId/refusals': ['bare'],
  'GET /usage': ['bare'],
  'POST /users/$strangerId/invite': ['owner', 'steward'],
  'POST /users/$strangerId/unlock': ['owner', 'steward'],
  'DELETE /users/$strangerId/mfa': ['owner', 'steward'],
  'GET /users/$strangerId/sessions': ['owner', 'plain'],
  'DELETE /users/$strangerId/sessions/$ownerId': ['owner', 'plain'],
  'GET /signing-keys': ['owner', 'steward'],
  'POST /signing-keys/rotate': ['owner', 'steward'],
  'POST /signing-keys/unknown/revoke': ['owner', 'steward'],
  'GET /overview': ['owner', 'plain'],
  'GET /instance': ['owner', 'steward'],
  'GET /mails': ['owner', 'steward'],
  'POST /mails/test': ['owner', 'steward'],
  'POST /mails/$ownerId/retry': ['owner', 'steward'],
  'GET /resources': ['owner', 'steward'],
  'POST /resources': ['owner', 'steward'],
  'GET /resources/$ownerId': ['owner', 'steward'],
  'PATCH /resources/$ownerId': ['owner', 'steward'],
  'DELETE /resources/$ownerId': ['owner', 'steward'],
  'GET /oauth/clients': ['owner', 'steward'],
  'POST /oauth/clients': ['owner', 'steward'],
  'GET /oauth/clients/$ownerId': ['owner', 'steward'],
  'PATCH /oauth/clients/$ownerId': ['owner', 'steward'],
  'DELETE /oauth/clients/$ownerId': ['owner', 'steward'],
  'POST /oauth/clients/$ownerId/secrets': ['owner', 'steward'],
  'DELETE /oauth/clients/$ownerId/secrets/$ownerId': ['owner', 'steward'],
  'GET /protected/user-only': ['plain', 'robotToken'],
  'GET /protected/service-only': ['owner', 'bare'],
  'GET /protected/any': [],
  'GET /protected/admin': ['owner', 'plain'],
}

const refusals = Object.entries(GUARDED).flatMap(([route, weak]): Case[] => [
  ['no credential', route],
  ['an unknown key', route, UNKNOWN],
  ...weak.map((as): Case => [`as ${as}`, route, { as }]),
])

/** Every route with a JSON body, and the account that may send it. null: no credential is needed. */
const BODIES: Record<string, string | null> = {
  'POST /auth/signup': null,
  'POST /auth/login': null,
  'POST /auth/refresh': null,
  'POST /auth/logout': null,
  'POST /auth/password': 'owner',
  'POST /auth/password-reset': null,
  'POST /keys': 'owner',
  'POST /keys/create': 'owner',
  'PATCH /keys/$plainId': 'owner',
  'POST /keys/$plainId/rotate': 'owner',
  'POST /keys/import': 'admin',
  'POST /keys/verify': 'verifier',
  'POST /verify': 'verifier',
  'POST /keys/verify-batch': 'verifier',
  'POST /service-accounts': 'owner',
  'PATCH /service-accounts/$accountId': 'owner',
  'POST /portal/sessions': 'admin',
  'POST /portal/exchange': null,
  'POST /users': 'admin',
  'PATCH /users/$strangerId': 'admin',
  'POST /auth/forgot-password': null,
  'POST /auth/verify-email': null,
  'POST /auth/verify-email/resend': null,
  'POST /auth/email': 'owner',
  'POST /auth/login/mfa': null,
  'POST /auth/mfa/totp/confirm': 'owner',
  'POST /auth/reauthenticate': 'owner',
  'POST /auth/passkeys/login': null,
  'POST /auth/passkeys': 'owner',
  'POST /session': null,
  'POST /keys/lookup': 'admin',
  'POST /keys/revoke': 'admin',
  'POST /keys/$plainId/check': 'owner',
  'POST /mails/test': 'admin',
  'POST /resources': 'admin',
  'POST /oauth/clients': 'admin',
}

const badBodies = Object.entries(BODIES).flatMap(([route, who]): Case[] => {
  const sender = who === null ? {} : { as: who }
  return [
    ['malformed JSON', route, { ...sender, text: '{"' }],
    ['another type', route, { ...sender, text: '{}', headers: TEXT }],
    ['an unknown member', route, { ...sender, json: { unknown: 1 } }],
    ['a list', route, { ...sender, json: [] }],
    ['65 KiB', route, { ...sender, json: { unknown: '-'.repeat(65 * 1024) } }],
  ]
})

/** Every path, with a method that it does not support. */
const otherMethods = `
  PUT /  POST /health  POST /livez  POST /readyz  POST /metrics  POST /openapi.json  POST /docs  POST /docs/start.js
  GET /auth/signup  GET /auth/login  GET /auth/refresh  GET /auth/logout  GET /auth/logout-all  POST /auth/me
  PUT /auth/sessions  GET /auth/sessions/id  GET /auth/password  GET /auth/password-reset
  PUT /keys  PUT /keys/list  PUT /keys/create  PUT /keys/self  PUT /keys/id  GET /keys/id/rotate  GET /keys/id/secrets/start
  POST /keys/id/usage  GET /keys/revoke/id  GET /keys/delete/id  PUT /keys/import  PUT /keys/verify  PUT /keys/verify-batch  PUT /verify
  POST /overview  POST /instance  PUT /mails  GET /mails/test  GET /mails/id/retry
  GET /portal/exchange  GET /portal/session  GET /portal/sessions/id
  PUT /service-accounts/id  PUT /users  PUT /users/id  GET /users/id/logout
  GET /users/id/password-reset  POST /audit  GET /oauth/token  GET /oauth/introspect  GET /oauth/revoke
  POST /.well-known/jwks.json  POST /.well-known/oauth-authorization-server  POST /.well-known/oauth-protected-resource/latchkey
  POST /protected/user-only  POST /protected/service-only  POST /protected/any  POST /protected/admin`
  .trim()
  .split(/\s{2,}/)
  .map((route): Case => ['another method', route])

const service: Case[] = [
  ['good', 'GET /'],
  ['good', 'GET /health'],
  ['HEAD', 'HEAD /health'],
  ['a dead credential is not looked at', 'GET /health', UNKNOWN],
  ['good', 'GET /livez'],
  ['good', 'GET /readyz'],
  ['good', 'GET /docs'],
  ['a slash at the end', 'GET /docs/'],
  ['good', 'GET /docs/start.js'],
  ['good', 'GET /docs/swagger-ui.css'],
  ['good', 'GET /docs/swagger-ui-bundle.js'],
  ['good', 'GET /docs/favicon.png'],
  ['unknown', 'GET /docs/unknown.js'],
  ['good', 'GET /openapi.json'],
  ['HEAD', 'HEAD /openapi.json'],
  ['good', 'GET /.well-known/jwks.json'],
  ['good', 'GET /.well-known/oauth-authorization-server'],
  ['good', 'GET /.well-known/oauth-protected-resource/latchkey'],
  ['an unknown resource', 'GET /.well-known/oauth-protected-resource/none'],
  ['good', 'GET /.well-known/openid-configuration'],
  ['good', 'GET /metrics', { headers: { authorization: `Bearer ${METRICS_TOKEN}` } }],
  ['no credential', 'GET /metrics'],
  ['an API key', 'GET /metrics', { as: 'plain' }],
  ['on its own port', 'GET /metrics', { headers: { authorization: `Bearer ${METRICS_TOKEN}` }, onMetricsPort: true }],
  ['on its own port, no credential', 'GET /metrics', { onMetricsPort: true }],
  ['on the port of the metrics', 'GET /health', { onMetricsPort: true }],
  ['on the port of the metrics', 'POST /metrics', { onMetricsPort: true }],
]

const anyRequest: Case[] = [
  ['unknown', 'GET /unknown'],
  ['unknown', 'POST /unknown', { text: '{' }],
  ['unknown', 'DELETE /auth/unknown', { as: 'owner' }],
  ['a slash at the end', 'GET /auth/me/', { as: 'owner' }],
  ['two slashes', 'GET //auth/me', { as: 'owner' }],
  ['capitals', 'GET /AUTH/ME', { as: 'owner' }],
  ['encoded', 'GET /auth%2Fme', { as: 'owner' }],
  ['HEAD', 'HEAD /auth/me', { as: 'owner' }],
  ['HEAD, no credential', 'HEAD /auth/me'],
  ['both headers', 'GET /auth/me', { as: 'owner', key: 'plain' }],
  ['a repeated Authorization', 'GET /auth/me', { lines: ['Host: a', 'Authorization: Bearer $owner', 'Authorization: Bearer $owner'] }],
  ['a repeated X-API-Key', 'GET /auth/me', { lines: ['Host: a', 'X-API-Key: $plain', 'X-API-Key: $plain'] }],
  ['another scheme', 'GET /auth/me', { client: 'owner:$plain' }],
  ['the scheme alone', 'GET /auth/me', { headers: { authorization: 'Bearer' } }],
  ['the scheme in capitals', 'GET /auth/me', { headers: { authorization: 'BEARER $owner' } }],
  ['an access token as X-API-Key', 'GET /auth/me', { key: 'owner' }],
  ['a refresh token', 'GET /auth/me', { as: 'ownerRefresh' }],
  ['an altered access token', 'GET /auth/me', { headers: { authorization: 'Bearer $owner-' } }],
  ['a request id', 'GET /health', { headers: { 'x-request-id': 'request-1' } }],
  ['a trace', 'GET /health', { headers: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' } }],
  ['a malformed trace', 'GET /health', { headers: { traceparent: '00-0-0-01' } }],
  ['a trace, refused', 'GET /auth/me', { headers: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' } }],
  ['from an allowed origin', 'GET /auth/me', { as: 'owner', headers: { origin: ORIGIN } }],
  ['from another origin', 'GET /auth/me', { as: 'owner', headers: { origin: 'https://evil.example.com' } }],
  ['from an allowed origin, refused', 'GET /auth/me', { headers: { origin: ORIGIN } }],
  ['preflight', 'OPTIONS /auth/login', { headers: { origin: ORIGIN, 'access-control-request-method': 'POST' } }],
  ['preflight from another origin', 'OPTIONS /auth/login', { headers: { origin: 'https://evil.example.com', 'access-control-request-method': 'POST' } }],
  ['preflight of an unknown path', 'OPTIONS /unknown', { headers: { origin: ORIGIN, 'access-control-request-method': 'POST' } }],
  ['no Host', 'GET /health', { lines: [] }],
  ['an empty Host', 'GET /health', { lines: ['Host:'] }],
  ['a malformed Host', 'GET /health', { lines: ['Host: a b'] }],
  ['two Hosts', 'GET /health', { lines: ['Host: a', 'Host: b'] }],
  ['a Host of one letter', 'GET /health', { lines: ['Host: a'] }],
  ['an absolute target', 'GET http://a/health', { lines: ['Host: a'] }],
  ['a target that climbs', 'GET /auth/../health', { lines: ['Host: a'] }],
  ['a target without a slash', 'GET health', { lines: ['Host: a'] }],
  ['a header without a colon', 'GET /health', { lines: ['Host: a', 'nonsense'] }],
  ['a header of 64 KiB', 'GET /health', { lines: ['Host: a', `X-Long: ${'-'.repeat(65_536)}`] }],
  ['an unknown method', 'NONSENSE /health', { lines: ['Host: a'] }],
  ['two equal lengths', 'POST /auth/login', { lines: ['Host: a', 'Content-Type: application/json', 'Content-Length: 2', 'Content-Length: 2'], text: '{}' }],
  ['two lengths', 'POST /auth/login', { lines: ['Host: a', 'Content-Type: application/json', 'Content-Length: 2', 'Content-Length: 3'], text: '{}' }],
  ['a malformed length', 'POST /auth/login', { lines: ['Host: a', 'Content-Type: application/json', 'Content-Length: two'], text: '{}' }],
  ['in chunks', 'POST /auth/login', { lines: ['Host: a', 'Content-Type: application/json', 'Transfer-Encoding: chunked'], text: '2\r\n{}\r\n0\r\n\r\n' }],
  ['in malformed chunks', 'POST /auth/login', { lines: ['Host: a', 'Content-Type: application/json', 'Transfer-Encoding: chunked'], text: 'x\r\n{}\r\n0\r\n\r\n' }],
]

const body = (name: string, text: string, headers: Record<string, string> = {}): Case =>
  [name, 'POST /auth/login', { text, headers }]

const users: Case[] = [
  body('no body', ''),
  body('no object', 'null'),
  body('a text', '"text"'),
  body('33 levels', `${'['.repeat(33)}${']'.repeat(33)}`),
  body('a member toString', '{"toString":1}'),
  body('another charset', '{}', { 'content-type': 'application/json; charset=latin1' }),
  body('a charset', '{}', { 'content-type': 'application/json; charset=UTF-8' }),
  body('compressed', '{}', { 'content-encoding': 'gzip' }),
  ['a wrong type', 'POST /auth/login', { json: { email: 1, password: PASSWORD } }],
  ['a wrong password', 'POST /auth/login', { json: { email: 'owner@example.com', password: 'wrong' } }],
  ['an unknown address', 'POST /auth/login', { json: { email: 'nobody@example.com', password: 'wrong' } }],
  ['no address', 'POST /auth/login', { json: { email: 'nobody', password: 'wrong' } }],
  ['a dead credential is not looked at', 'POST /auth/login', { ...UNKNOWN, json: { email: 'Owner@Example.com ', password: PASSWORD, role: 'admin' } }],
  ['a taken address', 'POST /auth/signup', { json: { email: 'owner@example.com', password: PASSWORD } }],
  ['no address', 'POST /auth/signup', { json: { email: 'nobody', password: PASSWORD } }],
  ['a short password', 'POST /auth/signup', { json: { email: 'short@example.com', password: 'short' } }],
  ['a common password', 'POST /auth/signup', { json: { email: 'short@example.com', password: 'password1' } }],
  ['NUL', 'POST /auth/signup', { json: { email: 'nul\0@example.com', password: PASSWORD } }],
  ['a role', 'POST /auth/signup', { json: { email: 'role@example.com', password: PASSWORD, role: 'admin' } }],
  ['as owner', 'GET /auth/me', { as: 'owner' }],
  ['as plain', 'GET /auth/me', { key: 'plain' }],
  ['as robot', 'GET /auth/me', { as: 'robotToken' }],
  ['good', 'GET /auth/sessions', { as: 'owner' }],
  ['a page', 'GET /auth/sessions?limit=1', { as: 'owner', keep: { session: 'items.0.id', sessionCursor: 'next_cursor' } }],
  ['the next page', 'GET /auth/sessions?limit=1&cursor=$sessionCursor', { as: 'owner' }],
  ["another's page", 'GET /auth/sessions?limit=1&cursor=$sessionCursor', { as: 'stranger' }],
  ['a malformed page', 'GET /auth/sessions?cursor=x', { as: 'owner' }],
  ['a malformed limit', 'GET /auth/sessions?limit=x', { as: 'owner' }],
  ['beyond the limit', 'GET /auth/sessions?limit=101', { as: 'owner' }],
  ["another's", 'DELETE /auth/sessions/$session', { as: 'stranger' }],
  ['unknown', `DELETE /auth/sessions/${UNKNOWN_ID}`, { as: 'owner' }],
  ['malformed', 'DELETE /auth/sessions/1', { as: 'owner' }],
  ['good', 'DELETE /auth/sessions/$session', { as: 'owner' }],
  ['again', 'DELETE /auth/sessions/$session', { as: 'owner' }],
  ...person('leaver'),
  ['good', 'POST /auth/refresh', { json: { refresh_token: '$leaverRefresh' }, keep: { leaver: 'access_token', leaverNext: 'refresh_token' } }],
  ['again', 'POST /auth/refresh', { json: { refresh_token: '$leaverRefresh' } }],
  ['no token', 'POST /auth/refresh', { json: {} }],
  ['no body', 'POST /auth/refresh'],
  ['null', 'POST /auth/refresh', { json: { refresh_token: null } }],
  ['a wrong type', 'POST /auth/refresh', { json: { refresh_token: 1 } }],
  ['unknown', 'POST /auth/refresh', { json: { refresh_token: 'rt_unknown' } }],
  ['an access token', 'POST /auth/refresh', { json: { refresh_token: '$leaver' } }],
  ['in the query', 'POST /auth/refresh?refresh_token=$leaverNext'],
  ['unknown', 'POST /auth/logout', { json: { refresh_token: 'rt_unknown' } }],
  ['no credential', 'POST /auth/logout'],
  ['an unknown key', 'POST /auth/logout', UNKNOWN],
  ['both headers', 'POST /auth/logout', { as: 'leaver', key: 'plain' }],
  ['good', 'POST /auth/logout', { json: { refresh_token: '$leaverNext' } }],
  ['after logout', 'POST /auth/refresh', { json: { refresh_token: '$leaverNext' } }],
  ['after logout', 'GET /auth/me', { as: 'leaver' }],
  ['again', 'POST /auth/login', { json: { email: 'leaver@example.com', password: PASSWORD }, keep: { leaver: 'access_token' } }],
  ['a bearer', 'POST /auth/logout', { as: 'leaver' }],
  ['a third time', 'POST /auth/login', { json: { email: 'leaver@example.com', password: PASSWORD }, keep: { leaver: 'access_token' } }],
  ['malformed JSON', 'POST /auth/logout-all', { as: 'leaver', text: '{' }],
  ['a fourth time', 'POST /auth/login', { json: { email: 'leaver@example.com', password: PASSWORD }, keep: { leaver: 'access_token' } }],
  ['good', 'POST /auth/logout-all', { as: 'leaver' }],
  ['again', 'POST /auth/logout-all', { as: 'leaver' }],
  ...person('changer'),
  key('changing', 'changer', {}),
  ['a wrong password', 'POST /auth/password', { as: 'changer', json: { current_password: 'wrong', new_password: 'another-horse-battery' } }],
  ['a short password', 'POST /auth/password', { as: 'changer', json: { current_password: PASSWORD, new_password: 'short' } }],
  ['a wrong type', 'POST /auth/password', { as: 'changer', json: { current_password: PASSWORD, new_password: PASSWORD, revoke_keys: 'yes' } }],
  ['good', 'POST /auth/password', { as: 'changer', json: { current_password: PASSWORD, new_password: 'another-horse-battery', revoke_keys: true } }],
  ['after the change', 'GET /auth/me', { as: 'changer' }],
  ['a key after the change', 'GET /auth/me', { key: 'changing' }],
  ['unknown', 'POST /auth/password-reset', { json: { token: 'pr_unknown', new_password: PASSWORD } }],
  ['good', 'POST /users/$changerId/password-reset', { as: 'admin', keep: { reset: 'token' } }],
  ['a short password', 'POST /auth/password-reset', { json: { token: '$reset', new_password: 'short' } }],
  ['good', 'POST /auth/password-reset', { json: { token: '$reset', new_password: PASSWORD } }],
  ['again', 'POST /auth/password-reset', { json: { token: '$reset', new_password: PASSWORD } }],
  ['another', 'POST /users/$changerId/password-reset', { as: 'admin', keep: { resetToCancel: 'token' } }],
  ['good', 'GET /users/$changerId/password-resets', { as: 'admin', keep: { resetId: 'items.0.id' } }],
  ['good', 'DELETE /users/$changerId/password-resets/$resetId', { as: 'admin' }],
  ['again', 'DELETE /users/$changerId/password-resets/$resetId', { as: 'admin' }],
  ['a cancelled one', 'POST /auth/password-reset', { json: { token: '$resetToCancel', new_password: PASSWORD } }],
  ['eleven wrong passwords', 'POST /auth/login', { json: { email: 'leaver@example.com', password: '' }, times: 11 }],
  ['a locked account', 'POST /auth/login', { json: { email: 'leaver@example.com', password: PASSWORD } }],
  ['a locked account', 'POST /oauth/token', { form: { grant_type: 'password', username: 'leaver@example.com', password: PASSWORD } }],
  ['eleven wrong passwords', 'POST /auth/password', { as: 'stranger', json: { current_password: '', new_password: PASSWORD }, times: 11 }],
]

const keys: Case[] = [
  ['every setting', 'POST /keys/create', { as: 'owner', json: { name: 'full', description: 'all', scopes: ['read', 'write'], expires_in_days: 1, rate_limit: { limit: 9, window_seconds: 9 }, credits: { remaining: 9, refill: { amount: 9, interval: 'daily' } }, allowed_ips: ['192.0.2.0/24'] }, keep: { fullId: 'id' } }],
  ['no body', 'POST /keys/create', { as: 'owner' }],
  ['both headers', 'POST /keys/create', { as: 'owner', key: 'plain', json: {} }],
  ['null members', 'POST /keys/create', { as: 'owner', json: { name: null, scopes: null, credits: null } }],
  ['as manager', 'POST /keys/create', { key: 'manager', json: { scopes: 'read' }, keep: { managedId: 'id' } }],
  ['as manager, beyond its scopes', 'POST /keys/create', { key: 'manager', json: { scopes: 'write' } }],
  ["beyond the owner's scopes", 'POST /keys/create', { as: 'owner', json: { scopes: 'unheard-of' } }],
  ['a reserved scope', 'POST /keys/create', { as: 'owner', json: { scopes: 'latchkey:verify' } }],
  ['a malformed scope', 'POST /keys/create', { as: 'owner', json: { scopes: 'Read' } }],
  ['scopes of a wrong type', 'POST /keys/create', { as: 'owner', json: { scopes: 1 } }],
  ['a long name', 'POST /keys/create', { as: 'owner', json: { name: '-'.repeat(101) } }],
  ['two expiries', 'POST /keys/create', { as: 'owner', json: { expires_in_days: 1, expires_at: '2999-01-01T00:00:00Z' } }],
  ['an expiry in the past', 'POST /keys/create', { as: 'owner', json: { expires_at: '2000-01-01T00:00:00Z' } }],
  ['a malformed expiry', 'POST /keys/create', { as: 'owner', json: { expires_at: 'tomorrow' } }],
  ['a malformed network', 'POST /keys/create', { as: 'owner', json: { allowed_ips: ['10.1'] } }],
  ['a malformed rate', 'POST /keys/create', { as: 'owner', json: { rate_limit: { limit: 0, window_seconds: 1 } } }],
  ['malformed credits', 'POST /keys/create', { as: 'owner', json: { credits: { remaining: -1 } } }],
  ['metadata without the scope', 'POST /keys/create', { as: 'owner', json: { metadata: null } }],
  ['metadata of 5 KiB', 'POST /keys/create', { as: 'admin', json: { metadata: { long: '-'.repeat(5_000) } } }],
  ['an unknown owner', 'POST /keys/create', { as: 'owner', json: { service_account_id: UNKNOWN_ID } }],
  ['a malformed owner', 'POST /keys/create', { as: 'owner', json: { service_account_id: '1' } }],
  ["beyond its owner's scopes", 'POST /keys/create', { as: 'owner', json: { service_account_id: '$accountId', scopes: 'write' } }],
  ['an Idempotency-Key', 'POST /keys/create', { as: 'owner', json: {}, headers: { 'idempotency-key': 'once' } }],
  ['the same Idempotency-Key', 'POST /keys/create', { as: 'owner', json: {}, headers: { 'idempotency-key': 'once' } }],
  ['an empty Idempotency-Key', 'POST /keys/create', { as: 'owner', json: {}, headers: { 'idempotency-key': '' } }],
  ['a long Idempotency-Key', 'POST /keys/create', { as: 'owner', json: {}, headers: { 'idempotency-key': '-'.repeat(256) } }],
  ['good', 'GET /keys/list', { as: 'owner' }],
  ['a page', 'GET /keys/list?limit=1', { as: 'owner' }],
  ['as manager', 'GET /keys?status=active', { key: 'manager' }],
  ['good', 'GET /keys', { as: 'owner' }],
  ['all, as admin', 'GET /keys?all=true&limit=2', { as: 'admin' }],
  ["another's, as admin", 'GET /keys?user_id=$ownerId', { as: 'admin' }],
  ["another's", 'GET /keys?user_id=$strangerId', { as: 'owner' }],
  ['a malformed user', 'GET /keys?user_id=1', { as: 'admin' }],
  ["an account's", 'GET /keys?service_account_id=$accountId', { as: 'owner' }],
  ["another's account's", 'GET /keys?service_account_id=$accountId', { as: 'stranger' }],
  ['all', 'GET /keys?all=true', { as: 'owner' }],
  ['a malformed status', 'GET /keys?status=x', { as: 'owner' }],
  ['a malformed page', 'GET /keys?cursor=x', { as: 'owner' }],
  ['an unknown parameter', 'GET /keys?unknown=1', { as: 'owner' }],
  ['good', 'GET /keys/$plainId', { as: 'owner' }],
  ['as admin', 'GET /keys/$plainId', { as: 'admin' }],
  ['as manager', 'GET /keys/$plainId', { key: 'manager' }],
  ["another's", 'GET /keys/$foreignId', { as: 'owner' }],
  ['unknown', `GET /keys/${UNKNOWN_ID}`, { as: 'owner' }],
  ['malformed', 'GET /keys/1', { as: 'owner' }],
  ['a word that is a route', 'GET /keys/verify', { as: 'owner' }],
  ['labels', 'PATCH /keys/$fullId', { as: 'admin', json: { external_id: 'full', metadata: { a: 1 } } }],
  ['labels without the scope', 'PATCH /keys/$fullId', { as: 'owner', json: { metadata: null } }],
  ['good', 'PATCH /keys/$fullId', { as: 'owner', json: { name: 'fuller', description: null, credits: null, is_active: false } }],
  ['nothing', 'PATCH /keys/$fullId', { as: 'owner', json: {} }],
  ['no body', 'PATCH /keys/$fullId', { as: 'owner' }],
  ['a wrong type', 'PATCH /keys/$fullId', { as: 'owner', json: { is_active: null } }],
  ['an expiry in the past', 'PATCH /keys/$fullId', { as: 'owner', json: { expires_at: '2000-01-01T00:00:00Z' } }],
  ["beyond the owner's scopes", 'PATCH /keys/$fullId', { as: 'owner', json: { scopes: 'unheard-of' } }],
  ['as manager', 'PATCH /keys/$managedId', { key: 'manager', json: { name: 'managed' } }],
  ['as manager, itself', 'PATCH /keys/$managerId', { key: 'manager', json: { name: 'managed' } }],
  ['as admin, lowered', 'PATCH /keys/$managedId', { as: 'admin', json: { is_active: false } }],
  ['as admin, widened', 'PATCH /keys/$managedId', { as: 'admin', json: { scopes: 'write' } }],
  ["another's", 'PATCH /keys/$foreignId', { as: 'owner', json: {} }],
  ['malformed', 'PATCH /keys/1', { as: 'owner', json: {} }],
  ['good', 'POST /keys/$fullId/credits', { as: 'owner', json: { set: 5 } }],
  ['taken away', 'POST /keys/$fullId/credits', { as: 'owner', json: { add: -2 } }],
  ['below zero', 'POST /keys/$fullId/credits', { as: 'owner', json: { add: -4 } }],
  ['both', 'POST /keys/$fullId/credits', { as: 'owner', json: { add: 1, set: 1 } }],
  ["another's", 'POST /keys/$foreignId/credits', { as: 'owner', json: { set: 5 } }],
  ['no more', 'PATCH /keys/$fullId', { as: 'owner', json: { credits: null } }],
  ['good', 'POST /keys/$fullId/rotate', { as: 'owner', json: { overlap_seconds: 60 }, keep: { newStart: 'start' } }],
  ['while the overlap runs', 'POST /keys/$fullId/rotate', { as: 'owner', json: {} }],
  ['a long overlap', 'POST /keys/$fullId/rotate', { as: 'owner', json: { overlap_seconds: 2_592_001 } }],
  ['as manager, itself', 'POST /keys/$managerId/rotate', { key: 'manager', json: {} }],
  ['as admin', 'POST /keys/$managedId/rotate', { as: 'admin', json: {} }],
  ['malformed', 'POST /keys/1/rotate', { as: 'owner' }],
  ['unknown', 'DELETE /keys/$fullId/secrets/sk_AbCdEfGh', { as: 'owner' }],
  ['good', 'DELETE /keys/$fullId/secrets/$newStart', { as: 'owner' }],
  ['no body', 'POST /keys/$fullId/rotate', { as: 'owner' }],
  ['the only one', 'POST /keys/$managedId/rotate', { as: 'owner', json: { overlap_seconds: 0 }, keep: { onlyStart: 'start' } }],
  ['the only one', 'DELETE /keys/$managedId/secrets/$onlyStart', { as: 'owner' }],
  ['good', 'GET /keys/$plainId/usage', { as: 'owner' }],
  ['by day', 'GET /keys/$plainId/usage?bucket=day&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z', { as: 'owner' }],
  ['a malformed bucket', 'GET /keys/$plainId/usage?bucket=year', { as: 'owner' }],
  ['more than a year', 'GET /keys/$plainId/usage?from=2000-01-01T00:00:00Z', { as: 'owner' }],
  ['a malformed time', 'GET /keys/$plainId/usage?from=yesterday', { as: 'owner' }],
  ["another's", 'GET /keys/$foreignId/usage', { as: 'owner' }],
  ['as manager, itself', 'DELETE /keys/$managerId', { key: 'manager' }],
  ["another's", 'DELETE /keys/$foreignId', { as: 'owner' }],
  ['malformed', 'DELETE /keys/1', { as: 'owner' }],
  ['an unknown parameter', 'DELETE /keys/$fullId?unknown=1', { as: 'owner' }],
  ['good', 'DELETE /keys/$fullId?reason=done&created=true', { as: 'owner' }],
  ['again', 'DELETE /keys/$fullId', { as: 'owner' }],
  ['a revoked key', 'PATCH /keys/$fullId', { as: 'owner', json: { name: 'late' } }],
  ['a revoked key', 'POST /keys/$fullId/rotate', { as: 'owner' }],
  ['good', 'DELETE /keys/revoke/$managedId', { as: 'owner' }],
  ['malformed', 'DELETE /keys/revoke/1', { as: 'owner' }],
  ["another's, as admin", 'DELETE /keys/delete/$managedId', { as: 'admin' }],
  ['good', 'DELETE /keys/delete/$managedId', { as: 'owner' }],
  ['again', 'DELETE /keys/delete/$managedId', { as: 'owner' }],
  ['malformed', 'DELETE /keys/delete/1', { as: 'owner' }],
  key('leaked', 'owner', {}),
  ['good', 'DELETE /keys/self', { key: 'leaked' }],
  ['again', 'DELETE /keys/self', { key: 'leaked' }],
  ['good', 'POST /keys/import', { as: 'admin', json: { keys: [{ name: 'imported', owner: { email: 'owner@example.com' }, hash: EMPTY_HASH }, { owner: {} }, 1] } }],
  ['again', 'POST /keys/import', { as: 'admin', json: { keys: [{ name: 'imported', owner: { email: 'owner@example.com' }, hash: EMPTY_HASH }] } }],
  ['none', 'POST /keys/import', { as: 'admin', json: { keys: [] } }],
  ['no list', 'POST /keys/import', { as: 'admin', json: { keys: {} } }],
  ['1,001', 'POST /keys/import', { as: 'admin', json: { keys: Array(1_001).fill(0) } }],
  ['9 MB', 'POST /keys/import', { as: 'admin', json: { keys: ['-'.repeat(9_000_000)] } }],
]

const limitedKeys: Case[] = [
  key('limited', 'owner', { rate_limit: { limit: 1, window_seconds: 3600 } }),
  ['within its rate', 'GET /protected/any', { key: 'limited' }],
  ['beyond its rate', 'GET /protected/any', { key: 'limited' }],
  ['beyond its rate', 'GET /forward-auth', { key: 'limited' }],
  key('bound', 'owner', { scopes: 'read', allowed_ips: ['192.0.2.0/24'] }),
  ['from its network', 'GET /protected/service-only', { key: 'bound', from: '192.0.2.1' }],
  ['from another network', 'GET /protected/service-only', { key: 'bound', from: '198.51.100.1' }],
  ['from another network', 'GET /forward-auth', { key: 'bound' }],
  key('prepaid', 'owner', { credits: { remaining: 1 } }),
  ['with a credit', 'GET /forward-auth', { key: 'prepaid' }],
  ['without credits', 'GET /forward-auth', { key: 'prepaid' }],
  ['without credits', 'GET /protected/any', { key: 'prepaid' }],
  key('refilled', 'owner', { credits: { remaining: 0, refill: { amount: 1, interval: 'daily' } } }),
  ['before the refill', 'GET /forward-auth', { key: 'refilled', untilMidnight: true }],
]

const verification: Case[] = [
  ['good', 'POST /keys/verify', { key: 'verifier', json: { key: '$plain', scopes: ['read'], cost: 0, ip: '192.0.2.1' } }],
  ['as admin', 'POST /keys/verify', { as: 'admin', json: { key: '$plain' } }],
  ['null members', 'POST /keys/verify', { key: 'verifier', json: { key: '$plain', scopes: null, cost: null, ip: null } }],
  ['unknown', 'POST /keys/verify', { key: 'verifier', json: { key: 'sk_unknown' } }],
  ['revoked', 'POST /keys/verify', { key: 'verifier', json: { key: '$leaked' } }],
  ['beyond its rate', 'POST /keys/verify', { key: 'verifier', json: { key: '$limited' } }],
  ['without credits', 'POST /keys/verify', { key: 'verifier', json: { key: '$prepaid' } }],
  ['good', 'POST /verify', { key: 'verifier', json: { credential: '$plain', scopes: ['read'], cost: 0 } }],
  ['an unknown credential', 'POST /verify', { key: 'verifier', json: { credential: 'sk_unknown' } }],
  ['an unknown resource', 'POST /verify', { key: 'verifier', json: { credential: '$plain', resource: 'none', cost: 0 } }],
  ['no key', 'POST /keys/verify', { key: 'verifier', json: {} }],
  ['no body', 'POST /keys/verify', { key: 'verifier' }],
  ['a malformed address', 'POST /keys/verify', { key: 'verifier', json: { key: '$plain', ip: '1' } }],
  ['a malformed scope', 'POST /keys/verify', { key: 'verifier', json: { key: '$plain', scopes: 'Read' } }],
  ['a negative cost', 'POST /keys/verify', { key: 'verifier', json: { key: '$plain', cost: -1 } }],
  ['both headers', 'POST /keys/verify', { as: 'admin', key: 'verifier', json: { key: '$plain' } }],
  ['good', 'POST /keys/verify-batch', { key: 'verifier', json: { keys: [{ key: '$plain' }, { key: '$bare', scopes: 'read' }] } }],
  ['none', 'POST /keys/verify-batch', { key: 'verifier', json: { keys: [] } }],
  ['101', 'POST /keys/verify-batch', { key: 'verifier', json: { keys: Array(101).fill({ key: '$plain' }) } }],
  ['one of them malformed', 'POST /keys/verify-batch', { key: 'verifier', json: { keys: [{ key: '$plain' }, { key: '$plain', ip: '1' }] } }],
]

const examples: Case[] = [
  ['as owner', 'GET /protected/user-only', { as: 'owner' }],
  ['as plain', 'GET /protected/service-only', { key: 'plain' }],
  ['as robot', 'GET /protected/service-only', { as: 'robotToken' }],
  ['as owner', 'GET /protected/any', { as: 'owner' }],
  ['as plain', 'GET /protected/any', { key: 'plain' }],
  ['as admin', 'GET /protected/admin', { as: 'admin' }],
]

const serviceAccounts: Case[] = [
  ['as steward', 'POST /service-accounts', { key: 'steward', json: { name: 'by a key', description: 'x', scopes: 'read' } }],
  ['no name', 'POST /service-accounts', { as: 'owner', json: {} }],
  ['a wrong type', 'POST /service-accounts', { as: 'owner', json: { name: 1 } }],
  ["beyond the maker's scopes", 'POST /service-accounts', { as: 'owner', json: { name: 'x', scopes: 'unheard-of' } }],
  ['good', 'PUT /service-accounts', { key: 'steward', json: { external_id: 'cust/1', name: 'by a key' } }],
  ['again', 'PUT /service-accounts', { key: 'steward', json: { external_id: 'cust/1', description: 'x' } }],
  ['as a person', 'PUT /service-accounts', { as: 'owner', json: { external_id: 'cust/2' } }],
  ['no external id', 'PUT /service-accounts', { as: 'admin', json: {} }],
  ['by its external id', 'GET /service-accounts?external_id=cust%2F1', { key: 'steward' }],
  ['good', 'GET /service-accounts', { as: 'owner' }],
  ['as steward', 'GET /service-accounts?limit=1', { key: 'steward' }],
  ['a malformed page', 'GET /service-accounts?cursor=x', { as: 'owner' }],
  ['beyond the limit', 'GET /service-accounts?limit=0', { as: 'owner' }],
  ['good', 'GET /service-accounts/$accountId', { as: 'owner' }],
  ['as admin', 'GET /service-accounts/$accountId', { as: 'admin' }],
  ["another's", 'GET /service-accounts/$accountId', { as: 'stranger' }],
  ['malformed', 'GET /service-accounts/1', { as: 'owner' }],
  ['good', 'PATCH /service-accounts/$accountId', { as: 'owner', json: { name: 'renamed', description: null, is_active: false } }],
  ['disabled', 'GET /auth/me', { as: 'robot' }],
  ["beyond the maker's scopes", 'PATCH /service-accounts/$accountId', { as: 'owner', json: { scopes: 'unheard-of' } }],
  ['a wrong type', 'PATCH /service-accounts/$accountId', { as: 'owner', json: { is_active: 'no' } }],
  ["another's", 'PATCH /service-accounts/$accountId', { as: 'stranger', json: {} }],
  ['malformed', 'PATCH /service-accounts/1', { as: 'owner', json: {} }],
  ['good', 'POST /service-accounts/$accountId/credits', { as: 'admin', json: { set: 5 } }],
  ['as a person who manages it', 'POST /service-accounts/$accountId/credits', { as: 'owner', json: { add: 5 } }],
  ["another's", 'POST /service-accounts/$accountId/credits', { as: 'stranger', json: { add: 5 } }],
  ['good', 'PUT /service-accounts/$accountId/managers', { as: 'owner', json: { service_account_id: '$accountId' } }],
  ["another's", 'PUT /service-accounts/$accountId/managers', { as: 'stranger', json: { email: 'x@example.com' } }],
  ['none', 'PUT /service-accounts/$accountId/managers', { as: 'owner', json: {} }],
  ['good', 'DELETE /service-accounts/$accountId/managers/$accountId', { as: 'owner' }],
  ["another's", 'DELETE /service-accounts/$accountId/managers/$accountId', { as: 'stranger' }],
  ["another's", 'DELETE /service-accounts/$accountId', { as: 'stranger' }],
  ['malformed', 'DELETE /service-accounts/1', { as: 'owner' }],
  ['good', 'DELETE /service-accounts/$accountId', { as: 'owner' }],
  ['again', 'DELETE /service-accounts/$accountId', { as: 'owner' }],
]

const portal: Case[] = [
  ['for a user', 'POST /portal/sessions', { as: 'admin', json: { user_id: '$ownerId', scopes: 'read', may: ['create', 'rotate', 'revoke'] }, keep: { portalId: 'id', portalLink: 'url#' } }],
  ['for an account', 'POST /portal/sessions', { as: 'admin', json: { service_account_id: '$accountId' }, keep: { unusedPortalId: 'id' } }],
  ['two owners', 'POST /portal/sessions', { as: 'admin', json: { user_id: '$ownerId', service_account_id: '$accountId' } }],
  ['an unknown owner', 'POST /portal/sessions', { as: 'admin', json: { user_id: UNKNOWN_ID } }],
  ['an unknown external id', 'POST /portal/sessions', { as: 'admin', json: { external_id: 'nobody' } }],
  ['a return_url of elsewhere', 'POST /portal/sessions', { as: 'admin', json: { user_id: '$ownerId', return_url: 'https://evil.example.com/' } }],
  ["a scope of Latchkey's own", 'POST /portal/sessions', { as: 'admin', json: { user_id: '$ownerId', scopes: 'latchkey:keys.read' } }],
  ['unknown', 'POST /portal/exchange', { json: { token: 'pl_unknown' } }],
  ['good', 'POST /portal/exchange', { json: { token: '$portalLink' }, keep: { portal: 'access_token' } }],
  ['again', 'POST /portal/exchange', { json: { token: '$portalLink' } }],
  ['in the portal', 'GET /keys', { as: 'portal' }],
  ['in the portal', 'GET /usage', { as: 'portal' }],
  ['in the portal', 'GET /auth/me', { as: 'portal' }],
  ['in the portal', 'GET /forward-auth', { as: 'portal' }],
  ['in the portal', 'POST /keys', { as: 'portal', json: { name: 'mine', scopes: 'read' }, keep: { portalKeyId: 'id' } }],
  ['in the portal, with metadata', 'POST /keys', { as: 'portal', json: { metadata: {} } }],
  ['in the portal', 'GET /keys/$portalKeyId', { as: 'portal' }],
  ['in the portal', 'GET /keys/$portalKeyId/usage', { as: 'portal' }],
  ['in the portal', 'POST /keys/$portalKeyId/rotate', { as: 'portal', json: {} }],
  ['in the portal', 'DELETE /keys/$portalKeyId', { as: 'portal' }],
  ['good', 'DELETE /portal/session', { as: 'portal' }],
  ['again', 'DELETE /portal/session', { as: 'portal' }],
  ["another's", 'DELETE /portal/sessions/$unusedPortalId', { as: 'owner' }],
  ['good', 'DELETE /portal/sessions/$unusedPortalId', { as: 'admin' }],
  ['again', 'DELETE /portal/sessions/$unusedPortalId', { as: 'admin' }],
  ['malformed', 'DELETE /portal/sessions/1', { as: 'admin' }],
  ['good', 'GET /portal'],
  ['another method', 'POST /portal'],
  ['no such file', 'GET /portal/assets/none.js'],
  ['another method', 'GET /portal/sessions'],
]

const oauth: Case[] = [
  ['an exchange for no resource', 'POST /oauth/token', { form: { grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', subject_token: '$plain', subject_token_type: 'urn:latchkey:token-type:api_key' } }],
  ['registration is off', 'POST /oauth/register', { json: { redirect_uris: ['https://app.example.com/callback'] } }],
  ['client_credentials, Basic', 'POST /oauth/token', { client: '$accountId:$robot', form: { grant_type: 'client_credentials', scope: 'read' } }],
  ['client_credentials, no client', 'POST /oauth/token', { form: { grant_type: 'client_credentials' } }],
  ['client_credentials, a wrong secret', 'POST /oauth/token', { client: '$accountId:sk_wrong', form: { grant_type: 'client_credentials' } }],
  ["client_credentials, a user's key", 'POST /oauth/token', { client: '$ownerId:$plain', form: { grant_type: 'client_credentials' } }],
  ['client_credentials, beyond its scopes', 'POST /oauth/token', { client: '$accountId:$robot', form: { grant_type: 'client_credentials', scope: 'write' } }],
  ['client_credentials, a malformed scope', 'POST /oauth/token', { client: '$accountId:$robot', form: { grant_type: 'client_credentials', scope: 'Read' } }],
  ['a client twice', 'POST /oauth/token', { client: '$accountId:$robot', form: { grant_type: 'client_credentials', client_id: '$accountId', client_secret: '$robot' } }],
  ['malformed Basic', 'POST /oauth/token', { headers: { authorization: 'Basic !' }, form: { grant_type: 'client_credentials' } }],
  ['password', 'POST /oauth/token', { form: { grant_type: 'password', username: 'owner@example.com', password: PASSWORD }, keep: { granted: 'refresh_token', grantedAccess: 'access_token' } }],
  ['password, wrong', 'POST /oauth/token', { form: { grant_type: 'password', username: 'owner@example.com', password: 'wrong' } }],
  ['password, none', 'POST /oauth/token', { form: { grant_type: 'password', username: 'owner@example.com' } }],
  ['password, beyond the scopes', 'POST /oauth/token', { form: { grant_type: 'password', username: 'owner@example.com', password: PASSWORD, scope: 'unheard-of' } }],
  ['refresh_token', 'POST /oauth/token', { form: { grant_type: 'refresh_token', refresh_token: '$granted' }, keep: { granted: 'refresh_token', grantedAccess: 'access_token' } }],
  ['refresh_token, unknown', 'POST /oauth/token', { form: { grant_type: 'refresh_token', refresh_token: 'rt_unknown' } }],
  ['refresh_token, beyond the scopes', 'POST /oauth/token', { form: { grant_type: 'refresh_token', refresh_token: '$granted', scope: 'unheard-of' } }],
  ['another grant', 'POST /oauth/token', { form: { grant_type: 'implicit' } }],
  ['no grant', 'POST /oauth/token', { form: {} }],
  ['a repeated parameter', 'POST /oauth/token', { text: 'grant_type=password&grant_type=password', headers: { 'content-type': 'application/x-www-form-urlencoded' } }],
  ['JSON', 'POST /oauth/token', { json: { grant_type: 'password' } }],
  ['no body', 'POST /oauth/token'],
  ['65 KiB', 'POST /oauth/token', { form: { grant_type: '-'.repeat(65 * 1024) } }],
  ['an access token', 'POST /oauth/introspect', { as: 'inspector', form: { token: '$owner' } }],
  ['a refresh token', 'POST /oauth/introspect', { as: 'admin', form: { token: '$granted' } }],
  ['a key', 'POST /oauth/introspect', { key: 'inspector', form: { token: '$plain', token_type_hint: 'api_key' } }],
  ['unknown', 'POST /oauth/introspect', { as: 'inspector', form: { token: 'unknown' } }],
  ['no token', 'POST /oauth/introspect', { as: 'inspector', form: {} }],
  ['no credential', 'POST /oauth/introspect', { form: { token: '$plain' } }],
  ['an unknown key', 'POST /oauth/introspect', { ...UNKNOWN, form: { token: '$plain' } }],
  ['both headers', 'POST /oauth/introspect', { as: 'admin', key: 'inspector', form: { token: '$plain' } }],
  ['as owner', 'POST /oauth/introspect', { as: 'owner', form: { token: '$plain' } }],
  ['as a client without the scope', 'POST /oauth/introspect', { client: '$accountId:$robot', form: { token: '$plain' } }],
  ['as a client with a wrong secret', 'POST /oauth/introspect', { client: '$accountId:sk_wrong', form: { token: '$plain' } }],
  ['JSON', 'POST /oauth/introspect', { as: 'inspector', json: { token: '$plain' } }],
  ['unknown', 'POST /oauth/revoke', { form: { token: 'unknown' } }],
  ['no token', 'POST /oauth/revoke', { form: {} }],
  ['a wrong client', 'POST /oauth/revoke', { client: '$accountId:sk_wrong', form: { token: 'unknown' } }],
  ['as a client', 'POST /oauth/revoke', { client: '$accountId:$robot', form: { token: 'unknown' } }],
  ["an account's access token", 'POST /oauth/revoke', { form: { token: '$robotToken' } }],
  ['a refresh token', 'POST /oauth/revoke', { form: { token: '$granted' } }],
  ['its access token', 'GET /auth/me', { as: 'grantedAccess' }],
  ['a key', 'POST /oauth/revoke', { form: { token: '$foreign', token_type_hint: 'api_key' } }],
  ['a revoked key', 'GET /auth/me', { key: 'foreign' }],
  ['JSON', 'POST /oauth/revoke', { json: { token: 'unknown' } }],
  ['unknown', 'GET /oauth/unknown'],
]

const NOTES = { identifier: 'https://notes.example.com/mcp', name: 'Notes', slug: 'notes', scopes: [{ name: 'notes:read', description: 'Read your notes' }] }
const APP = { name: 'App', kind: 'confidential', redirect_uris: ['https://app.example.com/cb'], grants: ['authorization_code', 'refresh_token'] }

const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code'
const DEVICE_APP = { name: 'Command line', kind: 'public', redirect_uris: [], grants: [DEVICE] }

const apps: Case[] = [
  ['good', 'POST /resources', { as: 'admin', json: NOTES, keep: { resourceId: 'id', resourceSlug: 'slug' } }],
  ['good', 'GET /.well-known/oauth-protected-resource/$resourceSlug'],
  ['a taken identifier', 'POST /resources', { as: 'admin', json: { ...NOTES, slug: 'other' } }],
  ['a taken slug', 'POST /resources', { as: 'admin', json: { ...NOTES, identifier: 'https://other.example.com' } }],
  ["Latchkey's own identifier", 'POST /resources', { as: 'admin', json: { ...NOTES, identifier: 'https://auth.example.com/latchkey' } }],
  ['plain http', 'POST /resources', { as: 'admin', json: { ...NOTES, identifier: 'http://notes.example.com' } }],
  ['good', 'GET /resources', { as: 'admin' }],
  ['a malformed page', 'GET /resources?cursor=x', { as: 'admin' }],
  ['good', 'GET /resources/$resourceId', { as: 'admin' }],
  ["Latchkey's own", 'GET /resources/00000000-0000-0000-0000-000000000000', { as: 'admin' }],
  ['malformed', 'GET /resources/1', { as: 'admin' }],
  ['good', 'PATCH /resources/$resourceId', { as: 'admin', json: { token_lifetime_seconds: 300, is_active: false } }],
  ["Latchkey's own", 'PATCH /resources/00000000-0000-0000-0000-000000000000', { as: 'admin', json: {} }],
  ['good', 'DELETE /resources/$resourceId', { as: 'admin' }],
  ['again', 'DELETE /resources/$resourceId', { as: 'admin' }],
  ['good', 'POST /oauth/clients', { as: 'admin', json: APP, keep: { appId: 'id', appSecretId: 'secrets.0.id' } }],
  ['a redirect URI in plain http', 'POST /oauth/clients', { as: 'admin', json: { ...APP, redirect_uris: ['http://app.example.com/cb'] } }],
  ['good', 'GET /oauth/clients?source=registered', { as: 'admin' }],
  ['another source', 'GET /oauth/clients?source=x', { as: 'admin' }],
  ['good', 'GET /oauth/clients/$appId', { as: 'admin' }],
  ['malformed', 'GET /oauth/clients/1', { as: 'admin' }],
  ['good', 'PATCH /oauth/clients/$appId', { as: 'admin', json: { scopes: 'read', is_active: false } }],
  ['good', 'POST /oauth/clients/$appId/secrets', { as: 'admin', json: {} }],
  ['while two are live', 'POST /oauth/clients/$appId/secrets', { as: 'admin', json: {} }],
  ['good', 'DELETE /oauth/clients/$appId/secrets/$appSecretId', { as: 'admin' }],
  ['again', 'DELETE /oauth/clients/$appId/secrets/$appSecretId', { as: 'admin' }],
  ['for a device', 'POST /oauth/clients', { as: 'admin', json: DEVICE_APP, keep: { deviceAppId: 'id' } }],
  ['good', 'POST /oauth/device_authorization', { form: { client_id: '$deviceAppId', scope: 'openid' }, keep: { deviceCode: 'device_code' } }],
  ['an unknown app', 'POST /oauth/device_authorization', { form: { client_id: '$ownerId' } }],
  ['another grant', 'POST /oauth/device_authorization', { client: '$accountId:$robot', form: {} }],
  ['an unknown resource', 'POST /oauth/device_authorization', { form: { client_id: '$deviceAppId', resource: 'https://unknown.example.com' } }],
  ['a scope of no resource', 'POST /oauth/device_authorization', { form: { client_id: '$deviceAppId', scope: 'openid read' } }],
  ['JSON', 'POST /oauth/device_authorization', { json: { client_id: '$deviceAppId' } }],
  ['nobody has answered', 'POST /oauth/token', { form: { grant_type: DEVICE, client_id: '$deviceAppId', device_code: '$deviceCode' } }],
  ['too soon', 'POST /oauth/token', { form: { grant_type: DEVICE, client_id: '$deviceAppId', device_code: '$deviceCode' } }],
  ['an unknown device code', 'POST /oauth/token', { form: { grant_type: DEVICE, client_id: '$deviceAppId', device_code: 'dc_unknown' } }],
  ['good', 'DELETE /oauth/clients/$appId', { as: 'admin' }],
  ['again', 'DELETE /oauth/clients/$appId', { as: 'admin' }],
]

const forwardAuth: Case[] = [
  ['as owner', 'GET /forward-auth', { as: 'owner' }],
  ['as plain', 'GET /forward-auth?scope=read&kind=key', { key: 'plain' }],
  ['as robot', 'POST /forward-auth?kind=any', { as: 'robotToken', text: '{' }],
  ['as admin', 'GET /forward-auth?kind=user&role=admin', { as: 'admin' }],
  ['OPTIONS', 'OPTIONS /forward-auth', { headers: { origin: ORIGIN, 'access-control-request-method': 'POST' } }],
  ['an unknown method', 'PROPFIND /forward-auth', { lines: ['Host: a', 'X-API-Key: $plain'] }],
  ['no credential', 'GET /forward-auth'],
  ['an unknown key', 'GET /forward-auth', UNKNOWN],
  ['both headers', 'GET /forward-auth', { as: 'owner', key: 'plain' }],
  ['a missing scope', 'GET /forward-auth?scope=read,write', { key: 'plain' }],
  ["beyond the user's scopes", 'GET /forward-auth?scope=unheard-of', { as: 'owner' }],
  ['a key for a user', 'GET /forward-auth?kind=user', { key: 'plain' }],
  ['a user for a key', 'GET /forward-auth?kind=key', { as: 'owner' }],
  ['no admin', 'GET /forward-auth?role=admin', { as: 'owner' }],
  ["an admin's key", 'GET /forward-auth?role=admin', { key: 'steward' }],
  ['an unknown member', 'GET /forward-auth?unknown=1', { as: 'owner' }],
  ['a repeated member', 'GET /forward-auth?kind=key&kind=key', { as: 'owner' }],
  ['an empty member', 'GET /forward-auth?scope=', { as: 'owner' }],
  ['an encoded member', 'GET /forward-auth?scope=read%2Cwrite', { as: 'owner' }],
  ['another role', 'GET /forward-auth?role=user', { as: 'owner' }],
  ['another kind', 'GET /forward-auth?kind=robot', { as: 'owner' }],
  ['any', 'GET /forward-auth/any/path?kind=nonsense', { as: 'owner' }],
  ['a policy in the path', 'GET /forward-auth/scope=read&kind=key/a/b', { key: 'plain' }],
  ['a policy alone', 'POST /forward-auth/scope=read&kind=key', { as: 'owner' }],
  ['a malformed policy', 'GET /forward-auth/nonsense/a', { as: 'owner' }],
  ['no policy', 'GET /forward-auth/', { as: 'owner' }],
  ['climbing', 'GET /forward-auth/role=admin/../any', { lines: ['Host: a', 'Authorization: Bearer $owner'] }],
  ['climbing, encoded', 'GET /forward-auth/role=admin/%2e%2e/any', { lines: ['Host: a', 'Authorization: Bearer $owner'] }],
  ['an encoded policy', 'GET /forward-auth/%61ny/a', { lines: ['Host: a', 'Authorization: Bearer $owner'] }],
  ['a malformed Host', 'GET /forward-auth/any/a', { lines: ['Host: a b', 'Authorization: Bearer $owner'] }],
]

const administration: Case[] = [
  ['good', 'GET /users', { as: 'admin' }],
  ['as steward', 'GET /users?query=owner&limit=1', { key: 'steward' }],
  ['a malformed page', 'GET /users?cursor=x', { as: 'admin' }],
  ['beyond the limit', 'GET /users?limit=101', { as: 'admin' }],
  ['good', 'POST /users', { as: 'admin', json: { email: 'made@example.com', password: PASSWORD, role: 'admin', email_verified: true }, keep: { madeId: 'id' } }],
  ['as steward', 'POST /users', { key: 'steward', json: { email: 'helped@example.com' }, keep: { helpedId: 'id' } }],
  ['as steward, an admin', 'POST /users', { key: 'steward', json: { email: 'other@example.com', role: 'admin' } }],
  ['a taken address', 'POST /users', { as: 'admin', json: { email: 'owner@example.com' } }],
  ['no address', 'POST /users', { as: 'admin', json: {} }],
  ['a malformed address', 'POST /users', { as: 'admin', json: { email: 'nobody' } }],
  ['a short password', 'POST /users', { as: 'admin', json: { email: 'short@example.com', password: 'short' } }],
  ['another role', 'POST /users', { as: 'admin', json: { email: 'x@example.com', role: 'root' } }],
  ['good', 'GET /users/$madeId', { as: 'admin' }],
  ['as steward', 'GET /users/$madeId', { key: 'steward' }],
  ['unknown', `GET /users/${UNKNOWN_ID}`, { as: 'admin' }],
  ['malformed', 'GET /users/1', { as: 'admin' }],
  ['good', 'PATCH /users/$helpedId', { as: 'admin', json: { scopes: 'read', email_verified: true, is_active: true } }],
  ['as steward', 'PATCH /users/$helpedId', { key: 'steward', json: { is_active: false } }],
  ['as steward, a role', 'PATCH /users/$helpedId', { key: 'steward', json: { role: 'admin' } }],
  ['as steward, an admin', 'PATCH /users/$madeId', { key: 'steward', json: { is_active: false } }],
  ['as steward, beyond its scopes', 'PATCH /users/$helpedId', { key: 'steward', json: { scopes: 'unheard-of' } }],
  ['a malformed scope', 'PATCH /users/$helpedId', { as: 'admin', json: { scopes: 'Read' } }],
  ['a wrong type', 'PATCH /users/$helpedId', { as: 'admin', json: { is_active: 'no' } }],
  ['unknown', `PATCH /users/${UNKNOWN_ID}`, { as: 'admin', json: {} }],
  ['malformed', 'PATCH /users/1', { as: 'admin', json: {} }],
  ['good', 'POST /users/$helpedId/logout', { as: 'admin' }],
  ['as steward, an admin', 'POST /users/$madeId/logout', { key: 'steward' }],
  ['malformed', 'POST /users/1/logout', { as: 'admin' }],
  ['malformed', 'POST /users/1/password-reset', { as: 'admin' }],
  ['unknown', `POST /users/${UNKNOWN_ID}/password-reset`, { as: 'admin' }],
  ['as steward, an admin', 'DELETE /users/$madeId', { key: 'steward' }],
  ['as steward', 'DELETE /users/$helpedId', { key: 'steward' }],
  ['again', 'DELETE /users/$helpedId', { as: 'admin' }],
  ['malformed', 'DELETE /users/1', { as: 'admin' }],
  ['good', 'DELETE /users/$madeId', { as: 'admin' }],
  ['as admin', 'GET /auth/me', { as: 'admin', keep: { adminId: 'id' } }],
  ['the last admin', 'DELETE /users/$adminId', { as: 'admin' }],
  ['the last admin', 'PATCH /users/$adminId', { as: 'admin', json: { role: 'user' } }],
  ['good', 'GET /audit', { as: 'admin' }],
  ['as steward', 'GET /audit?limit=1&actor=$ownerId&action=user.login&target=$ownerId', { key: 'steward' }],
  ['between two times', 'GET /audit?from=2026-01-01T00:00:00Z&to=2999-01-01T00:00:00Z', { as: 'admin' }],
  ['a malformed time', 'GET /audit?from=yesterday', { as: 'admin' }],
  ['a malformed page', 'GET /audit?cursor=x', { as: 'admin' }],
  ['beyond the limit', 'GET /audit?limit=101', { as: 'admin' }],
]

/** What the console asks for. */
const support: Case[] = [
  ['good', 'GET /auth/activity', { as: 'owner' }],
  ['a malformed page', 'GET /auth/activity?cursor=x', { as: 'owner' }],
  ['good', 'GET /usage', { as: 'owner' }],
  ['of an account', 'GET /usage?service_account_id=$accountId', { as: 'owner' }],
  ['a malformed day', 'GET /usage?from=yesterday', { as: 'owner' }],
  ['by the key', 'POST /keys/lookup', { as: 'admin', json: { key: '$plain' } }],
  ['nothing', 'POST /keys/lookup', { as: 'admin', json: {} }],
  ['good', 'POST /keys/$plainId/check', { as: 'owner', json: { scopes: 'read' } }],
  ['a missing scope', 'POST /keys/$plainId/check', { as: 'owner', json: { scopes: 'write' } }],
  ["another's", 'POST /keys/$plainId/check', { as: 'stranger', json: {} }],
  ['good', 'GET /keys/$plainId/refusals', { as: 'owner' }],
  ["another's", 'GET /keys/$plainId/refusals', { as: 'stranger' }],
  ['counted', 'POST /keys/revoke', { as: 'admin', json: { user_id: '$ownerId', dry_run: true } }],
  ['of nobody in particular', 'POST /keys/revoke', { as: 'admin', json: {} }],
  ...person('guest'),
  ['good', 'GET /users/$guestId/sessions', { as: 'admin', keep: { guestSession: 'items.0.id' } }],
  ['good', 'DELETE /users/$guestId/sessions/$guestSession', { as: 'admin' }],
  ['again', 'DELETE /users/$guestId/sessions/$guestSession', { as: 'admin' }],
  ['good', 'POST /users/$guestId/credits', { as: 'admin', json: { set: 5 } }],
  ['nothing to add', 'POST /users/$guestId/credits', { as: 'admin', json: { add: 0 } }],
  ['as a person', 'POST /users/$guestId/credits', { as: 'owner', json: { add: 5 } }],
  ['no more', 'PATCH /users/$guestId', { as: 'admin', json: { credits: null } }],
  ['good', 'POST /users/$guestId/unlock', { as: 'admin' }],
  ['good', 'DELETE /users/$guestId/mfa', { as: 'admin' }],
  ['without mails', 'POST /users/$guestId/invite', { as: 'admin' }],
  ['a wrong password', 'DELETE /auth/me', { as: 'guest', json: { current_password: 'wrong' } }],
  ['good', 'GET /overview', { as: 'admin' }],
  ['good', 'GET /instance', { as: 'admin' }],
  ['without mails', 'POST /mails/test', { as: 'admin', json: { to: 'admin@example.com' } }],
  ['without mails', 'POST /mails/$ownerId/retry', { as: 'admin' }],
  ['as CSV', 'GET /keys?all=true', { as: 'admin', headers: CSV }],
  ['as CSV', 'GET /audit?limit=1', { as: 'admin', headers: CSV }],
  ['as CSV, of no admin', 'GET /keys', { as: 'owner', headers: CSV }],
  ['good', 'POST /signing-keys/rotate', { as: 'admin' }],
  ['good', 'GET /signing-keys', { as: 'admin', keep: { kid: 'items.1.kid' } }],
  ['good', 'POST /signing-keys/$kid/revoke', { as: 'admin' }],
  ['unknown', 'POST /signing-keys/unknown/revoke', { as: 'admin' }],
]

/** Second factors, and sessions of browsers. A response of a passkey cannot be written here: an authenticator signs it. */
const signIn: Case[] = [
  ...person('careful'),
  ['good', 'GET /auth/mfa', { as: 'careful' }],
  ['good', 'POST /auth/reauthenticate', { as: 'careful', json: { password: PASSWORD } }],
  ['a wrong password', 'POST /auth/reauthenticate', { as: 'careful', json: { password: 'wrong' } }],
  ['no passkey', 'POST /auth/reauthenticate/options', { as: 'careful' }],
  ['good', 'POST /auth/passkeys/options', { as: 'careful' }],
  ['good', 'POST /auth/passkeys/login/options', { json: {} }],
  ['an unknown token', 'POST /auth/passkeys/login/options', { json: { mfa_token: 'mt_unknown' } }],
  ['nothing to remove', 'DELETE /auth/mfa/totp', { as: 'careful' }],
  ['nothing to renew', 'POST /auth/mfa/recovery-codes', { as: 'careful' }],
  ['good', 'POST /auth/mfa/totp', { as: 'careful', keep: { secret: 'secret' } }],
  ['a wrong code', 'POST /auth/mfa/totp/confirm', { as: 'careful', json: { code: 'wrong' } }],
  ['good', 'POST /auth/mfa/totp/confirm', { as: 'careful', authenticator: 'secret', json: { code: '$code' }, keep: { recovery: 'recovery_codes.0', second: 'recovery_codes.1' } }],
  ['the first step', 'POST /auth/login', { json: { email: 'careful@example.com', password: PASSWORD }, keep: { step: 'mfa_token' } }],
  ['a wrong code', 'POST /auth/login/mfa', { json: { mfa_token: '$step', code: 'wrong' } }],
  ['a used code', 'POST /auth/login/mfa', { authenticator: 'secret', json: { mfa_token: '$step', code: '$code' } }],
  ['good', 'POST /auth/login/mfa', { json: { mfa_token: '$step', recovery_code: '$recovery' } , keep: { careful: 'access_token' } }],
  ['again', 'POST /auth/login/mfa', { json: { mfa_token: '$step', recovery_code: '$recovery' } }],
  ['from no page', 'POST /session', { json: { email: 'careful@example.com', password: PASSWORD } }],
  ['the first step', 'POST /session', { ...OWN_PAGE, json: { email: 'careful@example.com', password: PASSWORD }, keep: { step: 'mfa_token' } }],
  ['good', 'POST /session/mfa', { ...OWN_PAGE, json: { mfa_token: '$step', recovery_code: '$second' }, keepCookie: 'cookie' }],
  ['good', 'POST /session/token', { cookie: 'cookie', json: {}, keep: { careful: 'access_token' } }],
  ['no cookie', 'POST /session/token', { ...OWN_PAGE, json: {} }],
  ['good', 'POST /auth/mfa/recovery-codes', { as: 'careful' }],
  ['good', 'DELETE /auth/mfa/totp', { as: 'careful' }],
  ['good', 'POST /session/password', { cookie: 'cookie', json: { current_password: PASSWORD, new_password: 'another-horse-battery' }, keepCookie: 'cookie' }],
  ['a wrong password', 'POST /session', { ...OWN_PAGE, json: { email: 'careful@example.com', password: PASSWORD } }],
  ['good', 'POST /session', { ...OWN_PAGE, json: { email: 'careful@example.com', password: 'another-horse-battery' }, keepCookie: 'cookie' }],
  ['good', 'DELETE /session', { cookie: 'cookie' }],
  ['after the end', 'POST /session/token', { cookie: 'cookie', json: {} }],
  ['from another site', 'DELETE /session', { headers: { 'sec-fetch-site': 'cross-site' } }],
]

/** What sends mails. No mail server listens: a mail waits, and its request succeeds. */
const mail: Case[] = [
  ['good', 'POST /oauth/register', { json: { redirect_uris: ['https://app.example.com/callback'] } }],
  ['admin', 'POST /auth/login', { json: ADMIN, keep: { admin: 'access_token' } }],
  ...['owner', 'owner'].map((name, index): Case => [index ? 'a taken address' : 'good', 'POST /auth/signup', { json: { email: `${name}@example.com`, password: PASSWORD } }]),
  ['owner', 'POST /auth/login', { json: { email: 'owner@example.com', password: PASSWORD }, keep: { owner: 'access_token' } }],
  ['good', 'POST /auth/forgot-password', { json: { email: 'owner@example.com' } }],
  ['an unknown address', 'POST /auth/forgot-password', { json: { email: 'nobody@example.com' } }],
  ['good', 'POST /auth/verify-email/resend', { json: { email: 'owner@example.com' } }],
  ['unknown', 'POST /auth/verify-email', { json: { token: 'et_unknown' } }],
  ['good', 'POST /auth/email', { as: 'owner', json: { email: 'moved@example.com', current_password: PASSWORD } }],
  ['a wrong password', 'POST /auth/email', { as: 'owner', json: { email: 'moved@example.com', current_password: 'wrong' } }],
  ['invited', 'POST /users', { as: 'admin', json: { email: 'guest@example.com', invite: true }, keep: { guestId: 'id' } }],
  ['good', 'POST /users/$guestId/invite', { as: 'admin' }],
  ['mailed', 'POST /users/$guestId/password-reset', { as: 'admin', json: { send: true } }],
  ['good', 'POST /mails/test', { as: 'admin', json: { to: 'admin@example.com' }, keep: { mailId: 'id' } }],
  ['no address', 'POST /mails/test', { as: 'admin', json: { to: 'nowhere' } }],
  ['good', 'POST /mails/$mailId/retry', { as: 'admin' }],
  ['unknown', 'POST /mails/$guestId/retry', { as: 'admin' }],
  ['waiting', 'GET /mails?status=waiting', { as: 'admin' }],
  ['good', 'DELETE /auth/me', { as: 'owner', json: { current_password: PASSWORD } }],
]

/** Numbers at the bounds of a page, on every list. */
const bounds: Case[] = ['/auth/sessions', '/keys', '/keys/list', '/service-accounts', '/users', '/audit', '/auth/activity', '/mails'].flatMap((list) =>
  ['0', '-1', '1', '100', '101', '1000', '1001', '1e9', '1.5', 'x', ''].map((limit): Case => ['at the bounds', `GET ${list}?limit=${limit}`, { as: 'admin' }]),
)

/** The default rate limits by address. Each limit has a client address that no other case uses. */
const limits: Case[] = [
  ['one more than the limit', 'POST /auth/signup', { json: {}, from: '203.0.113.1', times: 6 }],
  ['one more than the limit', 'POST /auth/login', { json: {}, from: '203.0.113.2', times: 11 }],
  ['the limit of /auth/login', 'POST /oauth/token', { form: { grant_type: 'password' }, from: '203.0.113.2' }],
  ['one more than the limit', 'POST /auth/refresh', { json: {}, from: '203.0.113.3', times: 61 }],
  ['the limit of /auth/refresh', 'POST /oauth/token', { form: { grant_type: 'refresh_token' }, from: '203.0.113.3' }],
  ['one more than the limit', 'POST /keys/create', { as: 'owner', json: [], from: '203.0.113.4', times: 61 }],
  ['the limit of /keys/create', 'POST /keys', { as: 'owner', json: {}, from: '203.0.113.4' }],
  ['one more unknown key than the limit', 'GET /auth/me', { ...UNKNOWN, from: '203.0.113.5', times: 61 }],
  ['beyond the limit of unknown credentials', 'GET /protected/any', { from: '203.0.113.5' }],
  ['beyond the limit of unknown credentials', 'POST /keys/verify', { ...UNKNOWN, from: '203.0.113.5' }],
  ['beyond the limit of unknown credentials', 'GET /forward-auth', { ...UNKNOWN, from: '203.0.113.5' }],
  ['beyond the limit of unknown credentials', 'POST /oauth/introspect', { form: { token: 'x' }, from: '203.0.113.5' }],
  ['beyond the limit of unknown credentials', 'POST /oauth/token', { client: 'x:y', form: { grant_type: 'client_credentials' }, from: '203.0.113.5' }],
  ['a good one beyond the limit of unknown credentials', 'GET /auth/me', { as: 'owner', from: '203.0.113.5' }],
  ['one more than the limit', 'GET /', { from: '203.0.113.6', times: 601 }],
  ...Object.keys(GUARDED).map((route): Case => ['beyond the limit of others', route, { as: 'admin', from: '203.0.113.6' }]),
  ...`
  GET /health  GET /livez  GET /readyz  GET /docs  GET /openapi.json  GET /unknown  PUT /keys
  GET /.well-known/jwks.json  GET /.well-known/oauth-authorization-server  POST /auth/logout  POST /auth/password-reset
  POST /oauth/token  POST /oauth/introspect  POST /oauth/revoke  GET /forward-auth?unknown=1`
    .trim()
    .split(/\s{2,}/)
    .map((route): Case => ['beyond the limit of others', route, { from: '203.0.113.6' }]),
  ['as verifier, beyond the limit of others', 'POST /keys/verify', { key: 'verifier', json: { key: '$plain' }, from: '203.0.113.6' }],
  ['as plain, beyond the limit of others', 'GET /forward-auth', { key: 'plain', from: '203.0.113.6' }],
]

/** The effect of other settings. */
const closed: Case[] = [
  ['admin', 'POST /auth/login', { json: ADMIN, keep: { admin: 'access_token', adminRefresh: 'refresh_token' } }],
  ['signup is closed', 'POST /auth/signup', { json: { email: 'owner@example.com', password: PASSWORD } }],
  ['the grant is off', 'POST /oauth/token', { form: { grant_type: 'password', username: ADMIN.email, password: PASSWORD } }],
  ['in the query', 'POST /auth/refresh?refresh_token=$adminRefresh'],
  ['HS256', 'GET /.well-known/jwks.json'],
  ['off', 'GET /docs'],
  ['off', 'GET /docs/start.js'],
  ['on', 'GET /openapi.json'],
  ['off', 'GET /metrics'],
  ['on its own port', 'GET /metrics', { onMetricsPort: true }],
  ['beyond the longest expiry', 'POST /keys', { as: 'admin', json: { expires_in_days: 31 } }],
  ['good', 'POST /keys', { as: 'admin', json: {} }],
  ['beyond the quota', 'POST /keys', { as: 'admin', json: {} }],
  ['the last admin signs out', 'POST /auth/logout-all', { as: 'admin' }],
]

/** The built-in client of the documentation, which gets a code without a page. */
const DOCS_REDIRECT = `${SETTINGS.PUBLIC_URL}/docs/oauth2-redirect`
const askedWith = (challenge: string) =>
  `client_id=latchkey-docs&redirect_uri=${encodeURIComponent(DOCS_REDIRECT)}&response_type=code&code_challenge=${challenge}&code_challenge_method=S256`
const ASKED = askedWith('a'.repeat(43))
const VERIFIER = 'v'.repeat(43)
const SIGN_IN = `${askedWith(createHash('sha256').update(VERIFIER).digest('base64url'))}&scope=openid`

/** What people allow apps. */
const allowing: Case[] = [
  ['an app, and nobody is signed in', `GET /oauth/authorize?${ASKED}`],
  ['an unknown app', 'GET /oauth/authorize?client_id=unknown'],
  ['posted', 'POST /oauth/authorize', { form: { client_id: 'unknown' } }],
  ['nothing to answer', 'POST /oauth/consent', { ...OWN_PAGE, form: { request: UNKNOWN_ID, decision: 'allow' } }],
  ['for an app', 'POST /session', { ...OWN_PAGE, json: { email: 'owner@example.com', password: PASSWORD }, keepCookie: 'ownerCookie' }],
  ['an app', `GET /oauth/authorize?${ASKED}`, { cookie: 'ownerCookie' }],
  ['for sign-in', `GET /oauth/authorize?${SIGN_IN}`, { cookie: 'ownerCookie', keepFromLocation: { appCode: 'code' } }],
  ['authorization_code', 'POST /oauth/token', { form: { grant_type: 'authorization_code', client_id: 'latchkey-docs', code: '$appCode', redirect_uri: DOCS_REDIRECT, code_verifier: VERIFIER }, keep: { appToken: 'access_token' } }],
  ['good', 'GET /oauth/userinfo', { as: 'appToken' }],
  ['good', 'POST /oauth/userinfo', { as: 'appToken' }],
  ['no credential', 'GET /oauth/userinfo'],
  ["a person's own token", 'GET /oauth/userinfo', { as: 'owner' }],
  ['authorization_code, unknown', 'POST /oauth/token', { form: { grant_type: 'authorization_code', client_id: 'latchkey-docs', code: 'unknown', redirect_uri: 'https://app.example.com', code_verifier: 'a'.repeat(43) } }],
  ['authorization_code, no client', 'POST /oauth/token', { form: { grant_type: 'authorization_code', code: 'unknown', redirect_uri: 'https://app.example.com', code_verifier: 'a'.repeat(43) } }],
  ['good', 'GET /auth/grants', { as: 'owner', keep: { grant: 'items.0.id' } }],
  ['good', 'GET /users/$ownerId/grants', { as: 'admin' }],
  ["another's", 'DELETE /auth/grants/$grant', { as: 'stranger' }],
  ['good', 'DELETE /auth/grants/$grant?created=true', { as: 'owner' }],
  ['again', 'DELETE /auth/grants/$grant', { as: 'owner' }],
  ['the app again', `GET /oauth/authorize?${ASKED}`, { cookie: 'ownerCookie' }],
  ['the grant of a user', 'GET /users/$ownerId/grants', { as: 'admin', keep: { grant: 'items.0.id' } }],
  ['good', 'DELETE /users/$ownerId/grants/$grant', { as: 'admin' }],
]

export const scripts: readonly Script[] = [
  {
    name: 'open',
    settings: { ...SETTINGS, RATE_LIMITS: 'off', CORS_ORIGINS: ORIGIN, METRICS_TOKEN },
    cases: [
      ...scene,
      ...refusals,
      ...badBodies,
      ...otherMethods,
      ...service,
      ...anyRequest,
      ...users,
      ...keys,
      ...limitedKeys,
      ...verification,
      ...examples,
      ...oauth,
      ...apps,
      ...allowing,
      ...forwardAuth,
      ...portal,
      ...serviceAccounts,
      ...administration,
      ...bounds,
      ...signIn,
      // Last: it revokes the key that signed the tokens before.
      ...support,
    ],
  },
  {
    name: 'mail',
    settings: { ...SETTINGS, RATE_LIMITS: 'off', SMTP_URL: 'smtp://127.0.0.1:1', MAIL_FROM: 'auth@example.com', OAUTH_REGISTRATION: 'open' },
    cases: mail,
  },
  { name: 'limits', settings: SETTINGS, cases: [...scene, ...limits] },
  {
    name: 'closed',
    settings: {
      ...SETTINGS,
      RATE_LIMITS: 'off',
      SIGNUP: 'closed',
      OAUTH_PASSWORD_GRANT: 'false',
      REFRESH_TOKEN_IN_QUERY: 'true',
      ALGORITHM: 'HS256',
      DOCS: 'false',
      API_KEYS_PER_OWNER: '1',
      API_KEY_MAX_EXPIRE_DAYS: '30',
    },
    cases: closed,
  },
]
