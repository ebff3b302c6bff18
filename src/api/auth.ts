import { Elysia } from 'elysia'
import { requireRecent } from '../core/change/recent.ts'
import type { Context } from '../core/context.ts'
import { isAdmin, type KeyPrincipal, type Principal, type UserPrincipal } from '../core/principal.ts'
import { denialOf, lackOfScopes } from '../core/verify/refusals.ts'
import { refusalOf, type UseOutcome, useKey } from '../core/verify/use-key.ts'
import { BEARER_CHALLENGE, type ErrorCode, fail } from '../lib/errors.ts'
import { covers } from '../lib/scopes.ts'
import { readJson } from './body.ts'
import { recogniseAgain, requireShown } from './credential.ts'
import { type Authorize, type RequestState, stated } from './request-state.ts'

const isUser = (principal: Principal): principal is UserPrincipal => principal.kind === 'user'
const isKey = (principal: Principal): principal is KeyPrincipal => principal.kind === 'key'
const isAnyone = (_: Principal): _ is Principal => true

/** The plugin that a feature's routes `use`: the request's state, and the macros. */
export type Guard = ReturnType<typeof auth>

/**
 * What a route asks for: `true`, or scopes that are all needed, of everybody or of keys alone; the body that it takes.
 * `whole`: a user's token that was narrowed to some scopes is refused, since none of these stands for what the route does.
 * `recent`: a person must have proved who they are within the last ten minutes; keys are not asked.
 * `enrolling`: open also to somebody who has to set up a second factor first.
 */
type Need =
  | true
  | {
      scopes?: readonly string[]
      keyScopes?: readonly string[]
      whole?: boolean
      recent?: boolean
      enrolling?: boolean
      json?: Json
    }

/** A JSON body: of the usual size at most, or of so many bytes. */
type Json = true | { maxBytes: number }

type Seen = { request: Request; state: RequestState }

/**
 * One macro a kind of principal: `user`, `key`, `anyone`, `admin`. A route that names one has `auth` of exactly that
 * type; a route that names none has no `auth`. Who is let in is settled before the body is read as anything.
 */
export function auth(context: Context) {
  const requires =
    <P extends Principal>(allows: (principal: Principal) => principal is P) =>
    (need: Need) => {
      const { scopes = [], keyScopes = scopes, json, ...rest } = need === true ? {} : need
      const { whole = false, recent = false, enrolling = false } = rest
      const refusal = (principal: Principal) =>
        allows === (isAdmin as unknown) && isUser(principal) ? 'forbidden' : 'wrong_credential_kind'
      const requirement = { allows, refusal, userScopes: scopes, keyScopes, whole, enrolling } as const
      return guarded<P>({
        scopes: keyScopes,
        json,
        recent,
        authorize: (principal, address) => authorize(principal, requirement, address),
        permit: (state, principal) => permit(context, state, principal, requirement),
      })
    }
  const guarded = <P extends Principal>({ scopes, json, recent, authorize, permit }: Guarding) => {
    /** Also of the session's row as it is within a change, where it decides. */
    const authorizeChange: Authorize = recent
      ? (principal, address) => {
          authorize(principal, address)
          requireRecent(context, principal)
        }
      : authorize
    /** Runs once a request, whichever hook is the first to see it. */
    const admit = (state: RequestState) => {
      if (state.principal !== null) return
      state.principal = requireShown(state)
      state.authorize = authorizeChange
      return permit(state, state.principal)
    }
    /** What was revoked or lowered while the body came holds for what follows the body. */
    const confirm = async (state: RequestState): Promise<void> => {
      const before = state.principal
      const principal = await recogniseAgain(context, state)
      if (principal === before) return
      state.principal = principal
      authorize(principal, state.address)
    }
    const resolve = ({ state }: Seen) => ({ auth: state.principal as P })
    /** After the shape of the body, before any look-up. */
    const resolveRecent = ({ state }: Seen) => {
      const auth = state.principal as P
      requireRecent(context, auth)
      return { auth }
    }
    return {
      detail: { security: [{ bearer: [...scopes] }] },
      ...(json && { parse: readGuarded(admit, confirm, json) }),
      transform: context.shared ? waitingFor(admit) : atOnce(admit),
      resolve: recent ? resolveRecent : resolve,
    }
  }

  return new Elysia({ name: 'auth' }).use(stated).macro({
    user: requires(isUser),
    key: requires(isKey),
    anyone: requires(isAnyone),
    admin: requires(isAdmin),
    /** Any good key, whatever its scopes, addresses and limits. */
    anyKey: (_: true) => {
      const authorize = (principal: Principal) => {
        if (!isKey(principal)) fail('wrong_credential_kind')
      }
      return guarded<KeyPrincipal>({
        scopes: [],
        json: undefined,
        recent: false,
        authorize,
        permit: (_state, principal) => {
          authorize(principal)
          return undefined
        },
      })
    },
    /** A JSON body that needs no credential. */
    open: (_: true) => ({ parse: ({ request }: Seen) => readJson(request) }),
  })
}

/** What a guard does, besides finding out who asks. */
type Guarding = {
  /** For the document. */
  scopes: readonly string[]
  json: Json | undefined
  recent: boolean
  /** Whether the caller may use the route; asked again wherever the caller is read again. Charges nothing. */
  authorize: Authorize
  /** The same, and a key's use counts; a promise where that has to be waited for. */
  permit(state: RequestState, principal: Principal): Promise<undefined> | undefined
}
type Admit = (state: RequestState) => Promise<undefined> | undefined

/** Elysia parses before it transforms: where there is a body, this is the first to see the request. */
const readGuarded =
  (admit: Admit, confirm: (state: RequestState) => Promise<void>, json: Json) =>
  async ({ request, state }: Seen) => {
    const admitting = admit(state)
    if (admitting) await admitting
    const body = await readJson(request, json === true ? undefined : json.maxBytes)
    await confirm(state)
    return body
  }

/**
 * The guard of a service that counts by itself: nothing in it waits. Elysia tells by a function's text whether its route
 * has to wait, which makes all of it a fifth dearer: no `return f()` here, no arrow to a call (tests/api/canary.test.ts).
 */
const atOnce = (admit: Admit) =>
  function guard({ state }: Seen): void {
    admit(state)
  }

/** The same where a key's rate may be counted on Redis. */
const waitingFor = (admit: Admit) =>
  async function guard({ state }: Seen): Promise<void> {
    await admit(state)
  }

/** What a route needs of whoever asks. */
type Requirement = {
  allows(principal: Principal): boolean
  /** What somebody of another kind is told. */
  refusal(principal: Principal): ErrorCode
  userScopes: readonly string[]
  keyScopes: readonly string[]
  /** Whether a user's token must not be a narrowed one. */
  whole: boolean
  /** Whether it is open to somebody who has to set up a second factor first. */
  enrolling: boolean
}

/**
 * Whether a caller may use a route: its kind, then, for keys, address and scopes, in the order of API.md. Charges
 * nothing, so that it can be asked again within a change.
 * @throws Problem wrong_credential_kind, forbidden, mfa_enrolment_required, ip_not_allowed, insufficient_scope
 */
function authorize(principal: Principal, need: Requirement, address: string | null): void {
  if (!need.allows(principal)) fail(need.refusal(principal))
  if (principal.kind === 'key') {
    requireValid(refusalOf(principal, { scopes: need.keyScopes, address }))
    return
  }
  if (principal.isEnrolmentDue && !need.enrolling) fail('mfa_enrolment_required')
  if (need.whole && principal.claims.isNarrowed) fail('insufficient_scope', NARROWED)
  const missing = need.userScopes.filter((scope) => !covers(principal.grants, scope))
  if (missing.length > 0) fail('insufficient_scope', lackOfScopes(missing))
}

const NARROWED = {
  detail: 'This access token was narrowed to some scopes: log in without asking for any.',
  headers: { 'WWW-Authenticate': `${BEARER_CHALLENGE}, error="insufficient_scope"` },
  audit: { reason: 'narrowed_token' },
}

/**
 * The same, and a key's use is counted, after its rate. Only a rate that is counted on Redis waits for anything.
 * `errors.ts` counts and audits a refusal.
 * @throws Problem as `authorize`, rate_limited
 */
export function permit(
  context: Context,
  state: RequestState,
  principal: Principal,
  need: Requirement,
): Promise<undefined> | undefined {
  if (!need.allows(principal)) fail(need.refusal(principal))
  if (principal.kind !== 'key') {
    if (principal.isEnrolmentDue || need.whole || need.userScopes.length > 0)
      authorize(principal, need, state.address)
    return
  }
  const outcome = useKey(context, principal, { scopes: need.keyScopes, cost: null, address: state.address })
  return outcome instanceof Promise ? outcome.then(requireValid) : requireValid(outcome)
}

function requireValid(outcome: UseOutcome | null): undefined {
  const denial = outcome && denialOf(outcome)
  if (denial) fail(denial.code, denial.extra)
}
