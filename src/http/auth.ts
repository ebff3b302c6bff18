import { Elysia } from 'elysia'
import type { Context } from '../context.ts'
import type { KeyPrincipal, Principal, UserPrincipal } from '../features/verify/principal.ts'
import { fail } from '../lib/errors.ts'
import { readJson } from './body.ts'
import { authenticate } from './credential.ts'
import { permit } from './permission.ts'
import type { Limits } from './rate-limit.ts'
import { type RequestState, stated } from './request-state.ts'

/** An admin, by their own access token. */
export type AdminPrincipal = UserPrincipal & { role: 'admin' }

const isUser = (principal: Principal): principal is UserPrincipal => principal.kind === 'user'
const isKey = (principal: Principal): principal is KeyPrincipal => principal.kind === 'key'
const isAnyone = (_: Principal): _ is Principal => true
const isAdmin = (principal: Principal): principal is AdminPrincipal =>
  isUser(principal) && principal.role === 'admin'

/** The plugin that a feature's routes `use`: the request's state, and the macros. */
export type Guard = ReturnType<typeof auth>

/** What a route asks for: `true`, or the scopes that are all needed, of everybody or of keys alone; a larger body. */
type Need = true | { scopes: readonly string[] } | { keyScopes: readonly string[] } | { maxBodyBytes: number }

/** Whether a good credential may go on here; a promise where that has to be waited for. */
type Check = (state: RequestState, principal: Principal) => Promise<undefined> | undefined

type Seen = { request: Request; state: RequestState }

/**
 * One macro a kind of principal: `user`, `key`, `anyone`, `admin`. A route that names one has `auth` of exactly that
 * type; a route that names none has no `auth`. The credential is verified before the body is read as anything.
 */
export function auth(context: Context, limits: Limits) {
  const requires =
    <P extends Principal>(allows: (principal: Principal) => principal is P) =>
    (need: Need) => {
      const userScopes = need !== true && 'scopes' in need ? need.scopes : []
      const keyScopes = need !== true && 'keyScopes' in need ? need.keyScopes : userScopes
      const refusal = (principal: Principal) =>
        allows === (isAdmin as unknown) && isUser(principal) ? 'forbidden' : 'wrong_credential_kind'
      const requirement = { allows, refusal, userScopes, keyScopes } as const
      const maxBodyBytes = need !== true && 'maxBodyBytes' in need ? need.maxBodyBytes : undefined
      const check = (state: RequestState, principal: Principal) =>
        permit(context, limits, state, principal, requirement)
      return guarded<P>(keyScopes, check, maxBodyBytes)
    }
  /** Who is known and may go on waits for nothing: no promise is made on the way. */
  const guarded = <P extends Principal>(scopes: readonly string[], check: Check, maxBodyBytes?: number) => {
    const admit = (state: RequestState, principal: Principal) => {
      state.principal = principal
      return check(state, principal)
    }
    const authorise = (request: Request, state: RequestState) => {
      const principal = authenticate(context, limits, request, state)
      return principal instanceof Promise
        ? principal.then((verified) => admit(state, verified))
        : admit(state, principal)
    }
    return hooksOf<P>(scopes, authorise, maxBodyBytes)
  }

  return new Elysia({ name: 'auth' }).use(stated).macro({
    user: requires(isUser),
    key: requires(isKey),
    anyone: requires(isAnyone),
    admin: requires(isAdmin),
    /** Any good key, whatever its scopes, addresses and limits. */
    anyKey: (_: true) =>
      guarded<KeyPrincipal>([], (_state, principal) =>
        isKey(principal) ? undefined : fail('wrong_credential_kind'),
      ),
    /** A JSON body that needs no credential. */
    open: (_: true) => ({ parse: ({ request }: Seen) => readJson(request) }),
  })
}

/**
 * The hooks of a route that needs a credential; `authorise` runs once, and leaves the principal in the state. Each takes
 * its context apart in its parameters: of one that hands the whole of it on, Elysia thinks that it uses everything.
 */
function hooksOf<P extends Principal>(
  scopes: readonly string[],
  authorise: (request: Request, state: RequestState) => Promise<undefined> | undefined,
  maxBodyBytes?: number,
) {
  return {
    detail: { security: [{ bearer: [...scopes] }] },
    // Elysia parses before it transforms, and transforms before it validates: each is the first to see some request.
    parse: async ({ request, state }: Seen) => {
      await authorise(request, state)
      return readJson(request, maxBodyBytes)
    },
    transform: async ({ request, state }: Seen) => {
      const waiting = state.principal === null ? authorise(request, state) : undefined
      if (waiting) await waiting
    },
    resolve: ({ state }: Seen) => ({ auth: state.principal as P }),
  }
}
