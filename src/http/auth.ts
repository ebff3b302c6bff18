import { Elysia } from 'elysia'
import type { Context } from '../context.ts'
import { recordEvent } from '../features/audit/service.ts'
import type { KeyPrincipal, Principal, UserPrincipal } from '../features/verify/principal.ts'
import { recallCredential, verifyCredential } from '../features/verify/service.ts'
import { fail } from '../lib/errors.ts'
import { covers } from '../lib/scopes.ts'
import { readJson } from './body.ts'
import type { Limits } from './rate-limit.ts'
import { originOf, type RequestState, stated } from './request-state.ts'

/** An admin, by their own access token. */
export type AdminPrincipal = UserPrincipal & { role: 'admin' }

const isUser = (principal: Principal): principal is UserPrincipal => principal.kind === 'user'
const isKey = (principal: Principal): principal is KeyPrincipal => principal.kind === 'key'
const isAnyone = (_: Principal): _ is Principal => true
const isAdmin = (principal: Principal): principal is AdminPrincipal =>
  isUser(principal) && principal.role === 'admin'

/** The plugin that a feature's routes `use`: the request's state, and the macros. */
export type Guard = ReturnType<typeof auth>

/** What a route asks for: `true`, or the scopes that are all needed, of everybody or of keys alone. */
type Need = true | { scopes: readonly string[] } | { keyScopes: readonly string[] }

/**
 * One macro a kind of principal: `user`, `key`, `anyone`, `admin`. A route that names one has `auth` of exactly that
 * type; a route that names none has no `auth`. The credential is verified before the body is read as anything.
 */
export function auth(context: Context, limits: Limits) {
  const requires =
    <P extends Principal>(allow: (principal: Principal) => principal is P) =>
    (need: Need) => {
      const ofUsers = need !== true && 'scopes' in need ? need.scopes : []
      const ofKeys = need !== true && 'keyScopes' in need ? need.keyScopes : ofUsers
      const authorise = async (request: Request, state: RequestState) => {
        state.principal ??= await authenticate(context, limits, request, state)
        const { principal } = state
        const scopes = principal.kind === 'key' ? ofKeys : ofUsers
        if (!allow(principal) || !scopes.every((scope) => covers(principal.grants, scope))) {
          await deny(context, limits, state, principal, allow, scopes)
        }
      }
      return {
        detail: { security: [{ bearer: [...ofKeys] }] },
        // Elysia parses before it transforms, and transforms before it validates: each is the first to see some request.
        parse: async ({ request, state }: Seen) => {
          await authorise(request, state)
          return readJson(request)
        },
        transform: async ({ request, state }: Seen) => {
          if (state.principal === null) await authorise(request, state)
        },
        resolve: ({ state }: Seen) => ({ auth: state.principal as P }),
      }
    }

  return new Elysia({ name: 'auth' }).use(stated).macro({
    user: requires(isUser),
    key: requires(isKey),
    anyone: requires(isAnyone),
    admin: requires(isAdmin),
    /** A JSON body that needs no credential. */
    open: (_: true) => ({ parse: ({ request }: Seen) => readJson(request) }),
  })
}

type Seen = { request: Request; state: RequestState }

/** The principal of the request's one credential. Failures are counted by address; a good credential never is. */
async function authenticate(
  context: Context,
  limits: Limits,
  request: Request,
  state: RequestState,
): Promise<Principal> {
  const token = readCredential(request)
  if (token !== null) {
    const verdict = recallCredential(context, token) ?? (await verifyCredential(context, token))
    if (verdict.kind !== 'refused') return verdict
  }
  await limits.consume('unknown_credential', state)
  fail(token === null ? 'missing_credential' : 'invalid_token')
}

const BEARER = /^bearer +(\S+) *$/i

/**
 * The credential that a request carries: null for none, an unusable one as an empty string.
 * @throws Problem ambiguous_credentials for two, or a repeated header (which arrives joined by a comma)
 */
export function readCredential(request: Request): string | null {
  const authorization = request.headers.get('authorization')
  const apiKey = request.headers.get('x-api-key')
  if (authorization === null && apiKey === null) return null
  if (authorization !== null && apiKey !== null) fail('ambiguous_credentials')
  if ((authorization ?? apiKey)?.includes(',')) fail('ambiguous_credentials')
  if (apiKey !== null) return apiKey.startsWith('eyJ') ? '' : apiKey
  return BEARER.exec(authorization ?? '')?.[1] ?? ''
}

/** @throws Problem wrong_credential_kind, forbidden or insufficient_scope, with an audit row; rate_limited beyond the limit */
async function deny(
  context: Context,
  limits: Limits,
  state: RequestState,
  principal: Principal,
  allow: (p: Principal) => boolean,
  scopes: readonly string[],
): Promise<never> {
  await limits.consume('other', state)
  const missing = scopes.filter((scope) => !covers(principal.grants, scope))
  await recordEvent(context.db, context, originOf(state), {
    action: 'access.denied',
    outcome: 'refused',
    details: { scopes: missing },
  })
  if (!allow(principal)) fail(allow === isAdmin && isUser(principal) ? 'forbidden' : 'wrong_credential_kind')
  fail('insufficient_scope', {
    detail: `Missing required scope: ${missing.join(' ')}`,
    headers: {
      'WWW-Authenticate': `Bearer realm="latchkey", error="insufficient_scope", scope="${missing.join(' ')}"`,
    },
  })
}
