import { Elysia } from 'elysia'
import type { Context } from '../context.ts'
import type { AddressOf } from './client-address.ts'
import { type RequestState, stated } from './request-state.ts'

/** A request id that came in is kept where it is of this form, so that it can be followed through a proxy. */
const REQUEST_ID = /^[A-Za-z0-9._-]{8,64}$/

/** On every answer; see API.md, Errors. */
const COMMON_HEADERS = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
}

/** Gives each request its state and its id, and writes its access line once it is answered. */
export function observe(context: Context, addressOf: AddressOf) {
  const nextId = createRequestIds()
  const { access } = context.log

  const app = new Elysia({ name: 'observe' })
    .headers(COMMON_HEADERS)
    .use(stated)
    .onRequest((ctx) => {
      const { request, set } = ctx
      const given = request.headers.get('x-request-id')
      const id = given !== null && REQUEST_ID.test(given) ? given : nextId()
      ctx.state = {
        id,
        request,
        startedAt: performance.now(),
        // Asked now: once the answer is on its way, nobody knows the peer any more.
        address: addressOf(request, ctx.server),
        principal: null,
        counted: false,
      }
      set.headers['x-request-id'] = id
    })
  if (!access) return app
  return app.onAfterResponse({ as: 'global' }, ({ request, set, route, state }) => {
    access(accessLine(context, request.method, route, Number(set.status ?? 200), state))
  })
}

/** One JSON object. Only what is safe to keep: the route's pattern, never its path or query. */
function accessLine(
  context: Context,
  method: string,
  route: string | undefined,
  status: number,
  state: RequestState,
): string {
  const durationMs = Math.round((performance.now() - state.startedAt) * 1000) / 1000
  const level = status >= 500 ? 'error' : 'info'
  const time = new Date(context.clock()).toISOString()
  const { principal } = state
  const who =
    principal === null
      ? 'null'
      : principal.kind === 'user'
        ? `"user:${principal.userId}"`
        : `"key:${principal.keyId}"`
  const path = route ? JSON.stringify(route) : 'null'
  const client = JSON.stringify(state.address)
  return `{"level":"${level}","time":"${time}","message":"request","request_id":"${state.id}","method":${JSON.stringify(method)},"route":${path},"status":${status},"duration_ms":${durationMs},"client":${client},"principal":${who}}`
}

/** Ids that no two instances share: a random start for each process, then a counter. */
function createRequestIds(): () => string {
  const instance = crypto.getRandomValues(new Uint8Array(6)).toHex()
  let count = 0
  return () => `${instance}-${(count++).toString(36).padStart(6, '0')}`
}
