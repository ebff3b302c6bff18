import { Elysia } from 'elysia'
import type { Origin } from '../core/audit/audit.ts'
import { actorOf } from '../core/audit/audit.ts'
import type { Principal } from '../core/principal.ts'
import type { BrowserSession } from '../core/sessions/browser.ts'
import type { RateState } from '../core/verify/rates.ts'
import type { Trace } from './trace.ts'

/**
 * Whether a caller may use a route from an address (null: unknown). Counts and charges nothing.
 * @throws Problem the route's refusal
 */
export type Authorize = (principal: Principal, address: string | null) => void

/**
 * What is known of the credential of a request.
 *
 * - `none`: the request presents none, or one that is not in the cache, and the route asks for none.
 * - `refused`: the presented credential cannot be used; `reason` is what a route that needs one throws.
 * - `verified`: it is valid, but nothing has asked for it yet: the caller is still anonymous.
 * - `accepted`: a guard took it as the caller's. The access log and the audit trail name this principal from then on, also
 *   where the guard then refuses the request, by a scope for example.
 */
export type Credential =
  | { kind: 'none' }
  | { kind: 'refused'; reason: unknown }
  | { kind: 'verified'; principal: Principal }
  | { kind: 'accepted'; principal: Principal }

export const NO_CREDENTIAL: Credential = { kind: 'none' }

/** What is known of one request while it is answered. `observe.ts` makes it before anything else runs. */
export type RequestState = {
  id: string
  request: Request
  /** In milliseconds, as `performance.now()` counts them. */
  startedAt: number
  /** The client's address in its canonical form; null: unknown. */
  address: string | null
  /** The caller's trace; null: the caller names none. */
  trace: Trace | null
  /** The pattern of the route; null until Elysia has found it, and for a path that does not exist. */
  route: string | null
  credential: Credential
  /** The route's own check of its caller; null until the route's guard runs. */
  authorize: Authorize | null
  /** The browser session of the cookie; null until a route asks for one. */
  browser: BrowserSession | null
  /** Whether a rate limit has counted this request. */
  counted: boolean
  /** What is left of the tighter rate of the key that was presented; null: a person, or a key without a rate. */
  rate: RateState | null
}

/** The caller that a guard accepted; null: anonymous. */
export function callerOf({ credential }: RequestState): Principal | null {
  return credential.kind === 'accepted' ? credential.principal : null
}

/** Who does something over this request, for `core/` and its audit rows. */
export function originOf(state: RequestState): Origin {
  const caller = callerOf(state)
  const { address, authorize } = state
  return {
    actor: caller ? actorOf(caller) : { type: 'anonymous', id: null },
    ip: address,
    requestId: state.id,
    userAgent: state.request.headers.get('user-agent'),
    authorize: authorize && ((principal) => authorize(principal, address)),
  }
}

/** Gives the context of a route its `state`, by type; `provideState` in `elysia.ts` gives each request its own. */
export const stated = new Elysia({ name: 'state' }).decorate('state', {} as RequestState)
