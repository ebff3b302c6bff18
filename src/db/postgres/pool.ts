import type { Logger } from 'drizzle-orm/logger'
import { drizzle } from 'drizzle-orm/postgres-js'
import type postgres from 'postgres'
import { countTowardsDeadline, remainingMs } from '../../lib/deadline.ts'
import type { PoolLoad } from '../../lib/metrics.ts'
import type { Database } from '../database.ts'
import { databaseError, endsConnection, isReadOnly } from '../errors.ts'
import * as schema from '../schema.ts'
import type { Connection } from './connect.ts'
import { beginWith, type SessionSettings } from './session.ts'
import { type LeasedConnection, lazily, runTransaction, type TransactionWork } from './transaction.ts'
import { createWaitQueue, waitAtMost } from './wait-queue.ts'

/** Connections behind a wait queue. */
export type Pool = {
  db: Database
  /** One statement of this layer's own. */
  query(text: string, params?: string[]): Promise<postgres.Row[]>
  /** From now on every query fails with this error, and is not sent; null: ends that. */
  refuse(why: Error | null): void
  /** Takes no more queries, and gives those under way at most `seconds`. */
  close(seconds: number): Promise<void>
  load(): PoolLoad
}

/** What a connection reports: that it ended, or that its server takes no writes. */
export type ConnectionEvents = { onclose(): void; onstandby(): void }

type PooledConnection = LeasedConnection & Pick<Connection, 'close' | 'destroy'> & { retiresAt: number }
type Work<T> = (connection: LeasedConnection, answered: () => void) => PromiseLike<T>

/** About an hour: then a connection is made anew, so that a change behind a name or a balancer is followed. */
const lifetimeMs = () => (45 + 30 * Math.random()) * 60_000

/**
 * Bounds both waits that postgres.js leaves open: for a connection (the wait queue), and for an answer on one whose
 * other end is silently gone. The server ends a statement by its own timeout; a connection that is silent for
 * `silenceMs`, which is longer, is dropped.
 *
 * Each connection is a client of its own, used for one thing at a time, and given up for good when it ends: a client
 * that connects again by itself may hang, run a dead transaction's statements inside another one, or throw out of
 * reach of any catch (postgres.js 3.4.9).
 *
 * @param unpinned settings that the connections do not keep: then each statement runs in a transaction that sets them
 */
export function createPool(
  connect: (events: ConnectionEvents) => Connection,
  slots: number,
  silenceMs: number,
  unpinned: SessionSettings = {},
  logger?: Logger,
): Pool {
  const queue = createWaitQueue(slots)
  const connections = new Set<PooledConnection>()
  const idle: PooledConnection[] = []
  let isClosed = false
  let refusal: Error | null = null
  const isPinned = Object.keys(unpinned).length === 0
  const begin = isPinned ? 'BEGIN' : beginWith(unpinned)
  /** drizzle puts its parsers in here when it is made; each client gets them. */
  const options = { parsers: {}, serializers: {} }

  const open = (): PooledConnection => {
    const opened = connect({
      onclose: () => giveUp(connection),
      onstandby: () => {
        giveUp(connection, databaseError('STANDBY', 'the server is a standby, which takes no writes'))
        retireAll()
      },
    })
    Object.assign(opened.client.options.parsers, options.parsers)
    Object.assign(opened.client.options.serializers, options.serializers)
    const retiresAt = performance.now() + lifetimeMs()
    const connection = { ...opened, isOver: false, failure: null, retiresAt }
    connections.add(connection)
    return connection
  }
  const giveUp = (connection: PooledConnection, failure: Error | null = null) => {
    connection.failure ??= failure
    if (connection.isOver) return
    connection.isOver = true
    connections.delete(connection)
    connection.destroy()
  }
  /** After a failover no connection to the old primary may stay: an idle one ends now, another after its work. */
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
  const take = (): PooledConnection => {
    for (let connection = idle.pop(); connection; connection = idle.pop()) {
      if (!connection.isOver) return connection
    }
    return open()
  }

  /** Ends the connection, and what is under way on it, once the request has no time left. */
  const endAtDeadline = (connection: PooledConnection) => {
    const leftMs = remainingMs()
    if (leftMs === Infinity) return undefined
    const late = () =>
      giveUp(connection, databaseError('OUT_OF_TIME', 'the request has waited too long for the database'))
    return setTimeout(late, leftMs)
  }

  /** Runs `work` with a connection of its own. `answered` starts the time of silence anew. */
  const lease = <T>(work: Work<T>): Promise<T> => countTowardsDeadline(() => leaseNow(work))
  const leaseNow = async <T>(work: Work<T>): Promise<T> => {
    await queue.enter()
    const closed = isClosed ? databaseError('POOL_CLOSED', 'the database is closed') : refusal
    if (closed) {
      queue.leave()
      throw closed
    }
    const connection = take()
    const silent = () =>
      giveUp(connection, databaseError('NO_ANSWER', `the database gave no answer for ${silenceMs} ms`))
    const watch = setTimeout(silent, silenceMs)
    const end = endAtDeadline(connection)
    try {
      const result = await work(connection, () => watch.refresh())
      // A standby's answer may be old.
      if (connection.failure) throw connection.failure
      return result
    } catch (error) {
      if (endsConnection(error)) giveUp(connection)
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
  /** One statement. */
  const run = <T>(work: (sql: Pick<postgres.Sql, 'unsafe'>) => PromiseLike<T>): Promise<T> =>
    isPinned ? lease((connection) => work(connection.client)) : (transact(work) as Promise<T>)

  const client = {
    options,
    unsafe: (...args: Parameters<postgres.Sql['unsafe']>) =>
      lazily((finish) => run((sql) => finish(sql.unsafe(...args)))),
    begin: transact,
  }
  return {
    // drizzle uses these three members only.
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
      await Promise.all([...connections].map((connection) => connection.close()))
    },
  }
}
