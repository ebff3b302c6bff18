import { Elysia } from 'elysia'
import type { Origin } from '../features/audit/service.ts'
import { actorOf } from '../features/audit/service.ts'
import type { Principal } from '../features/verify/principal.ts'

/** What is known of one request while it is answered; `observe.ts` makes it, before anything else runs. */
export type RequestState = {
  id: string
  request: Request
  startedAt: number
  /** The client's address. */
  address: string | null
  /** The pattern of the route that it goes to, once that is found. */
  route: string | null
  /** Set once the credential is verified. */
  principal: Principal | null
  /** Whether a rate limit has counted this request. */
  counted: boolean
  /** What it has left its route for; never fails. */
  left: Promise<Failure | null> | null
  /** What that came to, where it went wrong. */
  failure: Failure | null
}

type Failure = { error: unknown }

const LEFT = new Error('This request enters its route anew, once it need not wait')

/**
 * Leaves the route, from a hook before its handler. `observe.ts` hands the request in anew when `waiting` is over.
 *
 * A hook that may be asynchronous makes Elysia wait for it each time, which costs every request as much as all that our
 * hook does; and nearly every request is one of somebody who is known, for whom there is nothing to wait.
 */
export function leaveRoute(state: RequestState, waiting: Promise<unknown>): never {
  state.left = waiting.then(
    () => null,
    (error: unknown) => ({ error }),
  )
  throw LEFT
}

/** Who does something over this request, for services and their audit rows. */
export function originOf(state: RequestState): Origin {
  const actor: Origin['actor'] = state.principal ? actorOf(state.principal) : { type: 'anonymous', id: null }
  return { actor, ip: state.address, requestId: state.id, userAgent: state.request.headers.get('user-agent') }
}

/** Gives a route's context its `state`, by type; `observe.ts` provides each request's own. */
export const stated = new Elysia({ name: 'state' }).decorate('state', {} as RequestState)
