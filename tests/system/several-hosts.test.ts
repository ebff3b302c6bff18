import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import type { OpenDatabase } from '../../src/db/database.ts'
import { errorCode, isRetryable, isUnavailable, mayPass } from '../../src/db/errors.ts'
import { openDatabase } from '../../src/db/open.ts'
import { withDeadline } from '../../src/lib/deadline.ts'
import { createLog, silentLog } from '../../src/lib/log.ts'
import { testConfig } from '../support/config.ts'
import { databaseConfig, type PostgresServer, startServer } from '../support/postgres.ts'
import { selectRows } from '../support/select.ts'
import { listenOnTcp, type TcpServer } from '../support/tcp.ts'
import { until } from '../support/until.ts'

setDefaultTimeout(240_000)

let primary: PostgresServer
let standby: PostgresServer
let readOnly: PostgresServer
/** Accepts connections and never answers. */
let silent: TcpServer
const GONE = 1

beforeAll(async () => {
  primary = await startServer()
  standby = await startServer({ follows: primary })
  readOnly = await startServer({ settings: ['default_transaction_read_only=on'] })
  silent = await listenOnTcp(() => {})
})
afterAll(async () => {
  silent?.close()
  for (const server of [primary, standby, readOnly]) await server?.remove()
})

const urlOf = (ports: readonly number[], rest = '') =>
  `postgres://postgres:any@${ports.map((port) => `127.0.0.1:${port}`).join(',')}/postgres${rest}`
/** Long enough that a test which waits for a silent host would fail. */
const PATIENT_MS = 10_000
const open = (ports: readonly number[], { timeoutMs = PATIENT_MS, rest = '', poolSize = 10 } = {}) =>
  openDatabase(
    {
      ...databaseConfig(urlOf(ports, rest)),
      databaseConnectTimeoutMs: timeoutMs,
      databaseStatementTimeoutMs: 500,
      databasePoolSize: poolSize,
    },
    silentLog,
  )
const failureOf = (ports: readonly number[], options = {}) =>
  open(ports, options).then(
    () => null,
    (error: Error) => error,
  )
/** The port of the server that answers. */
const portOf = async ({ db }: OpenDatabase) => {
  const [row] = await selectRows(db, sql`SELECT inet_server_port() AS port`)
  return row?.port
}
const succeeds = (work: () => PromiseLike<unknown>) =>
  Promise.resolve(work()).then(
    () => true,
    () => false,
  )

describe('of several hosts, the one that takes writes is used:', () => {
  test.each([
    ['first', () => [primary.port, standby.port]],
    ['behind a standby', () => [standby.port, primary.port]],
    ['behind a server that is away', () => [GONE, primary.port]],
    ['behind a server that is read-only', () => [readOnly.port, primary.port]],
    [
      'behind all of them, and a silent one',
      () => [GONE, standby.port, silent.port, readOnly.port, primary.port],
    ],
  ])('%s', async (_, ports) => {
    const began = performance.now()
    const database = await open(ports())
    expect(await portOf(database)).toBe(primary.port)
    expect(await selectRows(database.db, sql`SHOW default_transaction_read_only`)).toEqual([
      { default_transaction_read_only: 'off' },
    ])
    expect(performance.now() - began).toBeLessThan(PATIENT_MS)
    await database.close()
  })

  test('no host takes writes: the error says why of each, and a start may wait for a failover', async () => {
    const error = await failureOf([GONE, standby.port, readOnly.port])
    expect(errorCode(error)).toBe('NO_PRIMARY')
    expect(isUnavailable(error)).toBe(true)
    expect(mayPass(error)).toBe(true)
    for (const why of ['ECONNREFUSED', 'is a standby', 'is read-only']) expect(error?.message).toContain(why)
    const late = await failureOf([GONE, silent.port], { timeoutMs: 500 })
    expect(errorCode(late)).toBe('NO_PRIMARY')
    expect(late?.message).toContain(`127.0.0.1:${silent.port} did not say within 500 ms`)
    // One host alone is as before: a standby is a mistake in the URL, and read-only by default is not inherited.
    expect((await failureOf([standby.port]))?.message).toContain('DATABASE_URL must name the primary')
    expect(await failureOf([readOnly.port])).toBeNull()
  })

  test('a wrong role ends the start at once, also while another host is away', async () => {
    const url = urlOf([GONE, primary.port]).replace('postgres:any', 'stranger:any')
    const error = await openDatabase(databaseConfig(url), silentLog).catch((error: unknown) => error)
    expect(errorCode(error)).toBe('28000')
    expect(mayPass(error)).toBe(false)
  })

  test('a role that may not learn the timeline is warned of, since a replaced primary is not recognised by it', async () => {
    const admin = postgres(primary.url('postgres'), { max: 1, onnotice: () => {} })
    await admin`CREATE ROLE plain LOGIN`
    const warnings = async (role: string) => {
      let text = ''
      const log = createLog(testConfig({ logLevel: 'warn' }), (chunk) => {
        text += chunk
      })
      const url = urlOf([standby.port, primary.port]).replace('postgres:any', `${role}:any`)
      const database = await openDatabase(databaseConfig(url), log)
      await database.close()
      log.flush()
      return text.split('\n').filter((line) => line.includes('pg_control_system'))
    }
    // The control: each role may call the function, unless an operator forbids it.
    expect(await warnings('plain')).toEqual([])
    await admin`REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC`
    expect(await warnings('plain')).toHaveLength(1)
    expect(await warnings('postgres')).toEqual([])
    await admin`GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC`
    await admin`DROP ROLE plain`
    await admin.end()
  })

  test('a password that one host refuses may be one that a standby has not received; refused by all, it is wrong', async () => {
    const fields = 'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0'
    const message = Buffer.alloc(5 + fields.length)
    message.write(`E\0\0\0\0${fields}`, 'latin1')
    message.writeUInt32BE(4 + fields.length, 1)
    const refusing = await listenOnTcp((socket) => void socket.once('data', () => socket.end(message)))
    const rest = '?sslmode=disable'
    const unsure = await failureOf([refusing.port, GONE], { rest })
    expect([errorCode(unsure), mayPass(unsure)]).toEqual(['NO_PRIMARY', true])
    expect(unsure?.message).toContain('password authentication failed')
    const wrong = await failureOf([refusing.port, refusing.port], { rest })
    expect([errorCode(wrong), mayPass(wrong)]).toEqual(['28P01', false])
    expect(await failureOf([refusing.port, primary.port], { rest })).toBeNull()
    refusing.close()
  })

  test('load_balance_hosts=random changes the order, and nothing else', async () => {
    const order: number[] = []
    const closing = await Promise.all(
      [0, 1, 2].map((index) =>
        listenOnTcp((socket) => {
          order.push(index)
          socket.end()
        }),
      ),
    )
    const ports = closing.map(({ port }) => port)
    const firsts = async (rest: string) => {
      const found = new Set<number | undefined>()
      for (let round = 0; round < 20; round++) {
        order.length = 0
        expect(errorCode(await failureOf(ports, { rest }))).toBe('NO_PRIMARY')
        expect(order.toSorted()).toEqual([0, 1, 2])
        found.add(order[0])
      }
      return found
    }
    expect(await firsts('?sslmode=disable')).toEqual(new Set([0]))
    expect((await firsts('?sslmode=disable&load_balance_hosts=random')).size).toBeGreaterThan(1)
    for (const server of closing) server.close()
  })
})

test('a request waits a second for a connection, and the connection is kept for the next request', async () => {
  let isHeld = false
  const held: (() => void)[] = []
  const proxy = await listenOnTcp((socket: Socket) => {
    const pass = () => {
      const behind = connect(primary.port, '127.0.0.1')
      behind.on('error', () => socket.destroy())
      socket.on('close', () => behind.destroy())
      socket.pipe(behind).pipe(socket)
    }
    if (isHeld) held.push(pass)
    else pass()
  })
  const database = await open([proxy.port], { poolSize: 1, rest: '?sslmode=disable' })
  const before = proxy.accepted()
  isHeld = true
  const ask = () => withDeadline(async () => void (await database.db.execute(sql`SELECT 1`)))
  const error = await ask().catch((error: unknown) => error)
  expect(errorCode(error)).toBe('POOL_TIMEOUT')
  for (const pass of held) pass()
  await until(() => succeeds(ask), 'the connection is ready')
  expect(proxy.accepted()).toBe(before + 1)
  await database.close()
  proxy.close()
})

test('a connection that answered that it is read-only is dropped at once', async () => {
  const database = await open([primary.port], { poolSize: 1 })
  const write = () => database.db.execute(sql`CREATE TABLE IF NOT EXISTS public.written (n int)`)
  await database.db.execute(sql`SET default_transaction_read_only = on`)
  expect(errorCode(await Promise.resolve(write()).catch((error: unknown) => error))).toBe('25006')
  await write()
  await database.close()
})

test('a commit whose wait for a standby was cancelled is no success, although it was made', async () => {
  const database = await openDatabase(
    { ...databaseConfig(urlOf([primary.port])), databaseStatementTimeoutMs: 120_000 },
    silentLog,
  )
  const admin = postgres(primary.url('postgres'), { max: 1, onnotice: () => {} })
  const confirmBy = async (name: string) => {
    await admin.unsafe(`ALTER SYSTEM SET synchronous_standby_names = '${name}'`)
    await admin`SELECT pg_reload_conf()`
    await until(
      async () => (await admin`SHOW synchronous_standby_names`)[0]?.synchronous_standby_names === name,
      'it',
    )
  }
  await admin`CREATE TABLE public.confirmed (n int)`
  const insert = (n: number) => database.db.execute(sql`INSERT INTO public.confirmed VALUES (${n})`)
  const inTransaction = (n: number) =>
    database.db.transaction((tx) => tx.execute(sql`INSERT INTO public.confirmed VALUES (${n})`))
  try {
    await confirmBy('standby')
    await insert(1)
    await inTransaction(2)
    await confirmBy('another')
    for (const work of [() => insert(3), () => inTransaction(4)]) {
      const failed = Promise.resolve(work()).then(
        () => null,
        (error: unknown) => error,
      )
      const cancel = async () => {
        const found = await admin`SELECT pg_cancel_backend(pid) FROM pg_stat_activity
          WHERE wait_event = 'SyncRep' AND application_name = 'latchkey'`
        return found.length > 0
      }
      await until(cancel, 'the commit waits')
      const error = await failed
      expect(errorCode(error)).toBe('UNCONFIRMED')
      expect(isUnavailable(error)).toBe(true)
      expect(isRetryable(error)).toBe(false)
    }
    expect(await selectRows(database.db, sql`SELECT n FROM public.confirmed ORDER BY n`)).toEqual(
      [1, 2, 3, 4].map((n) => ({ n })),
    )
  } finally {
    await confirmBy('')
    await admin.end()
    await database.close()
  }
})

describe('a failover', () => {
  let old: PostgresServer
  let next: PostgresServer
  let database: OpenDatabase
  const heard: string[] = []
  beforeAll(async () => {
    old = await startServer()
    next = await startServer({ follows: old })
    database = await open([old.port, next.port], { timeoutMs: 1500 })
    await database.listen(['failover'], {
      message: (payload) => heard.push(payload),
      gap: () => heard.push('gap'),
    })
  })
  afterAll(async () => {
    await database?.close()
    await old?.remove()
    await next?.remove()
  })
  const onServer = async <T>(server: PostgresServer, work: (sql: postgres.Sql) => Promise<T>): Promise<T> => {
    const client = postgres(server.url('postgres'), { max: 1, onnotice: () => {} })
    try {
      return await work(client)
    } finally {
      await client.end()
    }
  }
  const connectionsOn = (server: PostgresServer) =>
    onServer(server, async (client) => {
      const [row] =
        await client`SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name LIKE 'latchkey%'`
      return row?.n
    })

  test('of a frozen primary: every connection to it is dropped as soon as the new timeline is seen', async () => {
    // Many connections are open and idle, and one listens.
    await Promise.all(Array.from({ length: 5 }, () => database.db.execute(sql`SELECT pg_sleep(0.2)`)))
    expect(await connectionsOn(old)).toBeGreaterThan(5)
    old.pause()
    await onServer(next, (client) => client`SELECT pg_promote()`)
    // The first new connection finds the new primary.
    await until(() => succeeds(() => database.notify('failover', 'first')), 'the new primary is found')
    // None of the idle connections is asked before it is dropped.
    for (let i = 0; i < 10; i++) expect(await portOf(database)).toBe(next.port)
    await until(
      () => succeeds(() => database.notify('failover', 'again')).then(() => heard.includes('again')),
      'heard',
    )
    expect(heard[0]).toBe('gap')
    old.resume()
    await until(async () => (await connectionsOn(old)) === 0, 'no connection is left on the old primary')
    expect(await portOf(database)).toBe(next.port)
  })

  test('the old primary is refused, also where no other host answers', async () => {
    // The old one takes writes, as an instance shows that does not know of the other.
    const unknowing = await open([old.port])
    expect(await portOf(unknowing)).toBe(old.port)
    await unknowing.close()
    await next.stop()
    const errors = new Set<string>()
    const asked = () =>
      Promise.resolve(portOf(database)).then(String, (error: Error) => {
        const at = error.cause instanceof Error ? error.cause : error
        errors.add(at.message)
        return 'refused'
      })
    const isTold = async () => {
      expect(await asked()).toBe('refused')
      return [...errors].join().includes('another server is the primary since timeline 2')
    }
    await until(isTold, 'the reason is told')
    await next.start()
    await until(async () => (await asked()) === String(next.port), 'the new primary is used again')
  })
})
