import type { Logger } from 'drizzle-orm/logger'
import { drizzle } from 'drizzle-orm/postgres-js'
import type postgres from 'postgres'
import { countTowardsDeadline, patienceMs, remainingMs } from '../../lib/deadline.ts'
import type { PoolLoad } from '../../lib/metrics.ts'
import type { Database } from '../database.ts'
import { databaseError, endsConnection, errorCode, isReadOnly } from '../errors.ts'
import * as schema from '../schema.ts'
import type { ConnectionEvents, PrimaryConnection } from './primary.ts'
import { beginWith, type SessionSettings } from './session.ts'
import { type LeasedConnection, lazily, runTransaction, type TransactionWork } from './transaction.ts'
import { createWaitQueue, WAIT_MS, waitAtMost } from './wait-queue.ts'

/** Connections behind a wait queue. */
export type Pool = {
  db: Database
  /** Runs one statement that does not come from drizzle. */
  query(text: string, params?: string[]): Promise<postgres.Row[]>
  /** Makes every query fail with this error, without sending it. null: queries are sent again. */
  refuse(why: Error | null): void
  /** Accepts no more queries, and gives those in progress at most `seconds`. */
  close(seconds: number): Promise<void>
  load(): PoolLoad
}

type PooledConnection = LeasedConnection &
  Pick<PrimaryConnection, 'close' | 'destroy'> & { retiresAt: number }
type Work<T> = (connection: LeasedConnection, answered: () => void) => PromiseLike<T>

/**
 * How much longer than the server's statement timeout a connection may be silent before it counts as dead.
 */
export const SILENCE_GRACE_MS = 500

/**
 * About an hour. Then a connection is replaced, so that the pool follows a change of a DNS name or load
 * balancer.
 */
const lifetimeMs = () => (45 + 30 * Math.random()) * 60_000

/**
 * Makes a connection pool. It bounds both waits that postgres.js leaves unbounded: the wait for a connection
 * (by the wait queue), and the wait for an answer on a connection whose other end has silently gone. The
 * server ends a statement by its own timeout. A connection that is silent for `silenceMs`, which is longer,
 * is dropped.
 *
 * Each connection is a separate client, used for one thing at a time, and never reused after it ends. A
 * postgres.js 3.4.9 client that reconnects by itself may hang, run a dead transaction's statements inside
 * another transaction, or throw where no code can catch the error.
 *
 * @param unpinned settings that the connections do not keep: each statement then runs in a transaction that
 *   sets them
 */
export function createPool(
  connect: (events: ConnectionEvents) => PrimaryConnection,
  slots: number,
  silenceMs: number,
  unpinned: SessionSettings = {},
  logger?: Logger,
): Pool {
  const queue = createWaitQueue(slots)
  const connections = new Set<PooledConnection>()
  const opening = new Set<PrimaryConnection>()
  const idle: PooledConnection[] = []
  let isClosed = false
  /** Queries that came before the end had their time too, those whose connection was being opened among them. */
  let isEnded = false
  let refusal: Error | null = null
  const isPinned = Object.keys(unpinned).length === 0
  const begin = isPinned ? 'BEGIN' : beginWith(unpinned)
  /** drizzle adds its parsers to this object when it is created. Every client uses them. */
  const options = { parsers: {}, serializers: {} }

  const open = async (): Promise<PooledConnection> => {
    let connection: PooledConnection | null = null
    let failure: Error | null = null
    const opened = connect({
      onclose: () => {
        failure ??= databaseError('CONNECTION_LOST', 'the connection ended')
        // What was answered before is valid.
        if (connection) giveUp(connection)
      },
      ondropped: (why) => {
        failure ??= why
        if (connection) giveUp(connection, why)
        retireAll()
      },
      // The commit is made here, and a failover would lose it. So it must not be answered as done.
      onunconfirmed: () => {
        if (!connection) return
        connection.failure ??= databaseError('UNCONFIRMED', 'no standby has confirmed the commit')
        connection.retiresAt = 0
      },
    })
    opening.add(opened)
    try {
      const client = await opened.ready
      if (failure) throw failure
      if (isEnded) throw databaseError('POOL_CLOSED', 'the database is closed')
      Object.assign(client.options.parsers, options.parsers)
      Object.assign(client.options.serializers, options.serializers)
      const { close, destroy } = opened
      const retiresAt = performance.now() + lifetimeMs()
      connection = { client, close, destroy, isOver: false, failure: null, retiresAt }
      connections.add(connection)
      return connection
    } catch (error) {
      opened.destroy()
      // Behind one name the primary is now another server.
      if (errorCode(error) === 'STANDBY') retireAll()
      throw error
    } finally {
      opening.delete(opened)
    }
  }
  const giveUp = (connection: PooledConnection, failure: Error | null = null) => {
    connection.failure ??= failure
    if (connection.isOver) return
    connection.isOver = true
    connections.delete(connection)
    connection.destroy()
  }
  /**
   * After a failover no connection to the old primary may remain. An idle connection ends now, a busy one
   * after its work.
   */
  const retireAll = () => {
    for (const connection of connections) connection.retiresAt = 0
    for (const connection of idle.splice(0)) giveUp(connection)
  }
  const giveBack = (connection: PooledConnection) => {
    if (connection.isOver) return
    if (performance.now() < connection.retiresAt) {
      idle.push(connection)
      return
    }
    connection.isOver = true
    connections.delete(connection)
    void connection.close()
  }
  const takeIdle = (): PooledConnection | null => {
    for (let connection = idle.pop(); connection; connection = idle.pop()) {
      if (!connection.isOver) return connection
    }
    return null
  }
  /**
   * Opens a connection. A request that has waited for a second gives up. The connection is then kept for the next
   * request, and has its place in the queue until then.
   */
  const openSince = async (since: number): Promise<PooledConnection> => {
    const opened = open()
    const leave = () => queue.leave()
    const leftMs = Math.min(since + WAIT_MS - performance.now(), remainingMs())
    // Work outside of a request waits for as long as the hosts may take.
    const isLate = remainingMs() !== Infinity && (await isSlowerThan(leftMs, opened))
    if (!isLate) {
      opened.catch(leave)
      return opened
    }
    opened.then(giveBack).then(leave, leave)
    throw databaseError('POOL_TIMEOUT', `no database connection was opened within ${WAIT_MS} ms`)
  }

  /**
   * Ends the connection with its running statement when the request's deadline passes (docs/decisions/0015).
   */
  const endAtDeadline = (connection: PooledConnection) => {
    const leftMs = remainingMs()
    if (leftMs === Infinity) return undefined
    const late = () =>
      giveUp(connection, databaseError('OUT_OF_TIME', 'the request has waited too long for the database'))
    return setTimeout(late, leftMs)
  }

  /** Runs `work` on a connection of its own. Each call of `answered` restarts the measurement of silence. */
  const lease = <T>(work: Work<T>): Promise<T> => countTowardsDeadline(() => leaseNow(work))
  const leaseNow = async <T>(work: Work<T>): Promise<T> => {
    const since = performance.now()
    await queue.enter()
    const closed = isClosed ? databaseError('POOL_CLOSED', 'the database is closed') : refusal
    if (closed) {
      queue.leave()
      throw closed
    }
    const connection = takeIdle() ?? (await openSince(since))
    const mostMs = Math.max(silenceMs, patienceMs() + SILENCE_GRACE_MS)
    const silent = () =>
      giveUp(connection, databaseError('NO_ANSWER', `the database gave no answer for ${mostMs} ms`))
    const watch = setTimeout(silent, mostMs)
    const end = endAtDeadline(connection)
    try {
      const result = await work(connection, () => watch.refresh())
      // A standby may lag, so its answer may be outdated. The answer is not used.
      if (connection.failure) throw connection.failure
      return result
    } catch (error) {
      // A server that takes no writes now may take them again, but this session would not notice.
      if (endsConnection(error) || isReadOnly(error)) giveUp(connection)
      if (isReadOnly(error)) retireAll()
      throw connection.failure ?? error
    } finally {
      clearTimeout(watch)
      clearTimeout(end)
      giveBack(connection)
      queue.leave()
    }
  }

  const transact = (work: TransactionWork) =>
    lease((connection, answered) => runTransaction(connection, answered, work, begin))
  /** Runs one statement. */
  const run = <T>(work: (sql: Pick<postgres.Sql, 'unsafe'>) => PromiseLike<T>): Promise<T> =>
    isPinned ? lease((connection) => work(connection.client)) : (transact(work) as Promise<T>)

  const client = {
    options,
    unsafe: (...args: Parameters<postgres.Sql['unsafe']>) =>
      lazily((finish) => run((sql) => finish(sql.unsafe(...args)))),
    begin: transact,
  }
  return {
    // drizzle uses only these three members.
    db: drizzle({ client: client as unknown as postgres.Sql, schema, ...(logger && { logger }) }),
    query: (text, params) => run((sql) => sql.unsafe(text, params, { prepare: true })),
    load: queue.load,
    refuse: (why) => {
      refusal = why
      if (why) retireAll()
    },
    close: async (seconds) => {
      isClosed = true
      await waitAtMost(seconds * 1000, queue.drained())
      isEnded = true
      for (const opened of opening) opened.destroy()
      await Promise.all([...connections].map((connection) => connection.close()))
    },
  }
}

/** Whether `work` is still under way after `ms` milliseconds. */
async function isSlowerThan(ms: number, work: Promise<unknown>): Promise<boolean> {
  let isOver = false
  const over = () => {
    isOver = true
  }
  await waitAtMost(Math.max(0, ms), work.then(over, over))
  return !isOver
}
