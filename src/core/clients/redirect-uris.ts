/** How many redirect URIs a client may have, and how long each may be. */
export const MAX_REDIRECT_URIS = 20
export const MAX_REDIRECT_URI_LENGTH = 500

/** Characters of a URI (RFC 3986), without `#`: a browser reads `\` as `/`, and drops tabs and line breaks. */
const PLAIN = /^[\w.~:/?[\]@!$&'()*+,;=%-]+$/
/** Scheme, authority and rest of an https URI with a host. */
const HTTPS = /^https:\/\/([^/?]+)/
/** A URI on this machine: before the port, the port, and the rest. A user name before an `@` does not match. */
const LOOPBACK = /^(http:\/\/(?:127\.0\.0\.1|\[::1\]|localhost))(?::(\d{1,5}))?((?:[/?].*)?)$/
/** RFC 8252, section 7.1: a domain name of the app in reverse order. Such a scheme has a dot. */
const PRIVATE_USE = /^[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+:(?:\/\/([^/?]*))?/
/** What Latchkey itself writes into the query. */
const OWN_PARAMETERS = ['code', 'state', 'iss', 'error']
const MAX_PORT = 65_535

/**
 * Whether a redirect URI may be registered (oauth.md, section 3, rule 6): https, http on this machine, or a private-use scheme
 * that an admin entered.
 * @param by who registers it: an `admin` also enters private-use schemes, an `app` that registers itself does not
 * @returns null where it may be; else a sentence that says what is allowed
 */
export function findRedirectUriFault(uri: string, by: 'admin' | 'app' = 'app'): string | null {
  if (uri.length > MAX_REDIRECT_URI_LENGTH) return `Must be at most ${MAX_REDIRECT_URI_LENGTH} characters`
  if (!PLAIN.test(uri)) return 'Must be a URI without a fragment'
  const privateUse = PRIVATE_USE.exec(uri)
  const authority = HTTPS.exec(uri)?.[1] ?? LOOPBACK.exec(uri)?.[1] ?? (privateUse && (privateUse[1] ?? ''))
  if (authority === null || (privateUse && by === 'app'))
    return `Must be https, or http on localhost, 127.0.0.1 or [::1]${by === 'admin' ? ', or have a scheme with a dot' : ''}`
  if (authority.includes('@')) return 'Must have no user name or password'
  const parsed = URL.parse(uri)
  if (parsed === null) return 'Must be a URI'
  const own = OWN_PARAMETERS.find((name) => parsed.searchParams.has(name))
  return own === undefined ? null : `Must not have "${own}" in its query`
}

/**
 * Whether the redirect URI of a request is a registered one: byte for byte, but for the port of an http URI on this machine,
 * which a command-line tool learns only as it starts to listen (RFC 8252, section 7.3).
 */
export function matchesRedirectUri(registered: string, asked: string): boolean {
  if (registered === asked) return true
  const [known, given] = [LOOPBACK.exec(registered), LOOPBACK.exec(asked)]
  if (known === null || given === null) return false
  return known[1] === given[1] && known[3] === given[3] && Number(given[2] ?? 0) <= MAX_PORT
}
