import type postgres from 'postgres'
import { databaseError } from './errors.ts'
import { createGate } from './gate.ts'

/** The part of postgres.js that drizzle calls, behind a gate and a watch. */
export type Pool = {
  /** For `drizzle({ client })` alone: it has only `options`, `unsafe` and `begin`. */
  client: postgres.Sql
  /** One statement of this layer's own. */
  query(text: string, params?: string[]): Promise<postgres.Row[]>
  /** Lets queries in flight end, for at most `seconds`. */
  close(seconds: number): Promise<void>
}

type Query = postgres.PendingQuery<postgres.Row[]>
type Unsafe = postgres.Sql['unsafe']

/**
 * Bounds both waits that postgres.js leaves open: for a connection (the gate), and for an answer on a connection whose
 * other end is silently gone. The server ends a statement by its own timeout; when a connection says nothing for
 * `silenceMs`, which is longer, every connection is dropped and made anew.
 */
export function createPool(connect: () => postgres.Sql, slots: number, silenceMs: number): Pool {
  const gate = createGate(slots)
  let current = connect()

  const dropAll = (stuck: postgres.Sql) => {
    if (stuck !== current) return
    current = connect()
    void stuck.end({ timeout: 0 })
  }

  /** Runs `work` with a connection's worth of the pool. `alive` puts the watch off after each answer. */
  const lease = async <T>(work: (client: postgres.Sql, alive: () => void) => PromiseLike<T>): Promise<T> => {
    await gate.enter()
    const client = current
    let silent = false
    const bark = () => {
      silent = true
      dropAll(client)
    }
    let watch = setTimeout(bark, silenceMs)
    const alive = () => {
      clearTimeout(watch)
      if (!silent) watch = setTimeout(bark, silenceMs)
    }
    try {
      return await work(client, alive)
    } catch (error) {
      throw silent ? databaseError('NO_ANSWER', `The database gave no answer for ${silenceMs} ms.`) : error
    } finally {
      clearTimeout(watch)
      gate.leave()
    }
  }

  const gated = {
    get options() {
      return current.options
    },
    unsafe: (...args: Parameters<Unsafe>) =>
      lazily((finish) => lease((client) => finish(client.unsafe(...args)))),
    begin: (work: (sql: postgres.TransactionSql) => unknown) =>
      lease((client, alive) => client.begin((sql) => work(watched(sql, alive)))),
  }
  return {
    client: gated as unknown as postgres.Sql,
    query: (text, params) => lease((client) => client.unsafe(text, params, { prepare: true })),
    close: (seconds) => current.end({ timeout: seconds }),
  }
}

/** drizzle calls `.values()` on a query or awaits it as it is; nothing runs before it does either. */
function lazily(run: (finish: (query: Query) => PromiseLike<unknown>) => Promise<unknown>) {
  return {
    values: () => run((query) => query.values()),
    // biome-ignore lint/suspicious/noThenProperty: it stands in for a query of postgres.js, which is a thenable
    then: (...handlers: Parameters<Promise<unknown>['then']>) => run((query) => query).then(...handlers),
  }
}

/** The same inside a transaction, whose connection is already leased. */
function watched(sql: postgres.TransactionSql, alive: () => void): postgres.TransactionSql {
  const answered = <T>(answer: PromiseLike<T>): Promise<T> => Promise.resolve(answer).finally(alive)
  const members = {
    unsafe: (...args: Parameters<Unsafe>) => lazily((finish) => answered(finish(sql.unsafe(...args)))),
    savepoint: (work: (inner: postgres.TransactionSql) => unknown) =>
      sql.savepoint((inner) => work(watched(inner, alive))),
  }
  return members as unknown as postgres.TransactionSql
}
