import { Elysia } from 'elysia'
import { requireRecent } from '../core/change/recent.ts'
import type { Context } from '../core/context.ts'
import {
  type AdminPrincipal,
  type Holder,
  isAdmin,
  type KeyPrincipal,
  type PortalPower,
  type PortalPrincipal,
  type Principal,
  type UserPrincipal,
} from '../core/principal.ts'
import { lackOfScopes, problemOf } from '../core/verify/problems.ts'
import { useKey } from '../core/verify/use-key.ts'
import { refusalOf, tightestOf, type UseOutcome } from '../core/verify/use-key-here.ts'
import { BEARER_CHALLENGE, type ErrorCode, fail } from '../lib/errors.ts'
import { covers, isReserved, KEYS_LABEL, SUPPORT } from '../lib/scopes.ts'
import { type BodyBounds, readJson } from './body.ts'
import { recogniseAgain, requirePrincipal } from './credential.ts'
import { withoutWaiting } from './elysia.ts'
import { type Authorize, type Credential, type RequestState, stated } from './request-state.ts'

const isUser = (principal: Principal): principal is UserPrincipal => principal.kind === 'user'
const isKey = (principal: Principal): principal is KeyPrincipal => principal.kind === 'key'
const isPortal = (principal: Principal): principal is PortalPrincipal => principal.kind === 'portal'
const isHolder = (principal: Principal): principal is Holder => !isPortal(principal)
const isAnyone = (_: Principal): _ is Principal => true
const isAdminOrKey = (principal: Principal): principal is AdminPrincipal | KeyPrincipal =>
  isAdmin(principal) || isKey(principal)
const refusalOfUser = (principal: Principal): ErrorCode =>
  isUser(principal) ? 'forbidden' : 'wrong_credential_kind'

/** The plugin that the routes of a resource `use`: the request's state, and the macros. */
export type Guard = ReturnType<typeof auth>

/**
 * What a guarded route asks of its caller. `true`: no more than a principal of the macro's kind.
 *
 * - `scopes`: the caller needs all of them.
 * - `keyScopes`: the same, of API keys and apps alone; `scopes` unless given. No app may use a route without a scope of
 *   Latchkey's own in it.
 * - `support`: a caller with `latchkey:support` needs none of these scopes, and may be narrowed.
 * - `whole`: refuses a user's token that was narrowed to some scopes, on routes that no scope stands for
 *   (docs/decisions/0027).
 * - `recent`: a person must have proved who they are within the last ten minutes; keys are not asked. `for keys`: only
 *   with REAUTHENTICATE_FOR_KEYS.
 * - `enrolling`: open also to a person who has to set up a second factor first.
 * - `portal`: what a portal session must have been made for, on a route that takes its bearer.
 * - `labels`: a caller with `latchkey:keys.label` needs none of these scopes; the change asks for what it takes.
 * - `json`: the route takes a JSON body, of the usual size at most or of `maxBytes`.
 */
export type Need =
  | true
  | {
      scopes?: readonly string[]
      keyScopes?: readonly string[]
      support?: boolean
      labels?: boolean
      whole?: boolean
      recent?: true | 'for keys'
      enrolling?: boolean
      portal?: PortalPower
      json?: JsonBody
    }

type JsonBody = true | BodyBounds

type Seen = { request: Request; state: RequestState }

/**
 * The guard: one macro for each kind of principal. A route that names a macro gets `auth`, of exactly that kind. A route
 * that names none has no `auth`, and its handler does not compile if it reads one.
 *
 * The guard decides before the body is read, so that an anonymous caller learns nothing from a 422 and cannot make the
 * service read a body. It decides again once the body is there (`recogniseAgain`).
 *
 * @example
 * new Elysia({ prefix: '/reports' })
 *   .use(guard)
 *   .get('/mine', ({ auth }) => reportsOf(auth.userId), { user: true })
 *   .post('/', ({ auth, body }) => make(auth, body), { key: { scopes: ['write'], json: true }, body: NewReport })
 */
export function auth(context: Context) {
  const requires =
    <P extends Principal>(
      allows: (principal: Principal) => principal is P,
      refusal: (principal: Principal) => ErrorCode = () => 'wrong_credential_kind',
    ) =>
    (need: Need) => {
      const { scopes = [], keyScopes = scopes, json, ...rest } = need === true ? {} : need
      const { support = false, labels = false, whole = false } = rest
      const { recent, enrolling = false, portal = null } = rest
      const requirement: Requirement = {
        allows,
        refusal,
        userScopes: scopes,
        keyScopes,
        support,
        labels,
        whole,
        enrolling,
        portal,
      }
      return guarded<P>({
        scopes: keyScopes,
        json,
        recent: recent === 'for keys' ? context.config.reauthenticateForKeys : recent === true,
        authorize: (principal, address) => authorize(principal, requirement, address),
        permit: (state, principal) => permit(context, state, principal, requirement),
      })
    }

  const guarded = <P extends Principal>({ scopes, json, recent, authorize, permit }: Checks) => {
    /** Also of the session's row as it is within a change, where it decides. */
    const authorizeChange: Authorize = recent
      ? (principal, address) => {
          authorize(principal, address)
          requireRecent(context, principal)
        }
      : authorize
    /** Runs once for each request: in `parse` where the route takes a body, else in `transform`. */
    const check: Check = (state) => {
      if (state.credential.kind === 'accepted') return
      const principal = requirePrincipal(state)
      state.credential = { kind: 'accepted', principal }
      state.authorize = authorizeChange
      return permit(state, principal)
    }
    /** What was revoked or lowered while the body came holds for everything that follows the body. */
    const checkAgain = async (state: RequestState, before: Principal): Promise<void> => {
      const principal = await recogniseAgain(context, state)
      if (principal === before) return
      state.credential = { kind: 'accepted', principal }
      authorize(principal, state.address)
    }
    const resolve = ({ state }: Seen) => ({ auth: (state.credential as Accepted).principal as P })
    /** After the shape of the body, before any look-up. */
    const resolveRecent = ({ state }: Seen) => {
      const { principal } = state.credential as Accepted
      requireRecent(context, principal)
      return { auth: principal as P }
    }
    return {
      detail: { security: [{ bearer: [...scopes] }] },
      ...(json && { parse: parserOf(check, checkAgain, json) }),
      transform: context.shared ? waitingGuard(check) : guardOf(check),
      resolve: recent ? resolveRecent : resolve,
    }
  }

  return new Elysia({ name: 'auth' }).use(stated).macro({
    user: requires(isUser),
    key: requires(isKey),
    anyone: requires(isHolder),
    anyoneOrPortal: requires(isAnyone),
    admin: requires(isAdmin, refusalOfUser),
    adminOrKey: requires(isAdminOrKey, refusalOfUser),
    /** A portal session, whatever it was made for. */
    portal: (_: true) => {
      const authorize = (principal: Principal): undefined => {
        if (!isPortal(principal)) fail('wrong_credential_kind')
      }
      const permit = (_: RequestState, principal: Principal) => authorize(principal)
      return guarded<PortalPrincipal>({ scopes: [], json: undefined, recent: false, authorize, permit })
    },
    /** Any valid key, whatever its scopes, addresses and limits are. */
    anyKey: (_: true) => {
      const authorize = (principal: Principal): undefined => {
        if (!isKey(principal) || principal.resource !== null) fail('wrong_credential_kind')
      }
      const permit = (_: RequestState, principal: Principal) => authorize(principal)
      return guarded<KeyPrincipal>({ scopes: [], json: undefined, recent: false, authorize, permit })
    },
    /** A JSON body that needs no credential. */
    open: (_: true) => ({ parse: ({ request }: Seen) => readJson(request) }),
  })
}

type Accepted = Extract<Credential, { kind: 'accepted' }>

/** How a macro checks the caller. */
type Checks = {
  /** For the OpenAPI document. */
  scopes: readonly string[]
  json: JsonBody | undefined
  recent: boolean
  /** Whether the caller may use the route. Changes ask it again, inside their transaction (docs/decisions/0026). */
  authorize: Authorize
  /** The same, and a key's use counts; a promise only where the key's rate is counted on Redis. */
  permit(state: RequestState, principal: Principal): Promise<undefined> | undefined
}
type Check = (state: RequestState) => Promise<undefined> | undefined

/** The parser of a guarded route. Elysia parses before it transforms, so this is the first hook to see the request. */
const parserOf =
  (check: Check, checkAgain: (state: RequestState, before: Principal) => Promise<void>, json: JsonBody) =>
  async ({ request, state }: Seen) => {
    const checking = check(state)
    if (checking) await checking
    const { principal } = state.credential as Accepted
    const body = await readJson(request, json === true ? {} : json)
    await checkAgain(state, principal)
    return body
  }

/** The guard of an instance that counts keys' rates by itself. */
const guardOf = (check: Check) =>
  withoutWaiting(({ state }: Seen): void => {
    // Elysia would enter the route without a promise that this hook returned.
    if (check(state)) throw new Error('A guard that is declared to be synchronous would have to wait')
  })

/** The guard of an instance that counts keys' rates on Redis. */
const waitingGuard = (check: Check) =>
  async function guard({ state }: Seen): Promise<void> {
    await check(state)
  }

/** What a route asks of its caller. */
type Requirement = {
  allows(principal: Principal): boolean
  /** The error for a caller of another kind or role. */
  refusal(principal: Principal): ErrorCode
  userScopes: readonly string[]
  keyScopes: readonly string[]
  support: boolean
  labels: boolean
  whole: boolean
  /** Whether it is open to a person who has to set up a second factor first. */
  enrolling: boolean
  /** null: it takes no bearer of a portal session. */
  portal: PortalPower | null
}

/**
 * Refuses a caller of another kind or role, and a token that was made for a resource: it passes at that resource alone. An
 * app with a token for Latchkey's own resource may use what a key may use by a scope of Latchkey's own.
 * @throws Problem wrong_credential_kind, forbidden
 */
function requireAllowed(principal: Principal, need: Requirement): void {
  if (!need.allows(principal)) fail(need.refusal(principal))
  if (principal.kind === 'key' && principal.resource !== null) fail('wrong_credential_kind')
  if (principal.kind !== 'client') return
  const isOpen = principal.resource.audience === 'latchkey' && need.keyScopes.some(isReserved)
  if (!isOpen) fail('wrong_credential_kind')
}

/** The scopes that a route asks of a caller. */
function scopesFor(principal: Principal, need: Requirement): readonly string[] {
  const { userScopes, keyScopes, support, labels } = need
  if (support && covers(principal.grants, SUPPORT)) return []
  if (labels && covers(principal.grants, KEYS_LABEL)) return []
  return principal.kind === 'user' ? userScopes : keyScopes
}

/**
 * Whether a caller may use a route: the kind, then the address of a key, then scopes, in the order of API.md. Counts
 * nothing, so that a change can ask again inside its transaction.
 * @param address of the client; null: unknown
 * @throws Problem wrong_credential_kind, forbidden, mfa_enrolment_required, ip_not_allowed, insufficient_scope
 */
function authorize(principal: Principal, need: Requirement, address: string | null): void {
  requireAllowed(principal, need)
  if (principal.kind === 'key') {
    requireValid(refusalOf(principal, { scopes: scopesFor(principal, need), address }))
    return
  }
  if (principal.kind === 'portal') {
    requirePower(principal, need.portal)
    return
  }
  if (principal.isEnrolmentDue && !need.enrolling) fail('mfa_enrolment_required')
  const isSupport = need.support && covers(principal.grants, SUPPORT)
  const isNarrowed = principal.kind === 'user' && principal.claims.isNarrowed
  if (need.whole && isNarrowed && !isSupport) fail('insufficient_scope', NARROWED)
  const missing = scopesFor(principal, need).filter((scope) => !covers(principal.grants, scope))
  if (missing.length > 0) throw lackOfScopes(missing)
}

/** @throws Problem wrong_credential_kind, forbidden where the session was not made for this */
function requirePower({ may }: PortalPrincipal, power: PortalPower | null): void {
  if (power === null) fail('wrong_credential_kind')
  if (!may.includes(power))
    fail('forbidden', { detail: `This portal session was not made to ${power} keys.` })
}

const NARROWED = {
  detail: 'This access token was narrowed to some scopes: log in without asking for any.',
  headers: { 'WWW-Authenticate': `${BEARER_CHALLENGE}, error="insufficient_scope"` },
  audit: { reason: 'narrowed_token' },
}

/**
 * Whether a caller may use a route, and counts the use of a key against the key's rate. `errors.ts` counts and audits a
 * refusal.
 * @returns a promise only where the key's rate is counted on Redis
 * @throws Problem as `authorize`, rate_limited
 * @example
 * const pending = permit(context, state, principal, requirement)
 * if (pending) await pending
 */
export function permit(
  context: Context,
  state: RequestState,
  principal: Principal,
  need: Requirement,
): Promise<undefined> | undefined {
  requireAllowed(principal, need)
  if (principal.kind !== 'key') {
    const isFree = principal.kind === 'user' && !principal.isEnrolmentDue && !need.whole
    if (!isFree || need.userScopes.length > 0) authorize(principal, need, state.address)
    return
  }
  const scopes = scopesFor(principal, need)
  const outcome = useKey(context, principal, { at: 'caller', scopes, cost: null, address: state.address })
  return outcome instanceof Promise
    ? outcome.then((used) => acceptUse(state, used))
    : acceptUse(state, outcome)
}

/** The answer says what is left of the key's rates. */
function acceptUse(state: RequestState, outcome: UseOutcome): undefined {
  requireValid(outcome)
  state.rate = tightestOf(outcome)
}

function requireValid(outcome: UseOutcome | null): undefined {
  const problem = outcome && problemOf(outcome)
  if (problem) throw problem
}
