import { Elysia } from 'elysia'
import type { Context } from '../core/context.ts'
import { isAdmin, type KeyPrincipal, type Principal, type UserPrincipal } from '../core/principal.ts'
import { denialOf, lackOfScopes } from '../core/verify/refusals.ts'
import { type UseOutcome, useKey } from '../core/verify/use-key.ts'
import { type ErrorCode, fail } from '../lib/errors.ts'
import { covers } from '../lib/scopes.ts'
import { readJson } from './body.ts'
import { recogniseCredential, requireShown } from './credential.ts'
import { type RequestState, stated } from './request-state.ts'

const isUser = (principal: Principal): principal is UserPrincipal => principal.kind === 'user'
const isKey = (principal: Principal): principal is KeyPrincipal => principal.kind === 'key'
const isAnyone = (_: Principal): _ is Principal => true

/** The plugin that a feature's routes `use`: the request's state, and the macros. */
export type Guard = ReturnType<typeof auth>

/** What a route asks for: `true`, or scopes that are all needed, of everybody or of keys alone; the body that it takes. */
type Need = true | { scopes?: readonly string[]; keyScopes?: readonly string[]; json?: Json }

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
      const { scopes = [], keyScopes = scopes, json } = need === true ? {} : need
      const refusal = (principal: Principal) =>
        allows === (isAdmin as unknown) && isUser(principal) ? 'forbidden' : 'wrong_credential_kind'
      const requirement = { allows, refusal, userScopes: scopes, keyScopes } as const
      const check = (state: RequestState, principal: Principal) =>
        permit(context, state, principal, requirement)
      return guarded<P>(keyScopes, check, json)
    }
  const guarded = <P extends Principal>(scopes: readonly string[], check: Check, json?: Json) => {
    /** Runs once a request, whichever hook is the first to see it. */
    const admit = (state: RequestState) => {
      if (state.principal !== null) return
      state.principal = requireShown(state)
      return check(state, state.principal)
    }
    /**
     * The same of what may have changed while the body came: a session that ended, a key that was revoked, a role. Who is
     * another then, or was never in the cache, is let in anew, and a key's use counts once more.
     */
    const admitAgain = async (state: RequestState): Promise<undefined> => {
      const { principal } = state
      state.shown = null
      await recogniseCredential(context, () => true, state)
      if (state.shown === principal) return
      state.principal = null
      await admit(state)
    }
    return {
      detail: { security: [{ bearer: [...scopes] }] },
      ...(json && { parse: readGuarded(admit, admitAgain, json) }),
      transform: context.shared ? waitingFor(admit) : atOnce(admit),
      resolve: ({ state }: Seen) => ({ auth: state.principal as P }),
    }
  }

  return new Elysia({ name: 'auth' }).use(stated).macro({
    user: requires(isUser),
    key: requires(isKey),
    anyone: requires(isAnyone),
    admin: requires(isAdmin),
    /** Any good key, whatever its scopes, addresses and limits. */
    anyKey: (_: true) =>
      guarded<KeyPrincipal>([], (_state, principal) => {
        if (!isKey(principal)) fail('wrong_credential_kind')
      }),
    /** A JSON body that needs no credential. */
    open: (_: true) => ({ parse: ({ request }: Seen) => readJson(request) }),
  })
}

/** Whether a good credential may go on here; a promise where that has to be waited for. */
type Check = (state: RequestState, principal: Principal) => Promise<undefined> | undefined
type Admit = (state: RequestState) => Promise<undefined> | undefined

/** A body comes with its headers, or little later; whoever holds it back longer is looked at again when it is there. */
const LATE_MS = 100

/** Elysia parses before it transforms: where there is a body, this is the first to see the request. */
const readGuarded =
  (admit: Admit, admitAgain: Admit, json: Json) =>
  async ({ request, state }: Seen) => {
    const admitting = admit(state)
    if (admitting) await admitting
    const admittedAt = performance.now()
    const body = await readJson(request, json === true ? undefined : json.maxBytes)
    if (performance.now() - admittedAt > LATE_MS) await admitAgain(state)
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
}

/**
 * Whether a good credential may go on here: its kind, then, for keys, address, scopes and rate, in the order of API.md.
 * Only a rate that is counted on Redis waits for anything. `errors.ts` counts and audits a refusal.
 * @throws Problem wrong_credential_kind, forbidden, ip_not_allowed, insufficient_scope, rate_limited
 */
export function permit(
  context: Context,
  state: RequestState,
  principal: Principal,
  need: Requirement,
): Promise<undefined> | undefined {
  if (!need.allows(principal)) fail(need.refusal(principal))
  if (principal.kind === 'key') return permitKey(context, state, principal, need.keyScopes)
  if (need.userScopes.length === 0) return
  const missing = need.userScopes.filter((scope) => !covers(principal.grants, scope))
  if (missing.length > 0) fail('insufficient_scope', lackOfScopes(missing))
}

function permitKey(
  context: Context,
  state: RequestState,
  key: KeyPrincipal,
  scopes: readonly string[],
): Promise<undefined> | undefined {
  const outcome = useKey(context, key, { scopes, cost: null, address: state.address })
  return outcome instanceof Promise ? outcome.then(requireValid) : requireValid(outcome)
}

function requireValid(outcome: UseOutcome): undefined {
  const denial = denialOf(outcome)
  if (denial) fail(denial.code, denial.extra)
}
