import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import type { OpenDatabase } from '../../src/db/database.ts'
import { errorCode, isUnavailable } from '../../src/db/errors.ts'
import { openDatabase } from '../../src/db/open.ts'
import { withDeadline } from '../../src/lib/deadline.ts'
import { createLog, silentLog } from '../../src/lib/log.ts'
import { call } from '../support/client.ts'
import { testConfig } from '../support/config.ts'
import { databaseConfig, type PostgresServer, startServer } from '../support/postgres.ts'
import { selectRows } from '../support/select.ts'
import { startService } from '../support/service.ts'
import { listenOnTcp } from '../support/tcp.ts'
import { until } from '../support/until.ts'

setDefaultTimeout(240_000)

let server: PostgresServer
let database: OpenDatabase
beforeAll(async () => {
  server = await startServer()
  database = await openDatabase(config(), silentLog)
})
afterAll(async () => {
  await database?.close()
  await server?.remove()
})

const config = (url = server.url('postgres')) => ({ ...databaseConfig(url), databaseStatementTimeoutMs: 500 })
const ask = () => database.db.execute(sql`SELECT 1`)

/** The outcome of a query, and its time in milliseconds. */
async function outcome(work: () => PromiseLike<unknown> = ask) {
  const start = performance.now()
  const error: unknown = await Promise.resolve(work()).then(
    () => null,
    (e) => e,
  )
  return {
    ok: error === null,
    unavailable: isUnavailable(error),
    code: errorCode(error),
    ms: performance.now() - start,
  }
}
const works = async () => (await outcome()).ok

describe('PostgreSQL goes away', () => {
  for (const how of ['stop', 'kill'] as const) {
    test(`by ${how}: queries fail at once with 503, and succeed once the server is back`, async () => {
      const heard: string[] = []
      const stop = await database.listen(['outage'], {
        message: (payload) => heard.push(payload),
        gap: () => heard.push('gap'),
      })
      expect(await works()).toBe(true)
      await server[how]()
      for (let i = 0; i < 12; i++) {
        const { ok, unavailable, ms } = await outcome()
        expect({ ok, unavailable }).toEqual({ ok: false, unavailable: true })
        expect(ms).toBeLessThan(4000)
      }
      await server.start()
      await until(works, 'queries work again')
      // The listener hears of the gap before any message that was sent after the gap.
      await until(() => heard.includes('gap'), 'the gap is told')
      await database.notify('outage', 'after')
      await until(() => heard.includes('after'), 'messages arrive again')
      expect(heard).toEqual(['gap', 'after'])
      await stop()
    })
  }

  test('silently: queries fail instead of waiting for an answer', async () => {
    expect(await works()).toBe(true)
    server.pause()
    try {
      const outcomes = await Promise.all(Array.from({ length: 25 }, () => outcome()))
      for (const { ok, unavailable, ms } of outcomes) {
        expect({ ok, unavailable }).toEqual({ ok: false, unavailable: true })
        expect(ms).toBeLessThan(10_000)
      }
      const inside = await outcome(() => database.db.transaction((tx) => tx.execute(sql`SELECT 1`)))
      expect(inside.unavailable).toBe(true)
    } finally {
      server.resume()
    }
    await until(works, 'queries work again')
  })

  test('in the middle of a transaction: the transaction fails, and is rolled back whole', async () => {
    await database.db.execute(sql`CREATE TABLE IF NOT EXISTS public.half (n int)`)
    const { unavailable } = await outcome(() =>
      database.db.transaction(async (tx) => {
        await tx.execute(sql`INSERT INTO public.half VALUES (1)`)
        await server.kill()
        await tx.execute(sql`INSERT INTO public.half VALUES (2)`)
      }),
    )
    expect(unavailable).toBe(true)
    await server.start()
    await until(works, 'queries work again')
    expect(await selectRows(database.db, sql`SELECT * FROM public.half`)).toEqual([])
  })
})

describe('PostgreSQL is slow', () => {
  test('a statement ends at its timeout', async () => {
    const { code, unavailable, ms } = await outcome(() => database.db.execute(sql`SELECT pg_sleep(20)`))
    expect({ code, unavailable }).toEqual({ code: '57014', unavailable: true })
    expect(ms).toBeLessThan(10_000)
  })

  test('a request with many queries has a deadline of four seconds in all; slow bodies do not count', async () => {
    const oneByOne = async () => {
      for (let i = 0; i < 20; i++) await database.db.execute(sql`SELECT pg_sleep(0.3)`)
    }
    const inTransaction = () =>
      database.db.transaction(async (tx) => {
        await tx.execute(sql`CREATE TABLE public.never (n int)`)
        for (let i = 0; i < 20; i++) await tx.execute(sql`SELECT pg_sleep(0.3)`)
      })
    const allAtOnce = () =>
      Promise.all(Array.from({ length: 8 }, () => database.db.execute(sql`SELECT pg_sleep(0.45)`)))
    const [first, second, parallel, other] = await Promise.all([
      withDeadline(() => outcome(oneByOne)),
      withDeadline(() => outcome(inTransaction)),
      // Parallel waits count once, and reading a slow body does not count.
      withDeadline(async () => {
        const { ok } = await outcome(allAtOnce)
        await Bun.sleep(4100)
        return ok && (await works())
      }),
      outcome(oneByOne),
    ])
    for (const { code, unavailable, ms } of [first, second]) {
      expect({ code, unavailable }).toEqual({ code: 'OUT_OF_TIME', unavailable: true })
      expect(ms).toBeWithin(3000, 5900)
    }
    expect(parallel).toBe(true)
    expect(other.ok).toBe(true)
    expect(await selectRows(database.db, sql`SELECT to_regclass('public.never')::text AS it`)).toEqual([
      { it: null },
    ])
  })

  test('with every connection in use a query waits a second, and the thousand-and-first is refused at once', async () => {
    const letGo = Promise.withResolvers<void>()
    const taken = Promise.all(
      Array.from({ length: 10 }, () =>
        database.db.transaction(async (tx) => {
          // Each query ends within the limit for a silent connection.
          const until = performance.now() + 1800
          while (performance.now() < until) await tx.execute(sql`SELECT pg_sleep(0.1)`)
          await letGo.promise
        }),
      ),
    )
    const waiting = Array.from({ length: 1000 }, () => outcome())
    await Bun.sleep(0)
    const turnedAway = await outcome()
    expect(turnedAway).toMatchObject({ code: 'POOL_FULL', unavailable: true })
    expect(turnedAway.ms).toBeLessThan(1000)
    for (const waited of await Promise.all(waiting)) {
      expect(waited).toMatchObject({ code: 'POOL_TIMEOUT', unavailable: true })
    }
    letGo.resolve()
    await taken
    expect(await works()).toBe(true)
  })
})

describe('a server that takes no writes', () => {
  /** States that a failover or an operator can leave behind. */
  const makeReadOnly = () =>
    Promise.all(
      Array.from({ length: 10 }, () =>
        database.db.execute(sql`SET default_transaction_read_only = on; SELECT pg_sleep(0.1)`),
      ),
    )
  const write = () =>
    outcome(() => database.db.execute(sql`CREATE TABLE IF NOT EXISTS public.written (n int)`))

  test('loses all our connections at the first refused write, and the next write succeeds', async () => {
    expect((await write()).ok).toBe(true)
    await makeReadOnly()
    expect(await write()).toMatchObject({ ok: false, code: '25006', unavailable: true })
    const writes = await Promise.all(Array.from({ length: 20 }, write))
    expect(writes.filter(({ ok }) => !ok)).toEqual([])
  })

  test('is detected by /readyz, although no connection broke', async () => {
    const own = await startServer({ settings: ['max_notify_queue_pages=64'] })
    const service = await startService({}, { databaseUrl: own.url('postgres'), config: testConfig() })
    const ready = async () => (await call(service, 'GET /readyz')).status
    expect(await ready()).toBe(200)

    const { db } = service.context
    await Promise.all(
      Array.from({ length: 10 }, () =>
        db.execute(sql`SET default_transaction_read_only = on; SELECT pg_sleep(0.1)`),
      ),
    )
    expect(await ready()).toBe(503)
    // The refusal is not permanent: the new connections work.
    expect(await ready()).toBe(200)

    // A listener that does not read fills the queue of notifications. Then no change with a NOTIFY can commit.
    const deaf = postgres(own.url('postgres'), { max: 1, onnotice: () => {} })
    await deaf.unsafe('LISTEN other; BEGIN; SELECT 1')
    const full = db.execute(
      sql`SELECT pg_notify('other', repeat('x', 7900) || n) FROM generate_series(1, 100) AS n`,
    )
    expect(await outcome(() => full)).toMatchObject({ ok: false, code: '54000' })
    await until(async () => (await ready()) === 503, '/readyz says so')
    expect((await outcome(() => db.execute(sql`SELECT 1`))).ok).toBe(true)
    await deaf.end({ timeout: 1 })
    // PostgreSQL clears a full queue once no slow listener is left and the size of the queue is queried.
    await db.execute(
      sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'latchkey listener'`,
    )
    const readyAgain = async () => {
      await db.execute(sql`SELECT pg_notification_queue_usage()`)
      return (await ready()) === 200
    }
    await until(readyAgain, 'it is ready again')
    await service.stop()
    await own.remove()
  })
})

describe('the server of DATABASE_URL:', () => {
  const failureOf = (url: string) =>
    openDatabase(config(url), silentLog).then(
      () => 'it opened',
      (error: Error) => error.message,
    )

  test('a server that is unreachable or refuses our role is reported in one sentence', async () => {
    expect(await failureOf('postgres://a:secret@127.0.0.1:1/x')).toContain('ECONNREFUSED 127.0.0.1:1')
    expect(await failureOf(server.url('nowhere'))).toContain('database "nowhere" does not exist')
    expect(await failureOf(server.url('postgres', 'nobody'))).toContain('role "nobody" does not exist')
  })

  test('a proxy without its server is tried once', async () => {
    const proxy = await listenOnTcp((socket) => socket.end())
    const failure = await failureOf(`postgres://a@127.0.0.1:${proxy.port}/x`)
    expect(failure).toBe(`127.0.0.1:${proxy.port} closed the connection without an answer`)
    expect(proxy.accepted()).toBe(1)
    proxy.close()
  })

  test('a pooler that refuses our settings is used without them, with a warning', async () => {
    const refusal = 'unsupported startup parameter: statement_timeout'
    const fields = `SFATAL\0VFATAL\0C08P01\0M${refusal}\0\0`
    const message = Buffer.alloc(5 + fields.length)
    message.write(`E\0\0\0\0${fields}`, 'latin1')
    message.writeUInt32BE(4 + fields.length, 1)
    const pooler = await listenOnTcp((socket) => {
      socket.once('data', (startup) => {
        if (startup.includes('statement_timeout')) return socket.end(message)
        const behind = connect(server.port, '127.0.0.1')
        behind.on('error', () => socket.destroy())
        behind.write(startup)
        socket.pipe(behind).pipe(socket)
      })
    })
    let logged = ''
    const log = createLog({ logLevel: 'info', logFormat: 'json' }, (text) => {
      logged += text
    })
    const through = await openDatabase(
      config(`postgres://postgres@127.0.0.1:${pooler.port}/postgres?sslmode=disable`),
      log,
    )
    const asked = sql`SELECT current_setting('statement_timeout') AS timeout`
    expect(await selectRows(through.db, asked)).toEqual([{ timeout: '500ms' }])
    log.flush()
    expect(logged).toContain('does not keep these settings')
    await through.close()
    pooler.close()
  })

  test('a standby is refused at the start, and its answers are refused while the server runs', async () => {
    const pair = await startServer()
    const open = await openDatabase(config(pair.url('postgres')), silentLog)
    await open.db.execute(sql`SELECT 1`)
    await pair.stop()
    writeFileSync(join(pair.directory, 'standby.signal'), '')
    await pair.start()
    expect(await failureOf(pair.url('postgres'))).toBe(
      'the server is a standby, which takes no writes: DATABASE_URL must name the primary',
    )
    for (let i = 0; i < 3; i++) {
      expect(await outcome(() => open.db.execute(sql`SELECT 1`))).toMatchObject({
        code: 'STANDBY',
        unavailable: true,
      })
    }
    await open.close()
    await pair.remove()
  })
})
