import { Elysia } from 'elysia'
import type { Context } from '../context.ts'
import { createAccessLines } from './access-line.ts'
import type { AddressOf, PeerSource } from './client-address.ts'
import { type RequestState, stated } from './request-state.ts'

/** A request id that came in is kept where it is of this form, so that it can be followed through a proxy. */
const REQUEST_ID = /^[A-Za-z0-9._-]{8,64}$/

/** Elysia's way from a request to its answer. */
type Answer = (request: Request) => Response | Promise<Response>

/** What is wanted of a request's context once it is answered; Elysia sets `route` when it has found one. */
type Entered = { state: RequestState; route?: string }

/**
 * The outermost layer: gives each request its state and its id, and each answer, whatever it comes from, its headers
 * and its access line.
 */
export function observe(context: Context, addressOf: AddressOf) {
  const nextId = createRequestIds()
  const { access } = context.log
  const lineOf = createAccessLines(context.clock)
  let server: PeerSource = null
  /** Of the request whose way begins: Elysia calls onRequest before it gives back so much as a promise. */
  let entered: Entered

  const finish = (response: Response, { state, route }: Entered): Response => {
    setCommonHeaders(response.headers, state.id)
    access?.(lineOf(state, route, response.status))
    return response
  }
  return new Elysia({ name: 'observe' })
    .use(stated)
    .onStart((app) => {
      server = app.server
    })
    .wrap((answer) => (request: Request) => {
      const answered = (answer as unknown as Answer)(request)
      const it = entered
      return answered instanceof Promise
        ? answered.then((response) => finish(response, it))
        : finish(answered, it)
    })
    .onRequest((ctx) => {
      const { request } = ctx
      const given = request.headers.get('x-request-id')
      ctx.state = {
        id: given !== null && REQUEST_ID.test(given) ? given : nextId(),
        request,
        startedAt: performance.now(),
        // Asked now: once the answer is on its way, nobody knows the peer any more.
        address: addressOf(request, server),
        principal: null,
        counted: false,
      }
      entered = ctx
    })
}

/** On every answer; see API.md, Errors. What may be kept says so itself. */
function setCommonHeaders(headers: Headers, requestId: string): void {
  headers.set('x-request-id', requestId)
  headers.set('x-content-type-options', 'nosniff')
  headers.set('referrer-policy', 'no-referrer')
  if (!headers.has('cache-control')) headers.set('cache-control', 'no-store')
}

/** Ids that no two instances share: a random start for each process, then a counter. */
function createRequestIds(): () => string {
  const instance = crypto.getRandomValues(new Uint8Array(6)).toHex()
  let count = 0
  return () => `${instance}-${(count++).toString(36).padStart(6, '0')}`
}
