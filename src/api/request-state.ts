import { Elysia } from 'elysia'
import type { Origin } from '../core/audit/audit.ts'
import { actorOf } from '../core/audit/audit.ts'
import type { Principal } from '../core/principal.ts'
import type { Trace } from './trace.ts'

/**
 * Whether a caller may use a route from an address; charges nothing.
 * @throws Problem the route's own refusal
 */
export type Authorize = (principal: Principal, address: string | null) => void

/** What is known of one request while it is answered; `observe.ts` makes it, before anything else runs. */
export type RequestState = {
  id: string
  request: Request
  startedAt: number
  /** The client's address. */
  address: string | null
  /** The caller's trace; null: it says none. */
  trace: Trace | null
  /** The pattern of the route that it goes to, once that is found. */
  route: string | null
  /** Whose credential was shown, where it is a good one and the route needs one. */
  shown: Principal | null
  /** Why what was shown is none: what a route that needs one answers. */
  refusal: unknown
  /** Who was let in by the route's guard. */
  principal: Principal | null
  /** Whether a caller may use the route, once its guard has been entered. */
  authorize: Authorize | null
  /** Whether a rate limit has counted this request. */
  counted: boolean
}

/** Who does something over this request, for services and their audit rows. */
export function originOf(state: RequestState): Origin {
  const actor: Origin['actor'] = state.principal ? actorOf(state.principal) : { type: 'anonymous', id: null }
  const { address, authorize } = state
  return {
    actor,
    ip: address,
    requestId: state.id,
    userAgent: state.request.headers.get('user-agent'),
    authorize: authorize && ((principal) => authorize(principal, address)),
  }
}

/** Gives a route's context its `state`, by type; `observe.ts` provides each request's own. */
export const stated = new Elysia({ name: 'state' }).decorate('state', {} as RequestState)
