import type { Principal } from '../core/principal.ts'
import type { Clock } from '../lib/time.ts'
import type { RequestState } from './request-state.ts'
import type { Trace } from './trace.ts'

/** Makes the access line of a request that has been answered: one JSON object. */
export type AccessLines = (state: RequestState, status: number, durationMs: number) => string

/**
 * Only what is safe to keep: the route's pattern, never its path or query. Every request pays for its line, so what
 * repeats (the time within a millisecond, methods and routes in quotes) is made once.
 */
export function createAccessLines(clock: Clock): AccessLines {
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
