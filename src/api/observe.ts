import { type AnyElysia, Elysia } from 'elysia'
import type { Context } from '../core/context.ts'
import type { Principal } from '../core/principal.ts'
import { withDeadline } from '../lib/deadline.ts'
import type { Clock } from '../lib/time.ts'
import type { AddressOf, PeerSource } from './client-address.ts'
import { type RequestState, stated } from './request-state.ts'
import type { IsDraining } from './routes/health.ts'
import { readTrace, type Trace, traceResponse } from './trace.ts'

/** A request id that came in is kept where it is of this form, so that it can be followed through a proxy. */
const REQUEST_ID = /^[A-Za-z0-9._-]{8,64}$/

/** Elysia's way from a request to its answer. */
type Answer = (request: Request) => Response | Promise<Response>

/** Gives a way of answering that is not Elysia's what every request and every answer has. */
export type Observed = (
  answer: (request: Request, state: RequestState) => Response | Promise<Response>,
) => Answer

/**
 * The outermost layer: gives each request its state and its id, and each answer, whatever it comes from, its headers
 * and its access line. `provideState` is for the finished application.
 * @param prepare what is done with a request before it enters the application; a promise where that has to be waited for
 */
export function observe(
  context: Context,
  addressOf: AddressOf,
  prepare: (state: RequestState) => Promise<void> | undefined,
  isDraining: IsDraining = () => false,
) {
  const nextId = createRequestIds()
  const { access } = context.log
  const isLogged = (route: string | null) =>
    context.config.logProbes || (route !== '/livez' && route !== '/readyz')
  const lineOf = createAccessLines(context.clock)
  let server: PeerSource = null
  let entering: RequestState | null = null

  const begin = (request: Request): RequestState => {
    const given = request.headers.get('x-request-id')
    return {
      id: given !== null && REQUEST_ID.test(given) ? given : nextId(),
      request,
      startedAt: performance.now(),
      // Asked now: once the answer is on its way, nobody knows the peer any more.
      address: addressOf(request, server),
      trace: readTrace(request),
      route: null,
      shown: null,
      refusal: null,
      principal: null,
      authorize: null,
      counted: false,
    }
  }
  const finish = (response: Response, state: RequestState): Response => {
    const durationMs = performance.now() - state.startedAt
    setCommonHeaders(response.headers, state.id)
    if (state.trace) response.headers.set('traceresponse', traceResponse(state.trace))
    // A kept connection would still bring requests when the server stops; its client is to go elsewhere before.
    if (isDraining()) response.headers.set('connection', 'close')
    context.metrics.requests.count(state.route, state.request.method, response.status, durationMs)
    if (access && isLogged(state.route)) access(lineOf(state, response.status, durationMs))
    return response
  }
  /** Nothing that need not be waited for makes a promise: that would cost as much as the rest of the way. */
  const finishing = (answered: Response | Promise<Response>, state: RequestState) =>
    answered instanceof Promise
      ? answered.then((response) => finish(response, state))
      : finish(answered, state)
  const pass = (answer: Answer, state: RequestState): Response | Promise<Response> => {
    entering = state
    return finishing(answer(state.request), state)
  }
  const observed: Observed = (answer) => (request) =>
    withDeadline(() => {
      const state = begin(request)
      return finishing(answer(request, state), state)
    })
  const plugin = new Elysia({ name: 'observe' })
    .use(stated)
    .onStart((app) => {
      server = app.server
    })
    .wrap(
      (answer) => (request: Request) =>
        withDeadline(() => {
          const state = begin(request)
          const preparing = prepare(state)
          const enter = answer as unknown as Answer
          return preparing ? preparing.then(() => pass(enter, state)) : pass(enter, state)
        }),
    )
    // A body is read before anything is transformed: what fails there comes to onError first.
    .onTransform({ as: 'global' }, ({ state, route }) => {
      state.route = route
    })
    .onError({ as: 'global' }, ({ state, route }) => {
      state.route = route ?? null
    })
  /**
   * Elysia reads the decorators for each context that it makes, and makes it as soon as a request is handed in: this one
   * is each request's own.
   */
  const provideState = <App extends AnyElysia>(app: App): App => {
    app.decorate((others) =>
      Object.defineProperty(others, 'state', { get: () => entering, enumerable: true }),
    )
    return app
  }
  return { plugin, provideState, observed }
}

/** On every answer; see API.md, Errors. What may be kept says so itself. */
function setCommonHeaders(headers: Headers, requestId: string): void {
  headers.set('x-request-id', requestId)
  headers.set('x-content-type-options', 'nosniff')
  if (!headers.has('referrer-policy')) headers.set('referrer-policy', 'no-referrer')
  if (!headers.has('cache-control')) headers.set('cache-control', 'no-store')
}

const IDS_A_BLOCK = 36 ** 2
const ENDINGS = Array.from({ length: IDS_A_BLOCK }, (_, n) => n.toString(36).padStart(2, '0'))

/** Ids that no two instances share: a random start for each process, then a counter. All but its last two digits are made once a block. */
function createRequestIds(): () => string {
  const instance = crypto.getRandomValues(new Uint8Array(6)).toHex()
  let block = 0
  let start = ''
  let next = IDS_A_BLOCK
  return () => {
    if (next === IDS_A_BLOCK) {
      start = `${instance}-${(block++).toString(36).padStart(4, '0')}`
      next = 0
    }
    return start + ENDINGS[next++]
  }
}

/** Makes the access line of a request that has been answered: one JSON object. */
type AccessLines = (state: RequestState, status: number, durationMs: number) => string

/**
 * Only what is safe to keep: the route's pattern, never its path or query. Every request pays for its line, so what
 * repeats (the time within a millisecond, methods and routes in quotes) is made once.
 */
function createAccessLines(clock: Clock): AccessLines {
  let nowMs = Number.NaN
  let time = ''
  const timeOf = (ms: number) => {
    if (ms !== nowMs) {
      nowMs = ms
      time = new Date(ms).toISOString()
    }
    return time
  }
  return (state, status, durationMs) => {
    const level = status >= 500 ? 'error' : 'info'
    const route = state.route === null ? 'null' : quote(state.route)
    // An address is in its canonical form: nothing in it needs escaping.
    const client = state.address === null ? 'null' : `"${state.address}"`
    return `{"level":"${level}","time":"${timeOf(clock())}","message":"request","request_id":"${state.id}","method":${quote(state.request.method)},"route":${route},"status":${status},"duration_ms":${Math.round(durationMs * 1000) / 1000},"client":${client},"principal":${nameOf(state.principal)}${endOf(state.trace)}`
  }
}

/** Ids of hexadecimal digits: nothing in them needs escaping. */
function endOf(trace: Trace | null): string {
  return trace === null ? '}' : `,"trace_id":"${trace.traceId}","span_id":"${trace.spanId}"}`
}

const quoted = new Map<string, string>()

/** A text as JSON; for methods and routes, of which there are few. */
function quote(text: string): string {
  let json = quoted.get(text)
  if (json === undefined) {
    json = JSON.stringify(text)
    quoted.set(text, json)
  }
  return json
}

function nameOf(principal: Principal | null): string {
  if (principal === null) return 'null'
  return principal.kind === 'user' ? `"user:${principal.userId}"` : `"key:${principal.keyId}"`
}
