import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import type { Config } from '../../src/config/config.ts'
import { readConfig } from '../../src/config/read.ts'
import { showConfig } from '../../src/config/show.ts'

const GOOD_KEY = 'R7BT5DyGImmK4KGF4qfMq3sz4dZmTJMdMsrLDbCk0/JYs2eyKo7sKqr2ZsUjF8NF'

type Environment = Record<string, string>

function read(env: Environment, dotenv?: string): Config {
  const result = readConfig(env, { ...(dotenv !== undefined && { dotenv }) })
  if ('faults' in result) throw new Error(result.faults.join('\n'))
  return result.config
}

function faultsOf(env: Environment, dotenv?: string): string[] {
  const result = readConfig(env, { ...(dotenv !== undefined && { dotenv }) })
  return 'faults' in result ? result.faults : []
}

function warningsOf(env: Environment): string[] {
  const result = readConfig(env)
  if ('faults' in result) throw new Error(result.faults.join('\n'))
  return result.warnings
}

test('without settings, the service listens on this machine alone and uses the embedded database', () => {
  const result = readConfig({}, { cores: 4 })
  expect(result).toMatchObject({
    warnings: [],
    config: {
      databaseUrl: null,
      databaseDirectUrl: null,
      dataDir: './data',
      host: '127.0.0.1',
      port: 8000,
      publicUrl: 'http://localhost:8000',
      jwtAudience: 'http://localhost:8000',
      secretKey: null,
      algorithm: 'ES256',
      userScopes: ['read', 'write'],
      passwordHashConcurrency: 3,
      shutdownDelaySeconds: 5,
      rateLimits: { login: { limit: 10, windowSeconds: 60 }, signup: { limit: 5, windowSeconds: 3600 } },
    },
  })
})

test('one core still hashes, and a server on a terminal does not wait for a load balancer', () => {
  expect(readConfig({}, { cores: 1, isTerminal: true })).toMatchObject({
    config: { passwordHashConcurrency: 1, shutdownDelaySeconds: 0 },
  })
  expect(readConfig({ SHUTDOWN_DELAY_SECONDS: '7' }, { isTerminal: true })).toMatchObject({
    config: { shutdownDelaySeconds: 7 },
  })
})

describe('every fault is listed at once', () => {
  const WRONG: Environment = {
    DATABASE_URL: 'mysql://user:hunter2@host/db',
    DATABASE_POOL_SIZE: '0',
    DATABASE_STATEMENT_TIMEOUT_MS: '2s',
    DATABASE_CONNECT_TIMEOUT_MS: '99',
    DATABASE_PREPARE: 'perhaps',
    DATABASE_WAIT_SECONDS: 'long',
    MIGRATE: 'never',
    HOST: 'http://localhost',
    PORT: '65536',
    PUBLIC_URL: 'auth.example.com',
    JWT_AUDIENCE: 'two words',
    SECRET_KEY: 'hunter2',
    SECRET_KEY_PREVIOUS: 'hunter2hunter2hunter2hunter2hunter2hunter2',
    ALGORITHM: 'none',
    ACCESS_TOKEN_EXPIRE_MINUTES: '-1',
    REFRESH_TOKEN_EXPIRE_DAYS: '1.5',
    SESSION_MAX_DAYS: '1e1',
    CLIENT_SESSION_MAX_DAYS: '366',
    REFRESH_GRACE_SECONDS: '301',
    SIGNUP: 'yes',
    USER_SCOPES: 'Read',
    ADMIN_EMAIL: 'nobody',
    ADMIN_PASSWORD: 'hunter2',
    PASSWORD_MIN_LENGTH: '7',
    PASSWORD_HASH_CONCURRENCY: '0',
    API_KEY_PREFIX: 'SK-',
    API_KEY_HEADERS: 'Cookie',
    API_KEY_SCHEMES: 'Bearer',
    API_KEY_DEFAULT_EXPIRE_DAYS: '0',
    API_KEY_MAX_EXPIRE_DAYS: 'never',
    API_KEYS_PER_OWNER: '',
    TRUSTED_PROXIES: '10.0.0.0/33',
    CORS_ORIGINS: '*',
    RATE_LIMITS: 'login=ten/1m',
    AUDIT_RETENTION_DAYS: '0',
    USAGE_RETENTION_DAYS: '3651',
    REFUSALS_RETENTION_DAYS: '-1',
    SHUTDOWN_DELAY_SECONDS: '301',
    LOG_LEVEL: 'loud',
    LOG_FORMAT: 'xml',
    REFRESH_TOKEN_IN_QUERY: '2',
    OAUTH_PASSWORD_GRANT: 'never',
    DOCS: 'no thanks',
    METRICS_TOKEN: 'hunter2hunter2',
    METRICS_PORT: '0',
  }
  const faults = faultsOf(WRONG)

  test.each(Object.keys(WRONG).filter((name) => WRONG[name] !== ''))('%s', (name) => {
    expect(faults.filter((fault) => fault.startsWith(`${name} `))).toHaveLength(1)
  })

  test('and no fault contains a secret', () => {
    expect(faults.join('\n')).not.toContain('hunter2')
  })
})

test('an empty value counts as unset, and white space around one does not count', () => {
  expect(read({ PORT: ' ', SECRET_KEY: '', HOST: ' 127.0.0.2 ' })).toMatchObject({
    port: 8000,
    secretKey: null,
    host: '127.0.0.2',
  })
})

test.each([
  ['true', true],
  ['TRUE', true],
  ['1', true],
  ['Yes', true],
  ['false', false],
  ['0', false],
  ['NO', false],
])('DOCS=%s is %p', (text, value) => {
  expect(read({ DOCS: text }).docs).toBe(value)
})

describe('.env', () => {
  test('the real environment wins over it, with an empty value too', () => {
    expect(read({ PORT: '1' }, 'PORT=2\nHOST=::1')).toMatchObject({ port: 1, host: '::1' })
    expect(read({ PORT: '' }, 'PORT=2').port).toBe(8000)
  })

  test('is read with quotes, comments, export and a byte order mark, and expands nothing', () => {
    const text = '\uFEFFexport PORT=9 # here\nDATA_DIR="a # $HOME"\n# HOST=x\r\nJWT_AUDIENCE=\'$x\'\n'
    expect(read({ x: '1' }, text)).toMatchObject({ port: 9, dataDir: 'a # $HOME', jwtAudience: '$x' })
  })

  const SEED = `
# Application
APP_NAME=FastAPI Auth Service
DEBUG=True
DATABASE_URL=postgresql+asyncpg://postgres:postgres@localhost:5432/db
SECRET_KEY=your-secret-key-change-in-production
ALGORITHM=HS256
ACCESS_TOKEN_EXPIRE_MINUTES=30
REFRESH_TOKEN_EXPIRE_DAYS=7
`
  test('of the replaced service works, but for its SECRET_KEY', () => {
    expect(faultsOf({}, SEED)).toEqual([expect.stringMatching(/^SECRET_KEY .*openssl rand -base64 48$/)])
    const config = read({ SECRET_KEY: GOOD_KEY }, SEED)
    expect(config).toMatchObject({ algorithm: 'HS256', accessTokenExpireMinutes: 30 })
    expect(config.databaseUrl?.reveal()).toBe('postgres://postgres:postgres@localhost:5432/db')
  })
})

describe('DATABASE_URL', () => {
  const url = (found: string) => read({ DATABASE_URL: found, SECRET_KEY: GOOD_KEY }).databaseUrl?.reveal()

  test.each([
    ['postgres://u:p@h/db', 'postgres://u:p@h/db'],
    ['postgresql://u:p@h:5433/db', 'postgres://u:p@h:5433/db'],
    ['postgresql+asyncpg://u:p@h/db', 'postgres://u:p@h/db'],
    ['postgresql+psycopg2://u:p@h/db', 'postgres://u:p@h/db'],
    ['postgresql+psycopg://u@h/db', 'postgres://u@h/db'],
    ['postgres://u:p@h/db?ssl=require', 'postgres://u:p@h/db?sslmode=require'],
    ['postgres://u:p@h/db?ssl=true', 'postgres://u:p@h/db?sslmode=require'],
    ['postgres://u:p@h/db?sslmode=verify-full', 'postgres://u:p@h/db?sslmode=verify-full'],
    ['postgres://u:p@h/db?channel_binding=require&sslmode=require', 'postgres://u:p@h/db?sslmode=require'],
    ['postgresql+asyncpg://u:p@h/db?prepared_statement_cache_size=0', 'postgres://u:p@h/db'],
    ['postgres://u:p@[::1]:5432/db', 'postgres://u:p@[::1]:5432/db'],
    ['postgres://u:a@b:c@h/db', 'postgres://u:a%40b%3Ac@h/db'],
    ['postgres://u:%23%2F@h/db', 'postgres://u:%23%2F@h/db'],
    ['postgres://h/db?user=u&password=a%40b', 'postgres://u:a%40b@h/db'],
    ['postgres://u@h/db?sslmode=require&password=p', 'postgres://u:p@h/db?sslmode=require'],
    ['postgres://u@/db?host=/run/postgresql', 'postgres://u@%2Frun%2Fpostgresql/db'],
    ['postgresql:///db?host=/run/postgresql&user=u&port=5433', 'postgres://u@%2Frun%2Fpostgresql:5433/db'],
    ['postgres://u:p@%2Frun%2Fpostgresql:5433/db', 'postgres://u:p@%2Frun%2Fpostgresql:5433/db'],
    ['postgres:///?host=h&dbname=d%20b&user=u&password=a+b%2F', 'postgres://u:a%2Bb%2F@h/d%20b'],
    ['postgres://u@/db?host=::1', 'postgres://u@[::1]/db'],
    ['postgres://u@a/db?host=b', 'postgres://u@b/db'],
    ['postgres://u@h/db?hostaddr=10.0.0.7', 'postgres://u@h/db?hostaddr=10.0.0.7'],
    ['postgres://u@/db?hostaddr=10.0.0.7', 'postgres://u@10.0.0.7/db?hostaddr=10.0.0.7'],
    ['postgres://u@h', 'postgres://u@h/'],
    ['postgres://h/db', 'postgres://h/db'],
    [
      'postgres://u@h/db?sslmode=require&sslrootcert=/ca.pem',
      'postgres://u@h/db?sslmode=verify-ca&sslrootcert=%2Fca.pem',
    ],
    ['postgres://u@h/db?sslrootcert=system', 'postgres://u@h/db?sslrootcert=system&sslmode=verify-full'],
    ['postgres://u@h/db?sslmode=allow', 'postgres://u@h/db?sslmode=allow'],
    ['postgres://u@h/db?requiressl=1', 'postgres://u@h/db?sslmode=require'],
    ['postgres://u@h/db?options=endpoint%3Da-b', 'postgres://u@h/db?options=endpoint%3Da-b'],
    ['postgres://u@h/db?target_session_attrs=read-write&load_balance_hosts=disable', 'postgres://u@h/db'],
    ['postgres://u@h/db?target_session_attrs=primary&load_balance_hosts=random', 'postgres://u@h/db'],
    ['postgres://u:p@one:1,two:2/db', 'postgres://u:p@one:1,two:2/db'],
    ['postgres://u@a,b:5433,[::1]/db', 'postgres://u@a,b:5433,[::1]/db'],
    ['postgres://u@/db?host=a,b&port=5433', 'postgres://u@a:5433,b:5433/db'],
    ['postgres://u@/db?host=a,b,c&port=1,,3', 'postgres://u@a:1,b,c:3/db'],
    ['postgres://u@%2Frun%2Fpostgresql,b/db', 'postgres://u@%2Frun%2Fpostgresql,b/db'],
    ['postgres://u@a,b/db?hostaddr=10.0.0.7,', 'postgres://u@a,b/db?hostaddr=10.0.0.7%2C'],
    [
      'postgres://u@/db?hostaddr=10.0.0.7,10.0.0.8',
      'postgres://u@10.0.0.7,10.0.0.8/db?hostaddr=10.0.0.7%2C10.0.0.8',
    ],
    [
      'postgres://u@a,b/db?target_session_attrs=read-write&load_balance_hosts=random',
      'postgres://u@a,b/db?load_balance_hosts=random',
    ],
    [
      'postgres://u@h/db?keepalives=1&keepalives_idle=30&keepalives_interval=5&keepalives_count=3&tcp_user_timeout=9',
      'postgres://u@h/db',
    ],
    [
      'postgres://u@h/db?sslsni=0&gssencmode=disable&application_name=x&connect_timeout=3',
      'postgres://u@h/db',
    ],
    ['postgres://u@h/db?schema=public&pgbouncer=true&connection_limit=1', 'postgres://u@h/db'],
  ])('%s is read', (found, expected) => {
    expect(url(found)).toBe(expected)
  })

  test.each([
    'mysql://u:hunter2@h/db',
    'sqlite+aiosqlite:///hunter2.db',
    'postgres://',
    'postgres://u:hunter2@/db',
    'postgres://u:hunter2@h:0/db',
    'postgres://u:hunter2@h:99999/db',
    'postgres://u:hunter2/x@h/db',
    'postgres://u:%hunter2@h/db',
    'postgres://u:hunter2@h/db?sslmode=maybe',
    'postgres://u:hunter2@h/db?hostaddr=h',
    'postgres://u:hunter2@h/db?host=a,,b',
    'postgres://u:hunter2@h/db?host=a,b,c&port=1,2',
    'postgres://u:hunter2@a,b/db?hostaddr=10.0.0.1',
    'postgres://u:hunter2@a,b/db?hostaddr=10.0.0.1,b',
    'postgres://u:hunter2@a:1,b:0/db',
    'postgres://u:hunter2@a,b c/db',
    'postgres://u:hunter2@a,/db',
    `postgres://u:hunter2@${'h,'.repeat(16)}h/db`,
    'postgres://u:hunter2@h/db?port=none',
    'postgres://u:12?hunter2@h/db',
    'postgres://u:12?hunter@h/db&hunter2=x',
    'postgres://u:hunter2@h/db?target_session_attrs=standby',
    'postgres://u:hunter2@h/db?target_session_attrs=any',
    'postgres://u:hunter2@a,b/db?target_session_attrs=hunter2',
    'postgres://u:hunter2@a,b/db?load_balance_hosts=hunter2',
    'postgres://u:hunter2@h/db?sslnegotiation=hunter2',
    'hunter2',
  ])('%s is refused, and not repeated', (found) => {
    const faults = faultsOf({ DATABASE_URL: found, SECRET_KEY: GOOD_KEY })
    expect(faults).toEqual([expect.stringMatching(/^DATABASE_URL /)])
    expect(faults.join()).not.toContain('hunter2')
  })

  test.each(['sslcrl', 'passfile', 'service', 'require_auth', 'kepalives'])(
    '%s in it is named, not ignored',
    (name) => {
      const env = { DATABASE_URL: `postgres://u:p@h/db?${name}=x&sslmode=require`, SECRET_KEY: GOOD_KEY }
      expect(faultsOf(env)).toEqual([`DATABASE_URL has ${name}, which is not supported`])
    },
  )

  test('is the default of DATABASE_DIRECT_URL', () => {
    const env = { DATABASE_URL: 'postgres://u:p@pooler/db', SECRET_KEY: GOOD_KEY }
    expect(read(env).databaseDirectUrl?.reveal()).toBe('postgres://u:p@pooler/db')
    const direct = { ...env, DATABASE_DIRECT_URL: 'postgresql+asyncpg://u:p@real/db' }
    expect(read(direct).databaseDirectUrl?.reveal()).toBe('postgres://u:p@real/db')
    expect(faultsOf({ DATABASE_DIRECT_URL: 'postgres://u:p@h/db' })).toHaveLength(1)
  })

  test('requires SECRET_KEY', () => {
    expect(faultsOf({ DATABASE_URL: 'postgres://u:p@h/db' })).toEqual([
      expect.stringMatching(/^SECRET_KEY is needed .*openssl rand -base64 48$/),
    ])
  })
})

describe('SECRET_KEY', () => {
  test.each([
    'hunter2',
    'abcdefghijklmnopqrstuvwxyz012345',
    'your-secret-key-change-in-production',
    'change-me-change-me-change-me-change-me',
    'CHANGEME_to_a_long_random_string_of_32',
    'a-string-secret-at-least-256-bits-long',
    'my super secret key for development only',
    '00000000000000000000000000000000',
    'aZ3$aZ3$aZ3$aZ3$aZ3$aZ3$aZ3$aZ3$',
    'qX7!vB2@mK9#qX7!vB2@mK9#qX7!vB2@mK9#',
    '09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7',
  ])('%s is too weak', (key) => {
    const faults = faultsOf({ SECRET_KEY: key })
    expect(faults).toEqual([expect.stringMatching(/^SECRET_KEY is .*openssl rand -base64 48$/)])
    expect(faults.join()).not.toContain(key)
  })

  test('random ones are taken: base64, hex and bytes beyond ASCII', () => {
    for (let round = 0; round < 500; round++) {
      const bytes = Buffer.from(crypto.getRandomValues(new Uint8Array(32)))
      for (const key of [bytes.toString('base64'), bytes.toString('hex'), bytes.toString('base64url')]) {
        expect(faultsOf({ SECRET_KEY: key })).toEqual([])
      }
    }
    expect(faultsOf({ SECRET_KEY: 'žluťoučký kůň úpěl ďábelské ódy' })).toEqual([])
  })

  test('surrounding white space is a fault, because another instance may not have it', () => {
    expect(faultsOf({ SECRET_KEY: `${GOOD_KEY}\n` })).toHaveLength(1)
  })

  test('the previous key must differ', () => {
    expect(faultsOf({ SECRET_KEY: GOOD_KEY, SECRET_KEY_PREVIOUS: GOOD_KEY })).toHaveLength(1)
  })
})

test.each([
  ['RATE_LIMITS', 'off', { rateLimits: null }],
  ['OAUTH_CLIENT_METADATA', 'off', { oauthClientMetadata: 'off' }],
  [
    'OAUTH_CLIENT_METADATA_ALLOW',
    'App.example.com, *.example.net',
    { oauthClientMetadataAllow: ['app.example.com', '*.example.net'] },
  ],
  ['OAUTH_CLIENT_METADATA_DENY', '*.example.com', { oauthClientMetadataDeny: ['*.example.com'] }],
  ['OAUTH_REGISTRATION', 'token', { oauthRegistration: 'token' }],
  ['RATE_LIMITS', 'login=3/10s, other=9/2d', { rateLimits: { login: { limit: 3, windowSeconds: 10 } } }],
  ['RATE_LIMITS', 'login=3/2h', { rateLimits: { password: { limit: 10, windowSeconds: 60 } } }],
  ['RATE_LIMITS', 'password=3/5m', { rateLimits: { password: { limit: 3, windowSeconds: 300 } } }],
  ['RATE_LIMITS', 'login=3/2h', { rateLimits: { refresh: { limit: 60, windowSeconds: 60 } } }],
  [
    'TRUSTED_PROXIES',
    '10.0.0.1, 10.1.0.0/16 ::1',
    { trustedProxies: ['10.0.0.1/32', '10.1.0.0/16', '::1/128'] },
  ],
  [
    'CORS_ORIGINS',
    'https://a.example,http://b:3000',
    { corsOrigins: ['https://a.example', 'http://b:3000'] },
  ],
  ['PORTAL_FRAME_ANCESTORS', 'https://a.example', { portalFrameAncestors: ['https://a.example'] }],
  ['BRAND_NAME', 'Acme', { portalName: 'Acme' }],
  ['BRAND_ACCENT', '#AABBCC', { portalAccent: '#aabbcc' }],
  ['PORTAL_NAME', 'Acme', { brandName: 'Latchkey', portalName: 'Acme' }],
  ['PUBLIC_URL', 'https://Auth.Example.com/base//', { publicUrl: 'https://auth.example.com/base' }],
  ['PUBLIC_URL', 'http://[::1]:8000/', { publicUrl: 'http://[::1]:8000', jwtAudience: 'http://[::1]:8000' }],
  ['HOST', '[::]', { host: '::' }],
  ['USER_SCOPES', 'any', { userScopes: 'any' }],
  ['USER_SCOPES', 'a:b c,a:b', { userScopes: ['a:b', 'c'] }],
  ['API_KEY_PREFIX', 'acme1_', { apiKeyPrefix: 'acme1_' }],
  ['API_KEY_HEADERS', 'ApiKey, X-Access-Token apikey', { apiKeyHeaders: ['apikey', 'x-access-token'] }],
  ['API_KEY_HEADERS', 'a,b,c,d,e', { apiKeyHeaders: ['a', 'b', 'c', 'd', 'e'] }],
  ['API_KEY_SCHEMES', 'Api-Key,token', { apiKeySchemes: ['api-key', 'token'] }],
  ['ALGORITHM', 'eddsa', { algorithm: 'EdDSA' }],
  ['LOG_LEVEL', 'DEBUG', { logLevel: 'debug' }],
  ['METRICS_PORT', '9464', { metricsPort: 9464 }],
] as const)('%s=%s is read', (name, value, expected) => {
  expect(read({ [name]: value })).toMatchObject(expected as object)
})

test.each([
  ['RATE_LIMITS', 'logn=1/1m'],
  ['OAUTH_CLIENT_METADATA', 'maybe'],
  ['OAUTH_CLIENT_METADATA_ALLOW', 'https://app.example.com'],
  ['OAUTH_CLIENT_METADATA_ALLOW', '*'],
  ['OAUTH_CLIENT_METADATA_ALLOW', 'a.*.example.com'],
  ['OAUTH_CLIENT_METADATA_DENY', 'app.example.com:443'],
  ['OAUTH_CLIENT_METADATA_DENY', '10.0.0.1'],
  ['OAUTH_REGISTRATION', 'on'],
  ['RATE_LIMITS', 'login=0/1m'],
  ['RATE_LIMITS', 'login=1/0m'],
  ['RATE_LIMITS', 'login=1/8d'],
  ['RATE_LIMITS', 'login=1/1m,login=2/1m'],
  ['RATE_LIMITS', 'login=1/1m,'],
  ['RATE_LIMITS', '__proto__=1/1m'],
  ['TRUSTED_PROXIES', '10.1'],
  ['TRUSTED_PROXIES', 'proxy.internal'],
  ['CORS_ORIGINS', 'https://a.example/'],
  ['CORS_ORIGINS', 'null'],
  ['CORS_ORIGINS', 'https://a.example/path'],
  ['PUBLIC_URL', 'https://a.example/?x'],
  ['PUBLIC_URL', 'https://user:pass@a.example'],
  ['PUBLIC_URL', 'ftp://a.example'],
  ['HOST', '127.0.0.256'],
  ['HOST', 'a b'],
  ['PORT', '0'],
  ['API_KEY_PREFIX', 'rt_'],
  ['API_KEY_PREFIX', 'pl_'],
  ['API_KEY_PREFIX', 'pt_'],
  ['PORTAL_NAME', 'n'.repeat(51)],
  ['PORTAL_ACCENT', 'red'],
  ['PORTAL_FRAME_ANCESTORS', '*'],
  ['PORTAL_FRAME_ANCESTORS', "'self'"],
  ['PORTAL_FRAME_ANCESTORS', 'https://a.example; script-src *'],
  ['PORTAL_RETURN_ORIGINS', 'https://a.example/path'],
  ['API_KEY_PREFIX', 'eyj_'],
  ['API_KEY_PREFIX', 'sk'],
  ['API_KEY_PREFIX', 'abcdefghijklmnop_'],
  ['API_KEY_HEADERS', 'apikey,Authorization'],
  ['API_KEY_HEADERS', 'apikey,Proxy-Authorization'],
  ['API_KEY_HEADERS', 'apikey,Cookie'],
  ['API_KEY_HEADERS', 'apikey,Set-Cookie'],
  ['API_KEY_HEADERS', 'apikey,Host'],
  ['API_KEY_HEADERS', 'apikey,Content-Type'],
  ['API_KEY_HEADERS', 'apikey,Content-Length'],
  ['API_KEY_HEADERS', 'apikey,Content'],
  ['API_KEY_HEADERS', 'apikey,Origin'],
  ['API_KEY_HEADERS', 'apikey,Forwarded'],
  ['API_KEY_HEADERS', 'apikey,X-Forwarded-For'],
  ['API_KEY_HEADERS', 'apikey,X-Forwarded-Anything'],
  ['API_KEY_HEADERS', 'apikey,X-Auth-Role'],
  ['API_KEY_HEADERS', 'apikey,X-Auth-Anything'],
  ['API_KEY_HEADERS', 'apikey,X-Request-Id'],
  ['API_KEY_HEADERS', 'apikey,traceparent'],
  ['API_KEY_HEADERS', 'apikey,tracestate'],
  ['API_KEY_HEADERS', 'apikey,Baggage'],
  ['API_KEY_HEADERS', 'apikey,Access-Control-Request-Headers'],
  ['API_KEY_HEADERS', 'apikey,Accept'],
  ['API_KEY_HEADERS', 'apikey,Accept-Language'],
  ['API_KEY_HEADERS', 'apikey,Connection'],
  ['API_KEY_HEADERS', 'apikey,Keep-Alive'],
  ['API_KEY_HEADERS', 'apikey,Transfer-Encoding'],
  ['API_KEY_HEADERS', 'apikey,TE'],
  ['API_KEY_HEADERS', 'apikey,Trailer'],
  ['API_KEY_HEADERS', 'apikey,Upgrade'],
  ['API_KEY_HEADERS', 'apikey,Via'],
  ['API_KEY_HEADERS', 'apikey,Range'],
  ['API_KEY_HEADERS', 'apikey,If-Match'],
  ['API_KEY_HEADERS', 'apikey,Referer'],
  ['API_KEY_HEADERS', 'apikey,User-Agent'],
  ['API_KEY_HEADERS', 'apikey,Sec-Fetch-Site'],
  ['API_KEY_HEADERS', 'apikey,X-Real-IP'],
  ['API_KEY_HEADERS', 'apikey,X-API-Key'],
  ['API_KEY_HEADERS', 'apikey,Idempotency-Key'],
  ['API_KEY_HEADERS', 'apikey,x_key'],
  ['API_KEY_HEADERS', 'apikey,ä'],
  ['API_KEY_HEADERS', 'apikey,key:x'],
  ['API_KEY_HEADERS', 'apikey,1key'],
  ['API_KEY_HEADERS', 'a,b,c,d,e,f'],
  ['API_KEY_SCHEMES', 'token,Bearer'],
  ['API_KEY_SCHEMES', 'token,BASIC'],
  ['API_KEY_SCHEMES', 'token,Digest'],
  ['API_KEY_SCHEMES', 'token,to_ken'],
  ['API_KEY_SCHEMES', 'token,a/b'],
  ['API_KEY_SCHEMES', 'a,b,c,d,e,f'],
  ['USER_SCOPES', 'read,latchkey:users.write'],
  ['REFRESH_TOKEN_EXPIRE_DAYS', '31'],
  ['ADMIN_EMAIL', 'a@example.com'],
  ['ADMIN_PASSWORD', 'long enough to be one'],
  ['METRICS_TOKEN', 'fifteen7hB3kZq9'],
  ['METRICS_TOKEN', 'change-me-change-me-now'],
  ['METRICS_TOKEN', 'aaaaaaaaaaaaaaaaaaaaaaaa'],
  ['METRICS_TOKEN', 'qX7vB2mK9 qT4wZ8nR'],
  ['METRICS_TOKEN', 'qX7vB2mK9,qT4wZ8nR'],
  ['METRICS_TOKEN', 'qX7vB2mK9qT4wZ8nR\n'],
  ['METRICS_PORT', '8000'],
  ['METRICS_PORT', '65536'],
  ['REDIS_URL', 'localhost:6379'],
  ['REDIS_URL', 'http://user:hunter2@localhost'],
  ['REDIS_URL', 'redis://localhost/cache'],
  ['REDIS_URL', 'redis://localhost/-1'],
  ['REDIS_URL', 'redis://localhost/0/1'],
  ['REDIS_URL', 'redis://localhost?'],
  ['REDIS_URL', 'redis://:hunter2@local#host'],
  ['REDIS_URL', 'redis://:%zz@localhost'],
  ['REDIS_URL', 'redis://:%ff@localhost'],
  ['REDIS_URL', 'redis+unix://'],
  ['REDIS_URL', 'redis+unix:///'],
  ['REDIS_URL', 'redis+unix://run/redis.sock'],
  ['REDIS_URL', 'redis+unix://localhost:1/run/redis.sock'],
  ['REDIS_URL', 'redis+unix:///run/redis.sock?db=1'],
])('%s=%s is refused', (name, value) => {
  const faults = faultsOf({ [name]: value })
  expect(faults).toEqual([expect.stringMatching(new RegExp(`^${name} `))])
})

test('a part of REDIS_URL that Redis does not know is named, and its value is not repeated', () => {
  const REDIS_URL = 'rediss://:hunter2@localhost:6379/3?db=17&ssl_cert_reqs=hunter3&db=18'
  expect(faultsOf({ REDIS_URL })).toEqual([expect.stringMatching(/^REDIS_URL .*"db", "ssl_cert_reqs"$/)])
  for (const good of [
    ...['redis://a', 'redis://a/', 'redis://a/15', 'valkeys://u:p%40@[::1]:7/0'],
    ...['redis+unix:///run/redis.sock', 'redis+unix://u:p%40@localhost/run/redis.sock'],
  ])
    expect(faultsOf({ REDIS_URL: good })).toEqual([])
})

test('rules that span settings', () => {
  expect(faultsOf({ API_KEY_DEFAULT_EXPIRE_DAYS: '10', API_KEY_MAX_EXPIRE_DAYS: '9' })).toHaveLength(1)
  expect(faultsOf({ REFRESH_TOKEN_EXPIRE_DAYS: '31', SESSION_MAX_DAYS: '31' })).toEqual([])
  expect(faultsOf({ ADMIN_EMAIL: 'a@example.com', ADMIN_PASSWORD: 'seven77' })).toHaveLength(1)
  expect(faultsOf({ ADMIN_EMAIL: 'a@example.com', ADMIN_PASSWORD: 'eight888' })).toEqual([])
  expect(faultsOf({ PORT: '0', PUBLIC_URL: 'http://localhost' })).toEqual([])
  expect(faultsOf({ PORT: '9464', METRICS_PORT: '9464' })).toEqual(['METRICS_PORT must differ from PORT'])
  expect(faultsOf({ METRICS_PORT: '9464', METRICS_TOKEN: 'qX7vB2mK9qT4wZ8nR' })).toEqual([])
  expect(faultsOf({ SECRET_KEY: GOOD_KEY, METRICS_TOKEN: GOOD_KEY })).toHaveLength(1)
})

test('warns where others can connect and PUBLIC_URL is not set', () => {
  const onServer = { DATABASE_URL: 'postgres://localhost/db', SECRET_KEY: GOOD_KEY }
  expect(warningsOf({ ...onServer, HOST: '0.0.0.0' })).toEqual([expect.stringContaining('PUBLIC_URL')])
  const named = { HOST: '0.0.0.0', PUBLIC_URL: 'https://a.example' }
  expect(warningsOf({ ...onServer, ...named })).toEqual([])
  expect(warningsOf(named)).toEqual([expect.stringContaining('DATABASE_URL is not set')])
  for (const HOST of ['127.0.0.1', '127.8.8.8', '::1', 'localhost']) expect(warningsOf({ HOST })).toEqual([])
  expect(warningsOf({ PUBLIC_URL: 'http://auth.example.com' })).toEqual([
    expect.stringContaining('plain http'),
  ])
  for (const PUBLIC_URL of ['http://localhost:8000', 'http://[::1]:1', 'https://auth.example.com'])
    expect(warningsOf({ PUBLIC_URL })).toEqual([])
  expect(warningsOf({ TRUSTED_PROXIES: '::/0' })).toEqual([expect.stringContaining('TRUSTED_PROXIES')])
})

test('names of other programs are left alone', () => {
  const names =
    `DEBUG PATH HOME HOSTNAME PWD OLDPWD USER SHELL TERM LANG TZ MAIL LOGNAME DISPLAY EDITOR PAGER SHLVL _
    PGHOST PGPORT PGUSER PGDATA PGDATABASE PGPASSWORD POSTGRES_URL POSTGRES_PASSWORD DATABASE_URL_UNPOOLED DATABASE_NAME
    DATABASE_HOST DATABASE_PORT REDIS_HOST REDIS_PORT REDIS_PASSWORD KUBERNETES_PORT LATCHKEY_PORT LATCHKEY_SERVICE_HOST
    NODE CODE NODE_ENV NODE_OPTIONS LOG_DIR LOG_FILE XDG_DATA_DIRS JWT_SECRET API_KEY SECRET PASSWORD HTTP_PROXY NO_PROXY CI
    SSL_CERT_FILE SMTP_HOST MAIL_HOST AWS_REGION INVOCATION_ID NOTIFY_SOCKET STATE_DIRECTORY`.split(/\s+/)
  expect(faultsOf(Object.fromEntries(names.map((name) => [name, 'x'])))).toEqual([])
})

test.each([
  ['DATABSE_URL', 'DATABASE_URL'],
  ['DATABASE_ULR', 'DATABASE_URL'],
  ['DATABASEURL', 'DATABASE_URL'],
  ['DATABASES_URLS', 'DATABASE_URL'],
  ['SECRETKEY', 'SECRET_KEY'],
  ['SECRET_KEY_FIEL', 'SECRET_KEY_FILE'],
  ['TRUSTED_PROXYS', 'TRUSTED_PROXIES'],
  ['PROT', 'PORT'],
  ['SIGN_UP', 'SIGNUP'],
])('%s in the environment is a mistyped %s', (name, meant) => {
  expect(faultsOf({ [name]: 'x' })).toEqual([`${name} is no setting; is ${meant} meant?`])
  expect(faultsOf({}, `${name}=x`)).toEqual([`.env has ${name}, which is no setting; is ${meant} meant?`])
})

test('in .env every name is a setting', () => {
  expect(faultsOf({}, 'POSTGRES_PASSWORD=x\nSIGNUP=closed')).toEqual([
    '.env has POSTGRES_PASSWORD, which is no setting',
  ])
  // The name is still in .env, although the environment has the value.
  expect(faultsOf({ NODE_ENV: 'production' }, 'NODE_ENV=production')).toHaveLength(1)
})

describe('a secret in a file', () => {
  const files: Record<string, string> = {
    '/run/key': `${GOOD_KEY}\n`,
    '/run/url': 'postgres://localhost/db\r\n',
    '/run/password': 'a passphrase of words',
    '/run/empty': '\n',
    '/run/spaces': `${GOOD_KEY} \n`,
  }
  const readFile = (path: string) => {
    const text = files[path]
    return text === undefined ? { fault: 'cannot be read' } : { text }
  }
  const readAll = (env: Environment, dotenv?: string) =>
    readConfig(env, { readFile, ...(dotenv !== undefined && { dotenv }) })
  const configOf = (env: Environment, dotenv?: string): Config => {
    const result = readAll(env, dotenv)
    if ('faults' in result) throw new Error(result.faults.join('\n'))
    return result.config
  }

  test.each([
    ['SECRET_KEY', '/run/key', {}],
    ['SECRET_KEY_PREVIOUS', '/run/key', {}],
    ['DATABASE_URL', '/run/url', { SECRET_KEY: GOOD_KEY }],
    ['DATABASE_DIRECT_URL', '/run/url', { SECRET_KEY: GOOD_KEY, DATABASE_URL: 'postgres://other/db' }],
    ['REDIS_URL', '/run/redis', {}],
    ['ADMIN_PASSWORD', '/run/password', { ADMIN_EMAIL: 'a@example.com' }],
    ['METRICS_TOKEN', '/run/token', {}],
    ['LATCHKEY_PASSPHRASE', '/run/password', {}],
  ])('%s_FILE is its value', (name, path, others) => {
    files['/run/redis'] = 'redis://localhost:6379\n'
    files['/run/token'] = 'qX7vB2mK9qT4wZ8nR\n'
    const value = files[path]?.trimEnd() ?? ''
    const valuesOf = (config: Config) => Object.values({ ...config, settingSources: null }).map(revealed)
    const inFile = configOf({ ...others, [`${name}_FILE`]: path })
    const inPlace = configOf({ ...others, [name]: value })
    expect(valuesOf(inFile)).toEqual(valuesOf(inPlace))
  })

  test('the real environment wins over .env, whichever of the two names it has', () => {
    const key = (env: Environment, dotenv: string) => configOf(env, dotenv).secretKey?.reveal()
    const other = [...GOOD_KEY].reverse().join('')
    expect(key({ SECRET_KEY: other }, 'SECRET_KEY_FILE=/run/key')).toBe(other)
    expect(key({ SECRET_KEY_FILE: '/run/key' }, `SECRET_KEY=${other}`)).toBe(GOOD_KEY)
    expect(key({ SECRET_KEY_FILE: '' }, 'SECRET_KEY_FILE=/run/key')).toBe(GOOD_KEY)
  })

  test.each<[Environment, string]>([
    [
      { SECRET_KEY: GOOD_KEY, SECRET_KEY_FILE: '/run/key' },
      'SECRET_KEY and SECRET_KEY_FILE exclude each other',
    ],
    [{ SECRET_KEY_FILE: '/run/none' }, 'SECRET_KEY_FILE: cannot be read'],
    [{ SECRET_KEY_FILE: '/run/empty' }, 'SECRET_KEY_FILE: the file is empty'],
    [{ SECRET_KEY_FILE: '/run/spaces' }, 'SECRET_KEY must not start or end with white space or a line break'],
  ])('%j is refused', (env, fault) => {
    expect(readAll(env)).toEqual({ faults: [fault] })
  })
})

const revealed = (value: unknown) =>
  value !== null && typeof value === 'object' && 'reveal' in value
    ? (value as { reveal(): string }).reveal()
    : value

test('logs are for people on a terminal, and without probes where others reach it', () => {
  expect(readConfig({}, { isRead: true })).toMatchObject({ config: { logFormat: 'pretty', logProbes: true } })
  expect(readConfig({ LOG_FORMAT: 'json' }, { isRead: true })).toMatchObject({
    config: { logFormat: 'json' },
  })
  expect(read({ HOST: '0.0.0.0' })).toMatchObject({ logFormat: 'json', logProbes: false })
  expect(read({ HOST: '0.0.0.0', LOG_PROBES: 'true' }).logProbes).toBe(true)
})

describe('showConfig', () => {
  const config = read({
    DATABASE_URL: 'postgres://user:hunter%2Ftwo@host:5432/db?sslmode=require',
    SECRET_KEY: GOOD_KEY,
    SECRET_KEY_PREVIOUS: [...GOOD_KEY].reverse().join(''),
    ADMIN_EMAIL: 'admin@example.com',
    ADMIN_PASSWORD: 'correct horse battery',
    METRICS_TOKEN: 'qX7vB2mK9qT4wZ8nR',
  })

  test('contains every setting and no secret', () => {
    const settings = showConfig(config)
    expect(settings).toMatchObject({
      DATABASE_URL: 'postgres://user:[redacted]@host:5432/db?sslmode=require',
      SECRET_KEY: '[redacted]',
      SECRET_KEY_PREVIOUS: '[redacted]',
      ADMIN_EMAIL: 'admin@example.com',
      ADMIN_PASSWORD: '[redacted]',
      METRICS_TOKEN: '[redacted]',
      USER_SCOPES: 'read,write',
    })
    for (const text of [JSON.stringify(settings), JSON.stringify(config), Bun.inspect(config)]) {
      for (const part of ['hunter', GOOD_KEY, 'correct horse', 'qX7vB2']) expect(text).not.toContain(part)
    }
  })

  test.each(['passwrod', 'PASSWORD'])(
    'of a parameter that is mistyped (%s) the name alone is shown',
    (name) => {
      const url = `postgres://u@h/db?${name}=hunter2`
      const faults = JSON.stringify(
        readConfig({ DATABASE_URL: url, SECRET_KEY: GOOD_KEY }, { isTerminal: false }),
      )
      expect(faults).toContain(name)
      expect(faults).not.toContain('hunter2')
    },
  )

  test.each([['a parameter', 'postgres://h/db?user=u&password=hunter2', 'postgres://u:[redacted]@h/db']])(
    'a database’s password is hidden wherever it stands: %s',
    (_, url, expected) => {
      const { DATABASE_URL, DATABASE_DIRECT_URL } = showConfig(
        read({ DATABASE_URL: url, SECRET_KEY: GOOD_KEY }),
      )
      expect([DATABASE_URL, DATABASE_DIRECT_URL]).toEqual([expected, expected])
    },
  )

  test('a fault that quotes a setting hides a password that was put there by mistake', () => {
    for (const url of ['postgres://u:hunter2@h/db', 'https://h?password=hunter2', 'redis://:hunter2@h']) {
      const faults = faultsOf({
        HOST: url,
        CORS_ORIGINS: url,
        LOG_LEVEL: url,
        RATE_LIMITS: url,
        TRUSTED_PROXIES: url,
      })
      expect(faults.length).toBe(5)
      expect(faults.join()).toContain('[redacted]')
      expect(faults.join()).not.toContain('hunter2')
    }
  })

  test('its values can be read as settings again', () => {
    const settings = showConfig(
      read({ RATE_LIMITS: 'login=3/90s', TRUSTED_PROXIES: '::1', USER_SCOPES: 'any' }),
    )
    const text = Object.fromEntries(
      Object.entries(settings).map(([name, value]) => [name, String(value ?? '')]),
    )
    expect(showConfig(read(text))).toEqual(settings)
  })
})

test('.env.example names every setting with its default, and sets none', () => {
  const text = readFileSync(join(import.meta.dir, '../../.env.example'), 'utf8')
  expect(parseEnv(text)).toEqual({})
  const examples = parseEnv(text.replaceAll(/^#(?=[A-Z_]+=)/gm, ''))
  expect(Object.keys(examples).sort()).toEqual(Object.keys(showConfig(read({}))).sort())
  expect(showConfig(read(examples as Environment))).toEqual(showConfig(read({})))
})
