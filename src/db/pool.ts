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

/** Makes the connections; each calls `onStandby` when the server it reached says that it takes no writes. */
export type Connect = (onStandby: () => void) => postgres.Sql

type Query = postgres.PendingQuery<postgres.Row[]>
type Unsafe = postgres.Sql['unsafe']
type Generation = { client: postgres.Sql; failure: Error | null }

/**
 * Bounds both waits that postgres.js leaves open: for a connection (the gate), and for an answer on a connection whose
 * other end is silently gone. The server ends a statement by its own timeout; when a connection says nothing for
 * `silenceMs`, which is longer, or turns out to lead to a standby, every connection is dropped and made anew.
 */
export function createPool(connect: Connect, slots: number, silenceMs: number): Pool {
  const gate = createGate(slots)
  const standby = () => databaseError('STANDBY', 'the server is a standby, which takes no writes')
  const silence = () => databaseError('NO_ANSWER', `the database gave no answer for ${silenceMs} ms`)

  const open = (): Generation => {
    const client = connect(() => drop(generation, standby()))
    const generation: Generation = { client, failure: null }
    return generation
  }
  const drop = (generation: Generation, failure: Error) => {
    if (generation.failure) return
    generation.failure = failure
    if (generation === current) current = open()
    void generation.client.end({ timeout: 0 })
  }
  let current = open()

  /** Runs `work` with a connection's worth of the pool. `answered` puts the watch off. */
  const lease = async <T>(
    work: (client: postgres.Sql, answered: () => void) => PromiseLike<T>,
  ): Promise<T> => {
    await gate.enter()
    const generation = current
    const watch = setTimeout(() => drop(generation, silence()), silenceMs)
    try {
      const result = await work(generation.client, () => watch.refresh())
      // A standby's answer may be old.
      if (generation.failure) throw generation.failure
      return result
    } catch (error) {
      throw generation.failure ?? error
    } finally {
      clearTimeout(watch)
      gate.leave()
    }
  }

  const gated = {
    get options() {
      return current.client.options
    },
    unsafe: (...args: Parameters<Unsafe>) =>
      lazily((finish) => lease((client) => finish(client.unsafe(...args)))),
    begin: (work: (sql: postgres.TransactionSql) => unknown) =>
      lease((client, answered) => client.begin((sql) => work(watched(sql, answered)))),
  }
  return {
    client: gated as unknown as postgres.Sql,
    query: (text, params) => lease((client) => client.unsafe(text, params, { prepare: true })),
    close: (seconds) => current.client.end({ timeout: seconds }),
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
function watched(sql: postgres.TransactionSql, answered: () => void): postgres.TransactionSql {
  const noting = (query: PromiseLike<unknown>) => Promise.resolve(query).finally(answered)
  const members = {
    unsafe: (...args: Parameters<Unsafe>) => lazily((finish) => noting(finish(sql.unsafe(...args)))),
    savepoint: (work: (inner: postgres.TransactionSql) => unknown) =>
      sql.savepoint((inner) => work(watched(inner, answered))),
  }
  return members as unknown as postgres.TransactionSql
}
