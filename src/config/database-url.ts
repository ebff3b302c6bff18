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
  const credentials = userinfo === undefined ? '' : encodeUserinfo(userinfo)
  const name = decode(database)
  if (credentials === null || name === null)
    return { fault: 'has a % that starts no escape; write %25 for a plain %' }
  const parameters = parseParameters(query)
  if ('fault' in parameters) return parameters
  return { value: `postgres://${credentials}${hosts}/${encodeURIComponent(name)}${parameters.value}` }
}

/** The URL with its password hidden, for people. Takes what `parseDatabaseUrl` gave. */
export function hideDatabasePassword(url: string): string {
  return url.replace(/^(postgres:\/\/[^:@/]*):[^@/]*@/, '$1:[redacted]@')
}

function isHost(text: string): boolean {
  const host = HOST.exec(text)
  return host !== null && Number(host[1] ?? 5432) >= 1 && Number(host[1] ?? 5432) <= 65535
}

/** Everything after the first `:` is the password, and the last `@` ended it, however it was written. */
function encodeUserinfo(userinfo: string): string | null {
  const colon = userinfo.indexOf(':')
  const user = decode(colon < 0 ? userinfo : userinfo.slice(0, colon))
  const password = colon < 0 ? null : decode(userinfo.slice(colon + 1))
  if (user === null || (colon >= 0 && password === null)) return null
  return `${encodeURIComponent(user)}${password === null ? '' : `:${encodeURIComponent(password)}`}@`
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}

function parseParameters(query: string): Parsed<string> {
  const parameters = new URLSearchParams(query)
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
