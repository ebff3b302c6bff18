import { isIP } from 'node:net'
import { listOf, type Parsed } from './reader.ts'

const SCHEMES = new Set(['postgres', 'postgresql'])
/** SQLAlchemy names its driver in the scheme. The driver makes no difference to the database. */
const DRIVERS = new Set(['asyncpg', 'psycopg', 'psycopg2', 'psycopg_async', 'pg8000'])
/** Query parameters that replace parts of the URL. */
const PLACES = new Set(['host', 'port', 'user', 'password', 'dbname'])
const KEPT_PARAMETERS = new Set(['hostaddr', 'options', 'sslcert', 'sslkey', 'sslnegotiation', 'sslrootcert'])
const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
const SSL_WORDS: Record<string, (typeof SSL_MODES)[number]> = {
  true: 'require',
  '1': 'require',
  false: 'disable',
  '0': 'prefer',
}
/** Parameters of libpq and of other clients that have no effect here. */
const IGNORED_PARAMETERS = new Set(
  `application_name async_fallback channel_binding client_encoding command_timeout connect_timeout connection_limit
  fallback_application_name gssdelegation gssencmode gsslib keepalives keepalives_count keepalives_idle
  keepalives_interval krbsrvname max_protocol_version min_protocol_version pgbouncer pool_timeout
  prepared_statement_cache_size prepared_statement_name_func schema socket_timeout sslcertmode sslcompression sslsni
  statement_cache_size tcp_user_timeout uselibpqcompat`.split(/\s+/),
)
/** The values of `target_session_attrs` that ask for a primary. Latchkey always needs one. */
const SESSION_ATTRIBUTES = new Set(['primary', 'read-write'])
const MAX_HOSTS = 16

const PARTS = /^([a-z0-9]+)(?:\+([a-z0-9_]+))?:\/\/(?:([^/?]*)@)?([^/?@]*)(?:\/([^?]*))?(?:\?(.*))?$/i
const AUTHORITY = /^(\[[^\]]*\]|[^:[\]]*)(?::(\d{1,5}))?$/
const HOST_NAME = /^[a-z0-9._-]+$/i

/**
 * Parses a database URL as libpq and SQLAlchemy accept it.
 * @returns the URL in the one form that `db/postgres/target.ts` reads: each part encoded, the directory of a
 *   Unix socket in place of the host (`postgres://user@%2Frun%2Fpostgresql/database`), and only parameters
 *   that have an effect; or a fault, which repeats nothing of the URL except the name of a parameter, because
 *   any other part may be a password
 */
export function parseDatabaseUrl(found: string): Parsed<string> {
  const parts = PARTS.exec(found)
  if (!parts) return { fault: `cannot be read as a URL; write postgres://user:password@host:5432/database` }
  const [, scheme = '', driver, userinfo = '', authority = '', path = '', search = ''] = parts
  if (!SCHEMES.has(scheme.toLowerCase()) || (driver && !DRIVERS.has(driver.toLowerCase()))) {
    return { fault: 'must be a PostgreSQL URL: postgres://user:password@host:5432/database' }
  }
  // libpq reads a + as a plus sign, URLSearchParams as a space.
  const query = new URLSearchParams(search.replaceAll('+', '%2B'))
  // The password is everything after the first colon. The last @ of the URL ends it, so a password may
  // contain an unescaped @.
  const [, userInPlace = '', passwordInPlace] = /^([^:]*)(?::(.*))?$/s.exec(userinfo) ?? []
  const written = authority.split(',').map((place) => AUTHORITY.exec(place))
  const decoded = [userInPlace, passwordInPlace ?? '', path].map(decode)
  const hostsInPlace = written.map((place) => decode(place?.[1] ?? ''))
  if (decoded.includes(null) || hostsInPlace.includes(null))
    return { fault: 'has a % that does not start an escape; write %25 for a plain %' }
  const [user = '', password = '', database = ''] = ['user', 'password', 'dbname'].map(
    (name, i) => query.get(name) ?? decoded[i] ?? '',
  )
  if (!query.has('host') && written.includes(null)) return { fault: UNREADABLE_PLACE }
  const places = parsePlaces(
    query.get('host')?.split(',') ?? hostsInPlace.map(String),
    query.get('port')?.split(',') ?? written.map((place) => place?.[2] ?? ''),
    query.get('hostaddr')?.split(',') ?? [],
  )
  if ('fault' in places) return places
  const parameters = parseParameters(query, places.value.length > 1)
  if ('fault' in parameters) return parameters
  const credentials =
    user + password && `${encodeURIComponent(user)}${password && `:${encodeURIComponent(password)}`}@`
  const at = `${credentials}${places.value.join(',')}`
  return { value: `postgres://${at}/${encodeURIComponent(database)}${parameters.value}` }
}

const UNREADABLE_PLACE =
  'has a host or port that cannot be read; in a password / ? # % @ are written %2F %3F %23 %25 %40'

/**
 * Puts hosts and ports together as libpq does: one port is that of every host, else each host has its own.
 * @param addresses the `hostaddr` of each host, or none
 */
function parsePlaces(found: string[], ports: string[], addresses: string[]): Parsed<string[]> {
  // `hostaddr` alone names the hosts.
  const hosts = found.join('') === '' && addresses.length > 1 ? addresses : found
  if (hosts.length > MAX_HOSTS) return { fault: `names more than ${MAX_HOSTS} hosts` }
  if (ports.length > 1 && ports.length !== hosts.length)
    return { fault: 'must name one port, or as many ports as hosts' }
  if (addresses.length > 0 && addresses.length !== hosts.length)
    return { fault: 'must have as many addresses in hostaddr as hosts' }
  const places: string[] = []
  for (const [i, host] of hosts.entries()) {
    const name = host || (addresses[i] ?? '')
    if (name === '') return { fault: NO_HOST[hosts.length > 1 ? 'several' : 'one'] }
    const port = (ports.length > 1 ? ports[i] : ports[0]) ?? ''
    const place = writeHost(name)
    if (place === null || !isPort(port)) return { fault: UNREADABLE_PLACE }
    places.push(`${place}${port && `:${port}`}`)
  }
  return { value: places }
}

const NO_HOST = {
  one: 'names no host: postgres://user:password@host:5432/database',
  several: 'has a host without a name between its commas',
}

/**
 * Parameters whose values a person may see. For any other parameter only the name is printed: it may be a
 * mistyped password.
 */
const PUBLIC_PARAMETERS = new Set(['sslmode', 'application_name', 'connect_timeout', 'load_balance_hosts'])

/** Hides the password of a URL that `parseDatabaseUrl` returned. */
export function hideDatabasePassword(url: string): string {
  const [start = '', query] = url.replace(/^(postgres:\/\/[^:@/]*):[^@/]*@/, '$1:[redacted]@').split('?')
  if (query === undefined) return start
  const parameters = query.split('&').map((parameter) => {
    const [name = ''] = parameter.split('=')
    return PUBLIC_PARAMETERS.has(name) ? parameter : `${name}=[redacted]`
  })
  return `${start}?${parameters.join('&')}`
}

/**
 * Writes a host for a URL: a name, an address, or the directory of a Unix socket. null for any other text.
 */
function writeHost(host: string): string | null {
  const address = host.replace(/^\[(.*)\]$/, '$1')
  if (isIP(address) === 6) return `[${address}]`
  if (host.startsWith('/')) return encodeURIComponent(host)
  return HOST_NAME.test(host) ? host : null
}

const isPort = (text: string) =>
  text === '' || (/^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65535)

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}

/** Parses the parameters that have an effect, in the way libpq does. */
function parseParameters(query: URLSearchParams, hasSeveralHosts: boolean): Parsed<string> {
  const kept = new URLSearchParams()
  for (const [name, value] of query) {
    if (IGNORED_PARAMETERS.has(name) || PLACES.has(name)) continue
    // Of several hosts, one may have no address: its name is looked up.
    if (name === 'hostaddr' && !value.split(',').every((each) => isIP(each) || (!each && hasSeveralHosts)))
      return { fault: 'has a hostaddr that is not an address' }
    if (name === 'sslnegotiation' && value !== 'direct' && value !== 'postgres') {
      return { fault: 'has an sslnegotiation that is neither postgres nor direct' }
    }
    if (name === 'target_session_attrs') {
      if (SESSION_ATTRIBUTES.has(value)) continue
      return {
        fault:
          'has a target_session_attrs that is neither read-write nor primary; Latchkey writes, and needs the primary',
      }
    }
    if (name === 'load_balance_hosts') {
      if (value !== 'disable' && value !== 'random')
        return { fault: 'has a load_balance_hosts that is neither disable nor random' }
      if (value === 'random' && hasSeveralHosts) kept.set(name, value)
      continue
    }
    // `ssl` is asyncpg's name, which also takes `true`. `requiressl` is an old parameter of libpq.
    if (name === 'sslmode' || name === 'ssl' || name === 'requiressl') {
      const mode = SSL_WORDS[value.toLowerCase()] ?? SSL_MODES.find((each) => each === value.toLowerCase())
      if (!mode) return { fault: `has an sslmode that is not one of ${listOf(SSL_MODES)}` }
      kept.set('sslmode', mode)
    } else if (KEPT_PARAMETERS.has(name)) kept.set(name, value)
    // The text after an unescaped ? may be half of a password, so it is not repeated.
    else if (!/^[a-z_]{1,40}$/i.test(name) || query.toString().includes('%40')) {
      return {
        fault: 'has a parameter that is not known; in a password / ? # % @ are written %2F %3F %23 %25 %40',
      }
    } else return { fault: `has ${name}, which is not supported` }
  }
  const rootCert = kept.get('sslrootcert')
  if (rootCert === 'system') kept.set('sslmode', 'verify-full')
  else if (rootCert && kept.get('sslmode') === 'require') kept.set('sslmode', 'verify-ca')
  return { value: kept.size === 0 ? '' : `?${kept}` }
}
