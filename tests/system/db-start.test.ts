import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import postgres from 'postgres'
import { createLog, silentLog } from '../../src/lib/log.ts'
import { secret } from '../../src/lib/secret.ts'
import { waitForDatabase } from '../../src/server/wait-for-database.ts'
import { emptyDirectory } from '../support/binary.ts'
import { testConfig } from '../support/config.ts'
import { type PostgresServer, startServer } from '../support/postgres.ts'
import { latchkey, serve } from '../support/program.ts'
import { listenOnTcp } from '../support/tcp.ts'
import { until } from '../support/until.ts'

setDefaultTimeout(240_000)

const SECRET_KEY = randomBytes(32).toString('hex')
let server: PostgresServer
let env: Record<string, string>
beforeAll(async () => {
  server = await startServer({ settings: ['max_connections=25'] })
  env = { DATABASE_URL: server.url('postgres'), SECRET_KEY }
})
afterAll(() => server?.remove())

const configFor = (url: string, databaseWaitSeconds: number) =>
  testConfig({ databaseUrl: secret(url), databaseDirectUrl: secret(url), databaseWaitSeconds })

test('a server that starts before its database waits, and logs the reason', async () => {
  using here = emptyDirectory()
  await server.stop()
  const starting = serve(here.path, env)
  await Bun.sleep(1500)
  await server.start()
  await using running = await starting
  expect((await fetch(`${running.url}/readyz`)).status).toBe(200)
  // The reason is logged once, however many tries there were.
  expect(running.output().split('Waiting: the database cannot be reached: ')).toHaveLength(2)
})

/** Forwards connections to the server. */
const through = (socket: Socket) => {
  const behind = connect(server.port, '127.0.0.1')
  behind.on('error', () => socket.destroy())
  socket.pipe(behind).pipe(socket)
}

test('a start waits for the server of DATABASE_DIRECT_URL too', async () => {
  let logged = ''
  const log = createLog({ logLevel: 'warn', logFormat: 'json' }, (text) => {
    logged += text
  })
  let isAway = true
  const proxy = await listenOnTcp((socket) => (isAway ? socket.destroy() : through(socket)))
  const direct = secret(`postgres://postgres@127.0.0.1:${proxy.port}/postgres?sslmode=disable`)
  const config = { ...configFor(server.url('postgres'), 20), databaseDirectUrl: direct }
  const waiting = waitForDatabase(config, log)
  const isTold = () => logged.includes('Waiting: DATABASE_DIRECT_URL: the database cannot be reached')
  await until(isTold, 'the log tells')
  isAway = false
  await (await waiting).close()
  isAway = true
  await expect(waitForDatabase({ ...config, databaseWaitSeconds: 1 }, silentLog)).rejects.toThrow(
    'DATABASE_DIRECT_URL: the database cannot be reached',
  )
  proxy.close()
})

test('the wait ends after DATABASE_WAIT_SECONDS', async () => {
  using here = emptyDirectory()
  const gone = { ...env, DATABASE_URL: 'postgres://u@127.0.0.1:1/db', DATABASE_WAIT_SECONDS: '1' }
  const began = performance.now()
  const { code, err } = await latchkey(here.path, ['migrate'], gone)
  expect(code).toBe(1)
  expect(err).toContain('latchkey: the database cannot be reached: ')
  expect(performance.now() - began).toBeWithin(1000, 30_000)
})

test.each([
  ['an unknown database', () => server.url('nowhere'), 'database "nowhere" does not exist'],
  ['an unknown role', () => server.url('postgres', 'nobody'), 'role "nobody" does not exist'],
])('a start with %s fails without waiting', async (_, url, expected) => {
  const began = performance.now()
  await expect(waitForDatabase(configFor(url(), 60), silentLog)).rejects.toThrow(expected)
  expect(performance.now() - began).toBeLessThan(30_000)
})

test('a start waits for a server that starts up, has no free connection, shuts down or is unreachable', async () => {
  const error = (code: string, message: string) => {
    const fields = `SFATAL\0VFATAL\0C${code}\0M${message}\0\0`
    const bytes = Buffer.alloc(5 + fields.length)
    bytes.write(`E\0\0\0\0${fields}`, 'latin1')
    bytes.writeUInt32BE(4 + fields.length, 1)
    return (socket: Socket) => void socket.once('data', () => socket.end(bytes))
  }
  const answers = [
    error('57P03', 'the database system is starting up'),
    error('53300', 'sorry, too many clients already'),
    error('08P01', 'server login has been failing, try again later (server_login_retry)'),
    (socket: Socket) => void socket.end(),
  ]
  const proxy = await listenOnTcp((socket) => (answers.shift() ?? through)(socket))
  let logged = ''
  const log = createLog({ logLevel: 'warn', logFormat: 'json' }, (text) => {
    logged += text
  })
  const url = `postgres://postgres@127.0.0.1:${proxy.port}/postgres?sslmode=disable`
  const database = await waitForDatabase(configFor(url, 20), log)
  expect(answers).toEqual([])
  log.flush()
  expect(logged).toContain('the database system is starting up')
  await database.close()
  proxy.close()
})

test('PG* in the environment has no effect', async () => {
  using here = emptyDirectory()
  const hostile = {
    PGHOST: 'nowhere.invalid',
    PGPORT: '1',
    PGUSER: 'nobody',
    PGUSERNAME: 'nobody',
    PGPASSWORD: 'wrong',
    PGDATABASE: 'nowhere',
    PGAPPNAME: 'other',
    PGOPTIONS: '-c default_transaction_read_only=on',
    PGDATESTYLE: 'German',
    PGTZ: 'Pacific/Kiritimati',
    PGCLIENTENCODING: 'LATIN1',
    PGSSLMODE: 'verify-full',
    PGSSL: 'verify-full',
    PGSSLNEGOTIATION: 'direct',
    PGCONNECT_TIMEOUT: '0.0001',
    PGTARGETSESSIONATTRS: 'standby',
    PGTARGET_SESSION_ATTRS: 'standby',
    PGMAX: '0',
    PGIDLE_TIMEOUT: '0.001',
    PGDEBUG: 'true',
    PGBACKOFF: '1000',
    PGMAX_PIPELINE: '0',
  }
  // The URL has no password, port or database, which the environment would supply.
  await using running = await serve(here.path, {
    ...env,
    ...hostile,
    DATABASE_URL: `postgres://postgres@127.0.0.1:${server.port}`,
    DATABASE_POOL_SIZE: '3',
  })
  expect((await fetch(`${running.url}/readyz`)).status).toBe(200)
  const sql = postgres(server.url('postgres'), { max: 1 })
  const rows = await sql`SELECT DISTINCT application_name AS name FROM pg_stat_activity
    WHERE application_name LIKE 'latchkey%' AND datname = 'postgres' ORDER BY 1`
  expect(rows.map(({ name }) => name)).toEqual(['latchkey', 'latchkey heartbeat', 'latchkey listener'])
  const migrated = await latchkey(here.path, ['migrate'], { ...env, ...hostile })
  expect(migrated.code).toBe(0)
  await sql.end()
})
