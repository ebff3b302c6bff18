import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { databaseError } from '../errors.ts'

/** Whether a connection uses TLS: never, if the server offers it, or always. */
export type Encryption = 'off' | 'if-offered' | 'required'

/**
 * The target of a database URL. `hostaddr` is the address to connect to when `host` serves only as a name.
 */
export type Target = {
  host: string
  hostaddr: string | null
  port: number
  user: string | null
  password: string
  database: string
  /** The `options` that are sent to the server. */
  options: string | null
  /** The encryptions to try in order, until the server accepts one. */
  encryptions: readonly [Encryption, ...Encryption[]]
  isTlsDirect: boolean
  /** Reads the certificate files at each call: they may be replaced while a process runs. */
  tls(): ConnectionOptions
}

/** As in libpq: `allow` and `prefer` try the other encryption if the server refuses the first one. */
const ENCRYPTIONS: Record<string, Target['encryptions']> = {
  disable: ['off'],
  allow: ['off', 'required'],
  prefer: ['if-offered', 'off'],
}

/** The hosts of a database URL. At most one of them takes writes. */
export type Targets = {
  hosts: readonly [Target, ...Target[]]
  /** Whether the hosts are tried in a random order (`load_balance_hosts=random`). */
  isShuffled: boolean
}

/** The start of a URL with the credentials, the hosts with their ports, and the rest. */
const HOSTS = /^([a-z]+:\/\/(?:[^/?]*@)?)([^/?@]*)(.*)$/s

/**
 * Reads a URL in the form that `parseDatabaseUrl` returns.
 * @throws Error if the URL names no host
 */
export function readTargets(url: string): Targets {
  const [, start = '', places = '', rest = ''] = HOSTS.exec(url) ?? []
  const [first, ...others] = places.split(',').map((place, i) => readTarget(`${start}${place}${rest}`, i))
  if (!first) throw new Error('the database URL must name a host')
  return {
    hosts: [first, ...others],
    isShuffled: new URLSearchParams(rest.split('?')[1]).get('load_balance_hosts') === 'random',
  }
}

function readTarget(url: string, index: number): Target {
  const parts = URL.parse(url)
  const query = parts?.searchParams
  if (!parts || !query || parts.hostname === '') {
    throw new Error('the database URL must name a host')
  }
  const host = decodeURIComponent(parts.hostname).replace(/^\[(.*)\]$/, '$1')
  const mode = query.get('sslmode') ?? 'prefer'
  return {
    host,
    hostaddr: query.get('hostaddr')?.split(',')[index] || null,
    port: Number(parts.port || 5432),
    user: decodeURIComponent(parts.username) || null,
    password: decodeURIComponent(parts.password),
    database: decodeURIComponent(parts.pathname.slice(1)),
    options: query.get('options'),
    // A Unix socket is never encrypted, as in libpq.
    encryptions: isSocketPath(host) ? ['off'] : (ENCRYPTIONS[mode] ?? ['required']),
    isTlsDirect: query.get('sslnegotiation') === 'direct',
    tls: () => ({
      ...(isIP(host) === 0 && { servername: host }),
      ...verification(host, mode, query.get('sslrootcert')),
      ...readFileOption('cert', query.get('sslcert')),
      ...readFileOption('key', query.get('sslkey')),
    }),
  }
}

/** Whether a host is the directory of the server's Unix socket. */
export const isSocketPath = (host: string): boolean => host.startsWith('/')

function verification(host: string, mode: string, rootCert: string | null): ConnectionOptions {
  if (!mode.startsWith('verify-')) return { rejectUnauthorized: false }
  return {
    rejectUnauthorized: true,
    // Without `ca`, the certificate authorities of the runtime and of NODE_EXTRA_CA_CERTS are trusted.
    ...(rootCert !== 'system' && readFileOption('ca', rootCert)),
    ...(mode === 'verify-full' ? { host } : { checkServerIdentity: () => undefined }),
  }
}

function readFileOption(name: 'ca' | 'cert' | 'key', path: string | null): ConnectionOptions {
  if (path === null) return {}
  try {
    return { [name]: readFileSync(path) }
  } catch (error) {
    const why = error instanceof Error && 'code' in error ? error.code : error
    throw databaseError(
      'CONNECT_FAILED',
      `${path}, which DATABASE_URL names for TLS, cannot be read (${why})`,
    )
  }
}
