import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { chownSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { parseDatabaseUrl } from '../../src/config/database-url.ts'
import { openDatabase } from '../../src/db/open.ts'
import { silentLog } from '../../src/lib/log.ts'
import { testConfig } from '../support/config.ts'
import { databaseConfig, type PostgresServer, sharedServer, startServer } from '../support/postgres.ts'
import { selectRows } from '../support/select.ts'
import { startService } from '../support/service.ts'

setDefaultTimeout(240_000)

let home: string
let server: PostgresServer
/** Connects whatever the server requires. */
let admin: postgres.Sql

/** Certificates: an authority, one of the server for `localhost` only, one of a client, and an unrelated authority. */
function makeCertificates(): void {
  const openssl = (...args: string[]) => {
    const { exitCode, stderr } = Bun.spawnSync(['openssl', ...args], { cwd: home })
    if (exitCode !== 0) throw new Error(`openssl ${args.join(' ')}: ${stderr}`)
  }
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  for (const name of ['ca', 'stranger']) {
    openssl(
      'req',
      '-x509',
      ...key,
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.pem`,
    )
  }
  for (const [name, subject] of [
    ['server', 'localhost'],
    ['client', 'with_cert'],
  ]) {
    writeFileSync(join(home, 'san'), `subjectAltName=DNS:${subject}`)
    openssl('req', ...key, '-subj', `/CN=${subject}`, '-keyout', `${name}.key`, '-out', `${name}.csr`)
    const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'san']
    openssl('x509', '-req', '-in', `${name}.csr`, ...by, '-out', `${name}.pem`)
  }
}

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'latchkey-tls-'))
  makeCertificates()
  writeFileSync(
    join(home, 'hba'),
    `hostssl all only_tls 127.0.0.1/32 trust
hostnossl all only_plain 127.0.0.1/32 trust
hostssl all with_cert 127.0.0.1/32 cert
host all postgres 127.0.0.1/32 trust
local all all trust
`,
  )
  if (process.getuid?.() === 0)
    for (const name of ['.', ...readdirSync(home)]) chownSync(join(home, name), 65534, 65534)
  const file = (name: string) => join(home, name)
  server = await startServer({
    settings: [
      'ssl=on',
      `ssl_cert_file=${file('server.pem')}`,
      `ssl_key_file=${file('server.key')}`,
      `ssl_ca_file=${file('ca.pem')}`,
      `hba_file=${file('hba')}`,
      `unix_socket_directories=${home}`,
    ],
  })
  admin = postgres(server.url('postgres'), { max: 1, onnotice: () => {} })
  for (const role of ['only_tls', 'only_plain', 'with_cert'])
    await admin.unsafe(`CREATE ROLE ${role} LOGIN SUPERUSER`)
})
afterAll(async () => {
  await admin?.end()
  await server?.remove()
  if (home) rmSync(home, { recursive: true, force: true })
})

/** The configuration of a URL, with PORT and HOME replaced. */
function configOf(written: string) {
  const parsed = parseDatabaseUrl(written.replace('PORT', String(server.port)).replaceAll('HOME', home))
  if ('fault' in parsed) throw new Error(parsed.fault)
  return databaseConfig(parsed.value)
}

/** Whether the connection was encrypted, or the code of the failure. */
async function connectionBy(written: string): Promise<string> {
  try {
    const database = await openDatabase(configOf(written), silentLog)
    const asked = sql`SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`
    const [row] = await selectRows<{ ssl: boolean }>(database.db, asked)
    await database.close()
    return row?.ssl ? 'encrypted' : 'plain'
  } catch (error) {
    return error instanceof Error ? `${error.message} ${'code' in error ? error.code : ''}` : String(error)
  }
}

const CA = 'sslrootcert=HOME/ca.pem'

describe('sslmode means the same as in libpq', () => {
  test.each([
    ['postgres://postgres@127.0.0.1:PORT/postgres', 'encrypted'],
    ['postgres://postgres@127.0.0.1:PORT/postgres?sslmode=disable', 'plain'],
    ['postgres://postgres@127.0.0.1:PORT/postgres?sslmode=allow', 'plain'],
    ['postgres://only_tls@127.0.0.1:PORT/postgres?sslmode=allow', 'encrypted'],
    ['postgres://only_tls@127.0.0.1:PORT/postgres', 'encrypted'],
    ['postgres://only_plain@127.0.0.1:PORT/postgres?sslmode=prefer', 'plain'],
    ['postgres://only_tls@127.0.0.1:PORT/postgres?sslmode=disable', 'no pg_hba.conf entry'],
    ['postgres://only_plain@127.0.0.1:PORT/postgres?sslmode=require', 'no pg_hba.conf entry'],
    ['postgres://postgres@127.0.0.1:PORT/postgres?ssl=true', 'encrypted'],
    ['postgres://postgres@127.0.0.1:PORT/postgres?sslmode=require&sslnegotiation=direct', 'encrypted'],
    [`postgres://postgres@127.0.0.1:PORT/postgres?sslmode=verify-ca&${CA}`, 'encrypted'],
    [`postgres://postgres@127.0.0.1:PORT/postgres?sslmode=require&${CA}`, 'encrypted'],
    [
      'postgres://postgres@127.0.0.1:PORT/postgres?sslmode=verify-ca&sslrootcert=HOME/stranger.pem',
      'SELF_SIGNED_CERT_IN_CHAIN',
    ],
    [
      'postgres://postgres@127.0.0.1:PORT/postgres?sslmode=require&sslrootcert=HOME/stranger.pem',
      'SELF_SIGNED_CERT_IN_CHAIN',
    ],
    ['postgres://postgres@127.0.0.1:PORT/postgres?sslmode=verify-ca', 'SELF_SIGNED_CERT_IN_CHAIN'],
    ['postgres://postgres@127.0.0.1:PORT/postgres?sslrootcert=system', 'SELF_SIGNED_CERT_IN_CHAIN'],
    [`postgres://postgres@localhost:PORT/postgres?sslmode=verify-full&${CA}`, 'encrypted'],
    [`postgres://postgres@localhost:PORT/postgres?hostaddr=127.0.0.1&sslmode=verify-full&${CA}`, 'encrypted'],
    [`postgres://postgres@127.0.0.1:PORT/postgres?sslmode=verify-full&${CA}`, 'ERR_TLS_CERT_ALTNAME_INVALID'],
    [
      `postgres://postgres@db.example:PORT/postgres?hostaddr=127.0.0.1&sslmode=verify-full&${CA}`,
      'ERR_TLS_CERT_ALTNAME_INVALID',
    ],
    [
      'postgres://with_cert@127.0.0.1:PORT/postgres?sslmode=require&sslcert=HOME/client.pem&sslkey=HOME/client.key',
      'encrypted',
    ],
    ['postgres://with_cert@127.0.0.1:PORT/postgres?sslmode=require', 'requires a valid client certificate'],
    [
      'postgres://postgres@127.0.0.1:PORT/postgres?sslmode=verify-full&sslrootcert=HOME/none.pem',
      'cannot be read (ENOENT)',
    ],
    // A Unix socket is never encrypted.
    ['postgres://postgres@/postgres?host=HOME&port=PORT&sslmode=require', 'plain'],
    ['postgres://only_tls@/postgres?host=HOME&port=PORT', 'plain'],
  ])('%s: %s', async (url, expected) => {
    expect(await connectionBy(url)).toContain(expected)
  })

  test('for a server without TLS', async () => {
    const { port } = await sharedServer()
    const by = (query: string) => connectionBy(`postgres://postgres@127.0.0.1:${port}/postgres${query}`)
    expect(await by('')).toBe('plain')
    expect(await by('?sslmode=require')).toContain(
      `127.0.0.1:${port} does not offer TLS, which sslmode asks for`,
    )
  })
})

test('the host may be a Unix socket', async () => {
  expect(await connectionBy(`postgres://postgres@${encodeURIComponent(home)}:PORT/postgres`)).toBe('plain')
})

test('every kind of connection is encrypted, and has its purpose in its name', async () => {
  await admin.unsafe('CREATE DATABASE served')
  const { databaseUrl } = configOf('postgres://only_tls@127.0.0.1:PORT/served?sslmode=require')
  const service = await startService({}, { databaseUrl: databaseUrl?.reveal() ?? '', config: testConfig() })
  const rows =
    await admin`SELECT DISTINCT application_name AS name, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
    WHERE datname = 'served' ORDER BY 1`
  expect([...rows]).toEqual([
    { name: 'latchkey', ssl: true },
    { name: 'latchkey heartbeat', ssl: true },
    { name: 'latchkey listener', ssl: true },
  ])
  await service.stop()
})
