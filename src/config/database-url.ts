import { listOf, type Parsed } from './reader.ts'

const SCHEMES = new Set(['postgres', 'postgresql'])
/** SQLAlchemy names its driver in the scheme; the database is the same. */
const DRIVERS = new Set(['asyncpg', 'psycopg', 'psycopg2', 'psycopg_async', 'pg8000'])
const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
/** Settings of other clients that mean nothing here; the server would refuse them as unknown parameters. */
const FOREIGN_PARAMETERS = new Set([
  'async_fallback',
  'channel_binding',
  'command_timeout',
  'gssencmode',
  'pgbouncer',
  'prepared_statement_cache_size',
  'prepared_statement_name_func',
  'sslpassword',
  'statement_cache_size',
])
const FILE_PARAMETERS = new Set(['sslcert', 'sslkey', 'sslcrl', 'sslrootcert'])

const PARTS = /^([a-z0-9]+)(?:\+([a-z0-9_]+))?:\/\/(?:([^/?]*)@)?([^/?@]*)(?:\/([^?]*))?(?:\?(.*))?$/i
const HOST = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?$/i

/**
 * A database URL in the one form that our driver reads: `postgres://user:password@host:port/database?sslmode=…`.
 * Takes SQLAlchemy's form too. Its faults never repeat any part of the URL.
 */
export function parseDatabaseUrl(found: string): Parsed<string> {
  const parts = PARTS.exec(found)
  if (!parts) return { fault: `cannot be read as a URL; write postgres://user:password@host:5432/database` }
  const [, scheme = '', driver, userinfo, hosts = '', database = '', query = ''] = parts
  if (!SCHEMES.has(scheme.toLowerCase()) || (driver && !DRIVERS.has(driver.toLowerCase()))) {
    return { fault: 'must be a PostgreSQL URL: postgres://user:password@host:5432/database' }
  }
  if (hosts === '') return { fault: 'names no host: postgres://user:password@host:5432/database' }
  if (hosts.includes(',')) return { fault: 'names several hosts; name the one that is written to' }
  if (!isHost(hosts)) {
    return {
      fault:
        'has a host or port that cannot be read; in a password / ? # % @ are written %2F %3F %23 %25 %40',
    }
  }
  const parameters = new URLSearchParams(query)
  const credentials = readCredentials(userinfo, parameters)
  const name = decode(database)
  if (credentials === null || name === null)
    return { fault: 'has a % that starts no escape; write %25 for a plain %' }
  const rest = parseParameters(parameters)
  if ('fault' in rest) return rest
  return { value: `postgres://${credentials}${hosts}/${encodeURIComponent(name)}${rest.value}` }
}

/** The parameters whose values are for people to see; of another one, such as a password mistyped, only the name is. */
const SHOWN_PARAMETERS = new Set(['sslmode', 'application_name', 'connect_timeout', 'target_session_attrs'])

/** The URL with its password hidden, for people. Takes what `parseDatabaseUrl` gave. */
export function hideDatabasePassword(url: string): string {
  const [start = '', query] = url.replace(/^(postgres:\/\/[^:@/]*):[^@/]*@/, '$1:[redacted]@').split('?')
  if (query === undefined) return start
  const shown = query.split('&').map((parameter) => {
    const [name = ''] = parameter.split('=')
    return SHOWN_PARAMETERS.has(name) ? parameter : `${name}=[redacted]`
  })
  return `${start}?${shown.join('&')}`
}

function isHost(text: string): boolean {
  const host = HOST.exec(text)
  return host !== null && Number(host[1] ?? 5432) >= 1 && Number(host[1] ?? 5432) <= 65535
}

/**
 * The user and the password, before the host. Everything after the first `:` is the password, and the last `@` ended it,
 * however it was written. As with libpq either may also be a parameter, which wins; the driver would send it on as a setting.
 * @returns null where an escape is broken
 */
function readCredentials(userinfo: string | undefined, parameters: URLSearchParams): string | null {
  const [, user = '', password = ''] = /^([^:]*):?(.*)$/s.exec(userinfo ?? '') ?? []
  const both = [parameters.get('user') ?? decode(user), parameters.get('password') ?? decode(password)]
  parameters.delete('user')
  parameters.delete('password')
  const [name, secret] = both.map((part) => (part === null ? null : encodeURIComponent(part)))
  if (name == null || secret == null) return null
  if (secret !== '') return `${name}:${secret}@`
  return name === '' ? '' : `${name}@`
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}

function parseParameters(parameters: URLSearchParams): Parsed<string> {
  for (const name of [...parameters.keys()]) {
    if (FOREIGN_PARAMETERS.has(name)) parameters.delete(name)
    if (FILE_PARAMETERS.has(name) && parameters.get(name) !== 'system') {
      return {
        fault: `has ${name}, which is not supported; name the certificate authority in NODE_EXTRA_CA_CERTS`,
      }
    }
  }
  // asyncpg calls it ssl and takes true as well.
  const ssl = parameters.get('sslmode') ?? parameters.get('ssl')
  parameters.delete('ssl')
  if (ssl !== null) {
    const mode = ssl.toLowerCase() === 'true' ? 'require' : SSL_MODES.find((m) => m === ssl.toLowerCase())
    if (!mode) return { fault: `has an sslmode that is none of ${listOf(SSL_MODES)}` }
    parameters.set('sslmode', mode)
  }
  return { value: parameters.size === 0 ? '' : `?${parameters}` }
}
