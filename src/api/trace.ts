/** A caller's trace, and the id of this request's work (its span) in the trace. */
export type Trace = { traceId: string; spanId: string; flags: string }

/** W3C Trace Context, section 3.2.2, version 00. Ids of zeros alone are invalid. */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})$/

/** The trace that a request belongs to; null where it names none, or names one in another form. */
export function readTrace(request: Request): Trace | null {
  const header = request.headers.get('traceparent')
  if (header === null) return null
  const [, traceId, flags] = TRACEPARENT.exec(header) ?? []
  if (traceId === undefined || flags === undefined) return null
  return { traceId, spanId: crypto.getRandomValues(new Uint8Array(8)).toHex(), flags }
}

/** The `traceresponse` header (W3C Trace Context), which tells the caller the span's id in the log. */
export function traceResponse({ traceId, spanId, flags }: Trace): string {
  return `00-${traceId}-${spanId}-${flags}`
}

/** The members of a log line that belongs to a trace, by OpenTelemetry's names; none without a trace. */
export function traceMembers(trace: Trace | null): { trace_id?: string; span_id?: string } {
  return trace === null ? {} : { trace_id: trace.traceId, span_id: trace.spanId }
}
