import type { Config } from '../../config/config.ts'

/** What `deploy/caddy/Caddyfile` leaves out of a question, by the letters and the beginnings of names. */
const LEFT_OUT = [
  ...['*b*', '*c*', '*g*', '*j*', '*l*', '*m*', '*v*', '*_*'],
  ...['D*', 'H*', 'I*', 'P*', 'R*', 'S*', 'T*', 'W*'],
]
/** Headers that clients send, and that a question does not need. Named one by one where no pattern may meet them. */
const SENT = [
  ...[
    'Accept',
    'Accept-Charset',
    'Accept-Encoding',
    'Accept-Language',
    'Cache-Control',
    'Content-Type',
    'Content-Length',
  ],
  ...[
    'Content-Encoding',
    'Content-Language',
    'Cookie',
    'Dnt',
    'Expect',
    'Forwarded',
    'From',
    'Idempotency-Key',
  ],
  ...[
    'If-Match',
    'If-Modified-Since',
    'If-None-Match',
    'If-Range',
    'If-Unmodified-Since',
    'Link',
    'Max-Forwards',
    'Origin',
  ],
  ...[
    'Pragma',
    'Priority',
    'Proxy-Authorization',
    'Range',
    'Referer',
    'Save-Data',
    'Sec-*',
    'Te',
    'Trailer',
    'Traceparent',
  ],
  ...['Tracestate', 'Upgrade-Insecure-Requests', 'User-Agent', 'Via', 'Warning'],
]

const meets = (pattern: string, name: string): boolean => {
  const text = pattern.replaceAll('*', '').toLowerCase()
  const given = name.toLowerCase()
  return pattern.startsWith('*') ? given.includes(text) : given.startsWith(text)
}

/**
 * The `header_up` lines for the question of the Caddyfile in place of its own. Caddy deletes headers after it sets others,
 * so a pattern that meets a name of API_KEY_HEADERS is replaced by the headers that it was for.
 */
function caddyLines(names: readonly string[]): string[] {
  const patterns = LEFT_OUT.filter((pattern) => !names.some((name) => meets(pattern, name)))
  const others = SENT.filter((name) => !patterns.some((pattern) => meets(pattern, name.replace('*', ''))))
  return [...patterns, 'X-Forwarded-Uri', 'X-Requested-With', ...others].map((name) => `header_up -${name}`)
}

/**
 * What nginx and Caddy need beside the recipes in deploy/, so that a key in a header of API_KEY_HEADERS reaches Latchkey and
 * no application. API_KEY_SCHEMES need nothing: they are values of Authorization.
 * @returns lines of comments; none where no header is named
 */
export function proxyLines({ apiKeyHeaders: names }: Pick<Config, 'apiKeyHeaders'>): string[] {
  if (names.length === 0) return []
  const lines = [
    'For API_KEY_HEADERS, nginx, latchkey/ask.conf:',
    ...names.map((name) => `  proxy_set_header ${name} $http_${name.replaceAll('-', '_')};`),
    'nginx, latchkey/app.conf:',
    ...names.map((name) => `  proxy_set_header ${name} "";`),
    'Caddy, in (ask), in place of its header_up lines:',
    ...caddyLines(names).map((line) => `  ${line}`),
    'Caddy, in (app):',
    ...names.map((name) => `  request_header -${name}`),
  ]
  return lines.map((line) => `# ${line}`)
}
