import { type Parsed, quote } from './reader.ts'

const MAX_NAMES = 5
/** No underscore: proxies drop it, or take it for a dash. */
const NAME = /^[a-z][a-z0-9-]{0,63}$/

/** Headers that mean something else to HTTP, to browsers, to tracing or to proxies, or that carry a credential anyway. */
const TAKEN = new Set(
  `accept alt-used authorization b3 baggage cache-control connection cookie cookie2 date dnt early-data expect expires forwarded from host http2-settings
  idempotency-key keep-alive last-event-id link location max-forwards origin pragma priority range referer retry-after save-data server
  set-cookie set-cookie2 te traceparent tracestate trailer trailers transfer-encoding true-client-ip upgrade user-agent vary via warning
  www-authenticate x-api-key x-client-ip x-http-method-override x-original-uri x-original-url x-real-ip x-request-id x-requested-with
  x-rewrite-url`.split(/\s+/),
)
const TAKEN_PREFIXES = [
  'accept-',
  'access-control-',
  'cf-',
  'content-',
  'if-',
  'proxy-',
  'ratelimit-',
  'sec-',
  'upgrade-',
  'x-auth-',
  'x-b3-',
  'x-content-',
  'x-envoy-',
  'x-forwarded-',
  'x-original-',
]
const TAKEN_SCHEMES = new Set(['bearer', 'basic', 'digest'])

const split = (found: string): string[] => [
  ...new Set(
    found
      .toLowerCase()
      .split(/[\s,]+/)
      .filter((name) => name !== ''),
  ),
]

/** Parses the names of further headers that carry a key, into lower case. */
export function parseKeyHeaders(found: string): Parsed<string[]> {
  const names = split(found)
  if (names.length > MAX_NAMES) return { fault: `must name at most ${MAX_NAMES} headers` }
  for (const name of names) {
    if (!NAME.test(name))
      return { fault: `must list headers of letters, digits and dashes, not ${quote(name)}` }
    if (TAKEN.has(name) || TAKEN_PREFIXES.some((prefix) => name.startsWith(prefix) || `${name}-` === prefix))
      return { fault: `must not name ${quote(name)}, which has another meaning or is read anyway` }
  }
  return { value: names }
}

/** Parses further schemes of the Authorization header that carry a key, into lower case. */
export function parseKeySchemes(found: string): Parsed<string[]> {
  const names = split(found)
  if (names.length > MAX_NAMES) return { fault: `must name at most ${MAX_NAMES} schemes` }
  for (const name of names) {
    if (!NAME.test(name))
      return { fault: `must list schemes of letters, digits and dashes, not ${quote(name)}` }
    if (TAKEN_SCHEMES.has(name))
      return { fault: `must not name ${quote(name)}, which has a meaning of its own` }
  }
  return { value: names }
}
