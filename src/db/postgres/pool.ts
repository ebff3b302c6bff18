import { drizzle } from 'drizzle-orm/postgres-js'
import type postgres from 'postgres'
import { countTowardsDeadline, remainingMs } from '../../lib/deadline.ts'
import type { PoolLoad } from '../../lib/metrics.ts'
import { databaseError, endsConnection } from '../errors.ts'
import type { Database } from '../open.ts'
import * as schema from '../schema.ts'
import type { Connection } from './connect.ts'
import { type Line, lazily } from './line.ts'
import { runTransaction, type TransactionWork } from './transaction.ts'
import { createGate } from './wait-queue.ts'
import { within } from './within.ts'

/** Connections behind a gate and a watch. */
export type Pool = {
  db: Database
  /** One statement of this layer's own. */
  query(text: string, params?: string[]): Promise<postgres.Row[]>
  /** From now on every query fails so, without being asked; null: no more. */
  refuse(why: Error | null): void
  /** Takes nothing new, and gives what is under way at most `seconds`. */
  close(seconds: number): Promise<void>
  load(): PoolLoad
}

/** What a connection reports: that it ended, or that its server takes no writes. */
export type ConnectionEvents = { onclose(): void; onstandby(): void }

type PooledLine = Line & Pick<Connection, 'close' | 'destroy'> & { retiresAt: number }

/** About an hour: then a connection is made anew, so that a change behind a name or a balancer is followed. */
const lifetimeMs = () => (45 + 30 * Math.random()) * 60_000

type Unsafe = postgres.Sql['unsafe']

/**
 * Bounds both waits that postgres.js leaves open: for a connection (the gate), and for an answer on one whose other end
 * is silently gone. The server ends a statement by its own timeout; a connection that says nothing for `silenceMs`,
 * which is longer, is dropped.
 *
 * Each connection is a client of its own, used for one thing at a time, and given up for good when it ends: a client
 * that connects again by itself may hang, run a dead transaction's statements inside another one, or throw out of
 * reach of any catch (postgres.js 3.4.9).
 */
export function createPool(
  connect: (events: ConnectionEvents) => Connection,
  slots: number,
  silenceMs: number,
): Pool {
  const gate = createGate(slots)
  const lines = new Set<PooledLine>()
  const idle: PooledLine[] = []
  let isClosed = false
  let refusal: Error | null = null
  /** drizzle puts its parsers in here when it is made; each client gets them. */
  const options = { parsers: {}, serializers: {} }

  const open = (): PooledLine => {
    const connection = connect({
      onclose: () => giveUp(line),
      onstandby: () =>
        giveUp(line, databaseError('STANDBY', 'the server is a standby, which takes no writes')),
    })
    Object.assign(connection.client.options.parsers, options.parsers)
    Object.assign(connection.client.options.serializers, options.serializers)
    const line = { ...connection, isOver: false, failure: null, retiresAt: performance.now() + lifetimeMs() }
    lines.add(line)
    return line
  }
  const giveUp = (line: PooledLine, failure: Error | null = null) => {
    line.failure ??= failure
    if (line.isOver) return
    line.isOver = true
    lines.delete(line)
    line.destroy()
  }
  const giveBack = (line: PooledLine) => {
    if (line.isOver) return
    if (performance.now() < line.retiresAt) {
      idle.push(line)
      return
    }
    line.isOver = true
    lines.delete(line)
    void line.close()
  }
  const take = (): PooledLine => {
    for (let line = idle.pop(); line; line = idle.pop()) if (!line.isOver) return line
    return open()
  }

  /** Ends the line, and what is under way on it, once the request has no time left. */
  const allowOnly = (line: PooledLine) => {
    const leftMs = remainingMs()
    if (leftMs === Infinity) return undefined
    const late = () =>
      giveUp(line, databaseError('OUT_OF_TIME', 'the request has waited too long for the database'))
    return setTimeout(late, leftMs)
  }

  /** Runs `work` with a connection of its own. `answered` puts the watch off. */
  const lease = <T>(work: (line: Line, answered: () => void) => PromiseLike<T>): Promise<T> =>
    countTowardsDeadline(() => leaseNow(work))
  const leaseNow = async <T>(work: (line: Line, answered: () => void) => PromiseLike<T>): Promise<T> => {
    await gate.enter()
    const closed = isClosed ? databaseError('POOL_CLOSED', 'the database is closed') : refusal
    if (closed) {
      gate.leave()
      throw closed
    }
    const line = take()
    const silent = () =>
      giveUp(line, databaseError('NO_ANSWER', `the database gave no answer for ${silenceMs} ms`))
    const watch = setTimeout(silent, silenceMs)
    const end = allowOnly(line)
    try {
      const result = await work(line, () => watch.refresh())
      // A standby's answer may be old.
      if (line.failure) throw line.failure
      return result
    } catch (error) {
      if (endsConnection(error)) giveUp(line)
      throw line.failure ?? error
    } finally {
      clearTimeout(watch)
      clearTimeout(end)
      giveBack(line)
      gate.leave()
    }
  }

  const gated = {
    options,
    unsafe: (...args: Parameters<Unsafe>) =>
      lazily((finish) => lease(({ client }) => finish(client.unsafe(...args)))),
    begin: (work: TransactionWork) => lease((line, answered) => runTransaction(line, answered, work)),
  }
  return {
    // drizzle uses these three members only.
    db: drizzle({ client: gated as unknown as postgres.Sql, schema }),
    query: (text, params) => lease(({ client }) => client.unsafe(text, params, { prepare: true })),
    load: gate.load,
    refuse: (why) => {
      refusal = why
    },
    close: async (seconds) => {
      isClosed = true
      await within(seconds * 1000, gate.drained())
      await Promise.all([...lines].map((line) => line.close()))
    },
  }
}
