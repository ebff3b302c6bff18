/** A caller's trace, and the id that what is done for it here has in it. */
export type Trace = { traceId: string; spanId: string; flags: string }

/** W3C Trace Context, section 3.2.2, version 00; ids of zeros alone are none. */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})$/

/** The trace that a request belongs to; null where it says none, or in a way that cannot be read. */
export function readTrace(request: Request): Trace | null {
  const header = request.headers.get('traceparent')
  if (header === null) return null
  const [, traceId, flags] = TRACEPARENT.exec(header) ?? []
  if (traceId === undefined || flags === undefined) return null
  return { traceId, spanId: crypto.getRandomValues(new Uint8Array(8)).toHex(), flags }
}

/** What the caller is told (W3C Trace Context, `traceresponse`): by this id its work is found in the log. */
export function traceResponse({ traceId, spanId, flags }: Trace): string {
  return `00-${traceId}-${spanId}-${flags}`
}

/** The members of a log line by which it is found from a trace (OpenTelemetry's names); none without one. */
export function traceMembers(trace: Trace | null): { trace_id?: string; span_id?: string } {
  return trace === null ? {} : { trace_id: trace.traceId, span_id: trace.spanId }
}
