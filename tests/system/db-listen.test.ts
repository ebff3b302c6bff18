import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import type { OpenDatabase } from '../../src/db/database.ts'
import { isUnavailable } from '../../src/db/errors.ts'
import { openDatabase } from '../../src/db/open.ts'
import type { ListenEvents } from '../../src/db/postgres/listen.ts'
import { startListening } from '../../src/db/postgres/listen.ts'
import { reachDirectly } from '../../src/db/postgres/postgres.ts'
import { assertUsable } from '../../src/db/postgres/reach.ts'
import { createLog, silentLog } from '../../src/lib/log.ts'
import { databaseConfig, type PostgresServer, startServer } from '../support/postgres.ts'
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
const config = () => databaseConfig(server.url('postgres'))

/** Ends every connection of ours that listens. */
const cutListeners = () =>
  database.db.execute(sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'latchkey listener' AND query LIKE 'LISTEN%'`)

test('a silent connection is detected, although nothing closes it', async () => {
  const heard: string[] = []
  const times = { probeEveryMs: 100, probeAnswerMs: 200, retryFirstMs: 20, retryMostMs: 100 }
  const listener = { message: (payload: string) => heard.push(payload), gap: () => heard.push('gap') }
  let lines = 0
  const direct = await reachDirectly(config())
  const connect = (events: ListenEvents) => {
    lines++
    return direct.connect('latchkey listener', { prepare: false, ...events })
  }
  const stop = await startListening(connect, ['silence'], listener, silentLog, times)
  // While probes are answered, the connection stays.
  await Bun.sleep(350)
  expect(lines).toBe(1)
  server.pause()
  try {
    await until(() => lines > 1, 'another line is tried')
  } finally {
    server.resume()
  }
  await until(() => heard.includes('gap'), 'the gap is told')
  await database.notify('silence', 'after')
  await until(() => heard.includes('after'), 'messages arrive again')
  expect(heard).toEqual(['gap', 'after'])
  await stop()
})

test('a server that falls silent between log-in and LISTEN is given up', async () => {
  const heard: string[] = []
  const times = { probeEveryMs: 5000, probeAnswerMs: 200, retryFirstMs: 20, retryMostMs: 100 }
  const listener = { message: (payload: string) => heard.push(payload), gap: () => heard.push('gap') }
  let lines = 0
  const direct = await reachDirectly(config())
  const connect = (events: ListenEvents) => {
    lines++
    if (lines > 2) server.resume()
    const connection = direct.connect('latchkey listener', { prepare: false, ...events })
    if (lines !== 2) return connection
    const ready = connection.ready.then((client) => {
      server.pause()
      return client
    })
    return { ...connection, ready }
  }
  const stop = await startListening(connect, ['half'], listener, silentLog, times)
  await cutListeners()
  try {
    await until(() => lines > 2, 'another connection is tried')
  } finally {
    server.resume()
  }
  await until(() => heard.includes('gap'), 'the gap is told')
  await database.notify('half', 'after')
  await until(() => heard.includes('after'), 'messages arrive again')
  await stop()
})

test('a listener that throws is logged, and still gets the next message', async () => {
  let logged = ''
  const log = createLog({ logLevel: 'error', logFormat: 'json' }, (text) => {
    logged += text
  })
  const open = await openDatabase(config(), log)
  const heard: string[] = []
  await open.listen(['throwing'], {
    gap: () => {
      heard.push('gap')
      throw new Error('gap failed')
    },
    message: (payload) => {
      heard.push(payload)
      throw new Error('message failed')
    },
  })
  await open.notify('throwing', '1')
  await open.notify('throwing', '2')
  await until(() => heard.length === 2, 'both are heard')
  await cutListeners()
  await until(() => heard.length === 3, 'the gap is told')
  await open.notify('throwing', '3')
  await until(() => heard.length === 4, 'messages arrive again')
  expect(heard).toEqual(['1', '2', 'gap', '3'])
  log.flush()
  expect(logged.split('a listener to the database failed')).toHaveLength(5)
  await open.close()
})

test('listening that was ended stays ended, also while the connection is lost', async () => {
  const heard: string[] = []
  const listener = { message: (payload: string) => heard.push(payload), gap: () => heard.push('gap') }
  const stop = await database.listen(['ending'], listener)
  await server.stop()
  await stop()
  await server.start()
  await until(
    () =>
      database.notify('ending', 'too late').then(
        () => true,
        () => false,
      ),
    'the database works again',
  )
  await Bun.sleep(100)
  expect(heard).toEqual([])
})

test('a closed database refuses queries at once', async () => {
  const open = await openDatabase(config(), silentLog)
  const under = open.db.execute(sql`SELECT pg_sleep(0.2), 'done' AS end`)
  const result = Promise.resolve(under)
  await Bun.sleep(50)
  await open.close()
  // A query that was under way may finish.
  expect(await result).toMatchObject([{ end: 'done' }])
  expect(isUnavailable(await open.db.execute(sql`SELECT 1`).catch((error: unknown) => error))).toBe(true)
})

test('a server that is too old is refused with its version', () => {
  expect(() => assertUsable({ version: 130_014, standby: false })).toThrow(
    'the server is PostgreSQL 13; Latchkey needs 14 or later',
  )
  expect(() => assertUsable({ version: Number.NaN, standby: false })).toThrow('needs 14 or later')
  expect(() => assertUsable({ version: 140_000, standby: false })).not.toThrow()
})
