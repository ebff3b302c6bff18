import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { databaseError } from '../errors.ts'

/** Whether a connection asks for TLS: never, where the server offers it, or else not at all. */
export type Encryption = 'off' | 'if-offered' | 'required'

/** What a database URL leads to; `hostaddr` is where to connect when `host` is only the name. */
export type Target = {
  host: string
  hostaddr: string | null
  port: number
  user: string | null
  password: string
  database: string
  /** What the server is sent as `options`. */
  options: string | null
  /** What to try, one after the other, until the server takes it. */
  encryptions: readonly [Encryption, ...Encryption[]]
  isTlsDirect: boolean
  /** Reads the files anew at each call: certificates are replaced while a process runs. */
  tls(): ConnectionOptions
}

/** As libpq has them: `allow` and `prefer` take the other way where the server refuses the first one. */
const ENCRYPTIONS: Record<string, Target['encryptions']> = {
  disable: ['off'],
  allow: ['off', 'required'],
  prefer: ['if-offered', 'off'],
}

/**
 * Reads a URL as `parseDatabaseUrl` writes it.
 * @throws Error when it does not name one host
 */
export function readTarget(url: string): Target {
  const parts = URL.parse(url)
  const query = parts?.searchParams
  if (!parts || !query || parts.hostname === '') {
    throw new Error('the database URL must name one host: that of the primary, or of a proxy before it')
  }
  const host = decodeURIComponent(parts.hostname).replace(/^\[(.*)\]$/, '$1')
  const mode = query.get('sslmode') ?? 'prefer'
  return {
    host,
    hostaddr: query.get('hostaddr'),
    port: Number(parts.port || 5432),
    user: decodeURIComponent(parts.username) || null,
    password: decodeURIComponent(parts.password),
    database: decodeURIComponent(parts.pathname.slice(1)),
    options: query.get('options'),
    // libpq too never encrypts on a Unix socket.
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

/** Whether a host is a directory with the server's Unix socket in it. */
export const isSocketPath = (host: string): boolean => host.startsWith('/')

function verification(host: string, mode: string, rootCert: string | null): ConnectionOptions {
  if (!mode.startsWith('verify-')) return { rejectUnauthorized: false }
  return {
    rejectUnauthorized: true,
    // Otherwise the runtime's own authorities, and those of NODE_EXTRA_CA_CERTS.
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
