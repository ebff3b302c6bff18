import { type AnyElysia, Elysia } from 'elysia'
import type { Context } from '../core/context.ts'
import { idOf, type Principal } from '../core/principal.ts'
import { withDeadline } from '../lib/deadline.ts'
import type { Clock } from '../lib/time.ts'
import type { AddressOf, PeerSource } from './client-address.ts'
import { type Answer, provideState, wrapWith } from './elysia.ts'
import { setRateHeaders } from './rate-headers.ts'
import { callerOf, NO_CREDENTIAL, type RequestState, stated } from './request-state.ts'
import type { IsDraining } from './routes/health.ts'
import { readTrace, type Trace, traceResponse } from './trace.ts'

/**
 * A client's request id is kept if it has this form, so that a request can be followed through a proxy. Any other text is
 * replaced: it could forge a line of the log.
 */
const REQUEST_ID = /^[A-Za-z0-9._-]{8,64}$/

/** Gives a route that Elysia does not serve what every request and every answer has: state, headers, access line. */
export type Observed = (
  answer: (request: Request, state: RequestState) => Response | Promise<Response>,
) => Answer

/**
 * The outermost layer. It gives each request its state and id, and each answer its headers and access line, also where
 * the answer is an error. Call `provideState` with the finished app.
 * @param prepare runs before the request enters the app; it returns a promise only where it has to wait
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
      // Bun forgets the peer of a request once the request is answered.
      address: addressOf(request, server),
      trace: readTrace(request),
      route: null,
      credential: NO_CREDENTIAL,
      authorize: null,
      browser: null,
      counted: false,
      rate: null,
    }
  }
  const finish = (response: Response, state: RequestState): Response => {
    const durationMs = performance.now() - state.startedAt
    setCommonHeaders(response.headers, state.id)
    if (state.rate && response.ok) setRateHeaders(response.headers, state.rate, context.clock())
    if (state.trace) response.headers.set('traceresponse', traceResponse(state.trace))
    // A kept connection could bring a request at the moment when the server stops (docs/decisions/0016).
    if (isDraining()) response.headers.set('connection', 'close')
    context.metrics.requests.count(state.route, state.request.method, response.status, durationMs)
    if (access && isLogged(state.route)) access(lineOf(state, response.status, durationMs))
    return response
  }
  /** Stays synchronous when the answer already is: one `await` here doubles the cost of a warm request. */
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
      wrapWith((request, answer) =>
        withDeadline(() => {
          const state = begin(request)
          const preparing = prepare(state)
          return preparing ? preparing.then(() => pass(answer, state)) : pass(answer, state)
        }),
      ),
    )
    // A body is parsed before this hook runs; where parsing fails, onError below is the first to know the route.
    .onTransform({ as: 'global' }, ({ state, route }) => {
      state.route = route
    })
    .onError({ as: 'global' }, ({ state, route }) => {
      state.route = route ?? null
    })
  return {
    plugin,
    observed,
    provideState: <App extends AnyElysia>(app: App) => provideState(app, () => entering),
  }
}

/** The headers of every answer (API.md, Errors). No cache keeps an answer, unless the answer itself allows it. */
function setCommonHeaders(headers: Headers, requestId: string): void {
  headers.set('x-request-id', requestId)
  headers.set('x-content-type-options', 'nosniff')
  if (!headers.has('referrer-policy')) headers.set('referrer-policy', 'no-referrer')
  if (!headers.has('cache-control')) headers.set('cache-control', 'no-store')
}

const IDS_A_BLOCK = 36 ** 2
const ENDINGS = Array.from({ length: IDS_A_BLOCK }, (_, n) => n.toString(36).padStart(2, '0'))

/**
 * Ids that no two instances share: a random start for each process, then a counter in base 36. All but the last two digits
 * are formatted once for each block of 1,296 ids, because every request needs an id.
 */
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

/** Makes the access line of an answered request: one JSON object. `durationMs` is in milliseconds. */
type AccessLines = (state: RequestState, status: number, durationMs: number) => string

/**
 * An access line holds the pattern of the route, and neither the path nor the query, which may hold a secret. Text that
 * repeats is made once, because every request writes a line: the time within a millisecond, methods and routes in quotes.
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
    // An address in its canonical form has no character that JSON escapes.
    const client = state.address === null ? 'null' : `"${state.address}"`
    return `{"level":"${level}","time":"${timeOf(clock())}","message":"request","request_id":"${state.id}","method":${quote(state.request.method)},"route":${route},"status":${status},"duration_ms":${Math.round(durationMs * 1000) / 1000},"client":${client},"principal":${nameOf(callerOf(state))}${endOf(state.trace)}`
  }
}

/** The end of a line, with the ids of the trace: hexadecimal digits, which JSON does not escape. */
function endOf(trace: Trace | null): string {
  return trace === null ? '}' : `,"trace_id":"${trace.traceId}","span_id":"${trace.spanId}"}`
}

const quoted = new Map<string, string>()

/** A text as JSON. For methods and routes alone: every text is remembered, and there are few of these. */
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
  return `"${principal.kind}:${idOf(principal)}"`
}
