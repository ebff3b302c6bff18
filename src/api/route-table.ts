import type { AnyElysia } from 'elysia'
import type { RateLimitName } from '../config/rate-limits.ts'
import { MAX_REPORT_BYTES } from '../core/verifier/model.ts'
import {
  AUDIT_READ,
  KEYS_READ,
  KEYS_WRITE,
  PORTAL,
  REGION,
  SERVICE_ACCOUNTS_READ,
  SERVICE_ACCOUNTS_WRITE,
  SUPPORT,
  USERS_READ,
  USERS_WRITE,
  VERIFY,
} from '../lib/scopes.ts'
import type { Need } from './auth.ts'
import type { BrowserBody } from './browser.ts'
import { createRouter, pathOf, securityOf, withoutSlash } from './elysia.ts'

const MAX_IMPORT_BYTES = 8 * 1024 * 1024

/** A route that asks for no credential. It reads no JSON body. */
const PUBLIC = {}
/** A route that asks for no credential, and reads a JSON body. */
const PUBLIC_JSON = { open: true } as const
/** An OAuth endpoint reads a form, and authenticates its caller itself: see `routes/oauth.ts`. */
const OAUTH = {}
/** What the portal shows too. */
const KEYS_SHOW = { anyoneOrPortal: { scopes: [KEYS_READ], support: true, portal: 'read' } } as const
const KEYS_CHANGE = { anyone: { scopes: [KEYS_WRITE], recent: 'for keys' } } as const
const KEYS_CHANGE_JSON = { anyone: { scopes: [KEYS_WRITE], recent: 'for keys', json: true } } as const
/** To name a label takes a scope, also where it is null. */
const KEY_MAKE = { ...KEYS_CHANGE_JSON.anyone, json: { nulls: ['external_id', 'metadata'] } } as const
const ACCOUNTS_CHANGE = {
  anyone: { keyScopes: [SERVICE_ACCOUNTS_WRITE], whole: true, recent: 'for keys' },
} as const
const ACCOUNTS_CHANGE_JSON = { anyone: { ...ACCOUNTS_CHANGE.anyone, json: true } } as const
const WHOLE_USER = { user: { whole: true } } as const
/** A person's own second factors, with the token of a whole session; also before a factor that is due is set up. */
const OWN_FACTORS = { user: { whole: true, enrolling: true } } as const
/** The same changes, of which support may make some. */
const KEYS_SUPPORT = { anyone: { ...KEYS_CHANGE.anyone, support: true } } as const
const KEYS_SUPPORT_JSON = { anyone: { ...KEYS_CHANGE_JSON.anyone, support: true } } as const
const ACCOUNTS_SUPPORT_JSON = { anyone: { ...ACCOUNTS_CHANGE_JSON.anyone, support: true } } as const
const FACTORS_CHANGE = { user: { whole: true, enrolling: true, recent: true } } as const
const FACTORS_CHANGE_JSON = { user: { whole: true, enrolling: true, recent: true, json: true } } as const

/**
 * Every route of the OpenAPI document, and what it asks of its caller, in the macros of `auth.ts`. The routes themselves are
 * in `routes/`; each one that asks for anything spreads its entry. `tests/api/route-table.test.ts` holds that no route is
 * missing here, and that each one asks for what its entry says.
 *
 * Not in this table: `/forward-auth`, which Bun routes and whose callers a policy decides on (`forward-auth/`);
 * `/metrics`, which asks for METRICS_TOKEN; and the pages that are no API, such as `/docs`, which are public.
 */
export const NEEDS = {
  'GET /': PUBLIC,
  'GET /health': PUBLIC,
  'GET /livez': PUBLIC,
  'GET /readyz': PUBLIC,

  'POST /auth/signup': PUBLIC_JSON,
  'POST /auth/login': PUBLIC_JSON,
  'POST /auth/refresh': PUBLIC_JSON,
  'POST /auth/logout': PUBLIC_JSON,
  'POST /auth/password-reset': PUBLIC_JSON,
  'POST /auth/forgot-password': PUBLIC_JSON,
  'POST /auth/verify-email': PUBLIC_JSON,
  'POST /auth/verify-email/resend': PUBLIC_JSON,
  'POST /auth/email': { user: { whole: true, json: true } },
  'DELETE /auth/me': { user: { whole: true, json: true } },
  'GET /auth/activity': WHOLE_USER,
  'GET /auth/me': { anyone: { enrolling: true } },
  'POST /auth/password': { user: { json: true } },
  'POST /auth/logout-all': OWN_FACTORS,
  'GET /auth/sessions': WHOLE_USER,
  'DELETE /auth/sessions/:id': WHOLE_USER,

  'GET /auth/grants': WHOLE_USER,
  'DELETE /auth/grants/:id': WHOLE_USER,

  'POST /auth/login/mfa': PUBLIC_JSON,
  'GET /auth/mfa': OWN_FACTORS,
  'POST /auth/mfa/totp': FACTORS_CHANGE,
  'POST /auth/mfa/totp/confirm': FACTORS_CHANGE_JSON,
  'DELETE /auth/mfa/totp': FACTORS_CHANGE,
  'POST /auth/mfa/recovery-codes': FACTORS_CHANGE,
  'POST /auth/reauthenticate/options': { user: { enrolling: true } },
  'POST /auth/reauthenticate': { user: { enrolling: true, json: true } },
  'POST /auth/passkeys/login/options': PUBLIC_JSON,
  'POST /auth/passkeys/login': PUBLIC_JSON,
  'POST /auth/passkeys/options': FACTORS_CHANGE,
  'POST /auth/passkeys': FACTORS_CHANGE_JSON,
  'PATCH /auth/passkeys/:id': FACTORS_CHANGE_JSON,
  'DELETE /auth/passkeys/:id': FACTORS_CHANGE,

  'POST /session': { ownOrigin: 'json' },
  'DELETE /session': { ownOrigin: 'none' },
  'POST /session/mfa': { ownOrigin: 'json' },
  'POST /session/passkey': { ownOrigin: 'json' },
  'POST /session/token': { browser: 'json' },
  'POST /session/password': { browser: 'json' },

  'POST /keys/create': { anyone: KEY_MAKE },
  'POST /keys': { anyoneOrPortal: { ...KEY_MAKE, portal: 'create' } },
  'GET /keys/list': { anyone: { scopes: [KEYS_READ], support: true } },
  'GET /keys': KEYS_SHOW,
  'GET /keys/:id': KEYS_SHOW,
  'PATCH /keys/:id': { anyone: { ...KEYS_SUPPORT_JSON.anyone, labels: true } },
  'POST /keys/:id/rotate': { anyoneOrPortal: { ...KEYS_CHANGE_JSON.anyone, portal: 'rotate' } },
  'POST /keys/:id/credits': KEYS_CHANGE_JSON,
  'DELETE /keys/:id/secrets/:secret': KEYS_CHANGE,
  'GET /keys/:id/usage': KEYS_SHOW,
  'GET /keys/:id/refusals': { anyone: { scopes: [KEYS_READ], support: true } },
  'GET /usage': KEYS_SHOW,
  'DELETE /keys/revoke/:id': KEYS_SUPPORT,
  'DELETE /keys/:id': { anyoneOrPortal: { ...KEYS_SUPPORT.anyone, portal: 'revoke' } },
  'DELETE /keys/delete/:id': { user: { scopes: [KEYS_WRITE], recent: 'for keys' } },
  'DELETE /keys/self': { anyKey: true },
  // A person's own keys are listed to them: looking up a secret is for those who read everybody's.
  'POST /keys/lookup': { anyone: { scopes: [SUPPORT], keyScopes: [KEYS_READ], support: true, json: true } },
  'POST /keys/revoke': KEYS_SUPPORT_JSON,
  'POST /keys/:id/check': { anyone: { scopes: [KEYS_READ], support: true, json: true } },
  'POST /keys/import': { admin: { json: { maxBytes: MAX_IMPORT_BYTES }, recent: 'for keys' } },
  'POST /keys/verify': { anyone: { scopes: [VERIFY], json: true } },
  'POST /keys/verify-batch': { anyone: { scopes: [VERIFY], json: true } },
  'POST /verify': { anyone: { scopes: [VERIFY], json: true } },

  'GET /region/status': { anyone: { scopes: [REGION] } },
  'POST /region/verify': { anyone: { scopes: [REGION], json: true } },
  'POST /usage/report': { anyone: { scopes: [REGION], json: { maxBytes: MAX_REPORT_BYTES } } },

  // With REAUTHENTICATE_FOR_KEYS a person proves themselves for keys, and so for a session that makes keys.
  'POST /portal/sessions': { adminOrKey: { keyScopes: [PORTAL], recent: 'for keys', json: true } },
  'DELETE /portal/sessions/:id': { anyone: { whole: true } },
  'POST /portal/exchange': PUBLIC_JSON,
  'DELETE /portal/session': { portal: true },

  'POST /service-accounts': ACCOUNTS_CHANGE_JSON,
  // A person makes accounts by POST: to say which account is a customer's takes an admin, or a key that an admin gave the scope.
  'PUT /service-accounts': {
    anyone: { scopes: [SERVICE_ACCOUNTS_WRITE], recent: 'for keys', json: true },
  },
  'GET /service-accounts': { anyone: { keyScopes: [SERVICE_ACCOUNTS_READ], whole: true, support: true } },
  'GET /service-accounts/:id': { anyone: { keyScopes: [SERVICE_ACCOUNTS_READ], whole: true, support: true } },
  'PATCH /service-accounts/:id': ACCOUNTS_SUPPORT_JSON,
  'DELETE /service-accounts/:id': ACCOUNTS_CHANGE,
  'POST /service-accounts/:id/credits': ACCOUNTS_CHANGE_JSON,
  'PUT /service-accounts/:id/managers': ACCOUNTS_CHANGE_JSON,
  'DELETE /service-accounts/:id/managers/:managerId': ACCOUNTS_CHANGE,

  'GET /users': { anyone: { scopes: [USERS_READ], support: true } },
  'POST /users': { anyone: { scopes: [USERS_WRITE], json: true } },
  'GET /users/:id': { anyone: { scopes: [USERS_READ], support: true } },
  'PATCH /users/:id': { anyone: { scopes: [USERS_WRITE], support: true, json: true } },
  'DELETE /users/:id': { anyone: { scopes: [USERS_WRITE], recent: true } },
  'POST /users/:id/credits': { admin: { json: true } },
  'POST /users/:id/logout': { anyone: { scopes: [USERS_WRITE], support: true } },
  // The token of a reset gives its holder the user's account: an admin alone may have one made, and no key.
  'POST /users/:id/password-reset': { admin: { json: true, recent: true } },
  'POST /users/:id/invite': { admin: { recent: true } },
  'GET /users/:id/password-resets': { admin: true },
  'DELETE /users/:id/password-resets/:reset_id': { admin: true },
  'DELETE /users/:id/mfa': { admin: { recent: true } },
  'POST /users/:id/unlock': { admin: { recent: true } },
  'GET /users/:id/sessions': { anyone: { scopes: [SUPPORT] } },
  'DELETE /users/:id/sessions/:sid': { anyone: { scopes: [SUPPORT] } },
  'GET /users/:id/grants': { admin: true },
  'DELETE /users/:id/grants/:grant_id': { admin: true },
  'GET /signing-keys': { admin: true },
  'POST /signing-keys/rotate': { admin: { recent: true } },
  'POST /signing-keys/:kid/revoke': { admin: { recent: true } },
  'GET /mails': { admin: true },
  'POST /mails/test': { admin: { json: true } },
  'POST /mails/:id/retry': { admin: true },
  'GET /overview': { anyone: { scopes: [SUPPORT] } },
  'GET /instance': { admin: true },
  'GET /audit': { anyone: { scopes: [AUDIT_READ], support: true } },

  'POST /oauth/token': OAUTH,
  'POST /oauth/device_authorization': OAUTH,
  'POST /oauth/register': OAUTH,
  'POST /oauth/introspect': OAUTH,
  'POST /oauth/revoke': OAUTH,
  'POST /resources': { admin: { json: true, recent: true } },
  'GET /resources': { admin: true },
  'GET /resources/:id': { admin: true },
  'PATCH /resources/:id': { admin: { json: true, recent: true } },
  'DELETE /resources/:id': { admin: { recent: true } },
  'POST /oauth/clients': { admin: { json: true, recent: true } },
  'GET /oauth/clients': { admin: true },
  'GET /oauth/clients/:id': { admin: true },
  'PATCH /oauth/clients/:id': { admin: { json: true, recent: true } },
  'DELETE /oauth/clients/:id': { admin: { recent: true } },
  'POST /oauth/clients/:id/secrets': { admin: { json: true, recent: true } },
  'DELETE /oauth/clients/:id/secrets/:secret_id': { admin: { recent: true } },
  'GET /.well-known/jwks.json': PUBLIC,
  'GET /.well-known/oauth-authorization-server': PUBLIC,
  'GET /.well-known/oauth-protected-resource/:name': PUBLIC,
  'GET /.well-known/openid-configuration': PUBLIC,
  'GET /oauth/userinfo': PUBLIC,
  'POST /oauth/userinfo': PUBLIC,

  'GET /protected/user-only': { user: true },
  'GET /protected/service-only': { key: { scopes: ['read'] } },
  'GET /protected/any': { anyone: true },
  'GET /protected/admin': { admin: true },
} as const satisfies Record<string, Partial<Record<Macro, Need>> | Simple>

/** The macros that take a `Need`. */
type Macro = 'user' | 'key' | 'anyone' | 'anyoneOrPortal' | 'admin' | 'adminOrKey'
/** The macros that take no `Need`. */
type Simple = { anyKey?: true; portal?: true; open?: true; ownOrigin?: BrowserBody; browser?: BrowserBody }

/** The routes with a rate limit of their own, or with none (null). Any other route that is limited has `other`. */
const LIMITS = new Map<string, RateLimitName | null>([
  ['POST /auth/signup', 'signup'],
  ['POST /auth/login', 'login'],
  ['POST /auth/login/mfa', 'login'],
  ['POST /auth/passkeys/login', 'login'],
  ['POST /auth/passkeys/login/options', 'login'],
  ['POST /auth/refresh', 'refresh'],
  ['POST /auth/password', 'password'],
  // It takes the password too, which must not be guessed here.
  ['DELETE /auth/me', 'password'],
  ['POST /auth/reauthenticate', 'password'],
  ['POST /auth/reauthenticate/options', 'password'],
  ['POST /auth/password-reset', 'mail'],
  ['POST /auth/forgot-password', 'mail'],
  ['POST /auth/verify-email', 'mail'],
  ['POST /auth/verify-email/resend', 'mail'],
  ['POST /auth/email', 'mail'],
  ['POST /mails/test', 'mail'],
  ['POST /session', 'login'],
  ['POST /session/mfa', 'login'],
  ['POST /session/passkey', 'login'],
  ['POST /session/token', 'refresh'],
  ['POST /session/password', 'password'],
  ['POST /login', 'login'],
  ['POST /login/verify', 'login'],
  ['POST /login/enrol', 'login'],
  ['POST /signup', 'signup'],
  ['POST /verify-email', 'mail'],
  ['POST /forgot-password', 'mail'],
  ['POST /reset-password', 'mail'],
  ['POST /setup', 'mail'],
  ['POST /oauth/register', 'register'],
  ['GET /oauth/authorize', 'authorize'],
  ['POST /oauth/authorize', 'authorize'],
  ['POST /oauth/consent', 'authorize'],
  ['POST /oauth/device_authorization', 'device_authorization'],
  ['GET /oauth/logout', 'authorize'],
  ['POST /oauth/logout', 'authorize'],
  ['POST /keys/create', 'create_key'],
  ['POST /keys', 'create_key'],
  // Only a failed exchange counts, as an unknown credential.
  ['POST /portal/exchange', null],
  // Every credential that a service checks would count against that service's address.
  ['POST /oauth/introspect', null],
])

const ACCOUNTS = '/service-accounts/'

/** The rate limit of a request's route; null: none, unless the request fails. */
export function limitOf(request: Request): RateLimitName | null {
  const path = withoutSlash(pathOf(request))
  if (request.method === 'PUT' && path.startsWith(ACCOUNTS) && path.endsWith('/managers')) return 'create_key'
  const limit = LIMITS.get(`${request.method} ${path}`)
  return limit === undefined ? 'other' : limit
}

/** What the outer layers ask about the finished app's routes. */
export type RouteTable = {
  /** The methods that a path takes, for `Allow`; none for a path that does not exist. */
  methodsOf(path: string): string[]
  /** Whether the route that a request goes to needs a credential: so the document says of it. */
  isGuarded(request: Request): boolean
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT']

/** Describes the routes from outside, before Elysia has chosen one (docs/decisions/0008). */
export function createRouteTable(routes: AnyElysia['routes']): RouteTable {
  const guarded = createRouter(routes, (route) => {
    const alternatives = securityOf(route)
    return alternatives.length > 0 && alternatives.every((each) => Object.keys(each).length > 0)
  })

  return {
    methodsOf(path) {
      const matches = METHODS.filter((method) => guarded.find(method, path) !== null)
      return matches.includes('GET') && !matches.includes('HEAD') ? [...matches, 'HEAD'] : matches
    },
    isGuarded(request) {
      return guarded.find(request.method === 'HEAD' ? 'GET' : request.method, pathOf(request)) ?? false
    },
  }
}
