import type postgres from 'postgres'
import { databaseError } from '../errors.ts'

/**
 * A connection in use. `isOver`: it accepts no more statements. `failure`: why its answers must not be used.
 */
export type LeasedConnection = { client: postgres.Sql; isOver: boolean; failure: Error | null }

/** The function that drizzle passes to `begin` and `savepoint`. */
export type TransactionWork = (sql: postgres.TransactionSql) => unknown

/**
 * Runs `work` between `begin` and COMMIT, or ROLLBACK if it fails. The connection is used for nothing else in
 * between. `answered` is called after each statement.
 * @throws Error if `work` caught a statement's error and continued: PostgreSQL cannot commit such a
 *   transaction
 */
export async function runTransaction(
  connection: LeasedConnection,
  answered: () => void,
  work: TransactionWork,
  begin: string,
): Promise<unknown> {
  let savepoints = 0
  // Nothing more may run on a connection that has ended: the driver would reconnect and run it outside of the
  // transaction.
  const run = async <T>(statement: () => PromiseLike<T>): Promise<T> => {
    if (connection.isOver) {
      throw (
        connection.failure ?? databaseError('CONNECTION_LOST', 'the connection ended within the transaction')
      )
    }
    return await Promise.resolve(statement()).finally(answered)
  }
  const command = (text: string) => run(() => connection.client.unsafe(text))
  const undo = async (text: string) => {
    if (!connection.isOver) await command(text)
  }

  const members = {
    unsafe: (...args: Parameters<postgres.Sql['unsafe']>) =>
      lazily((finish) => run(() => finish(connection.client.unsafe(...args)))),
    savepoint: async (inner: TransactionWork) => {
      const name = `s${++savepoints}`
      await command(`SAVEPOINT ${name}`)
      try {
        const result = await inner(sql)
        await command(`RELEASE SAVEPOINT ${name}`)
        return result
      } catch (error) {
        await undo(`ROLLBACK TO SAVEPOINT ${name}`)
        throw error
      }
    },
  }
  const sql = members as unknown as postgres.TransactionSql

  await command(begin)
  let result: unknown
  try {
    result = await work(sql)
  } catch (error) {
    await undo('ROLLBACK')
    throw error
  }
  const { command: ended } = await command('COMMIT')
  if (ended !== 'COMMIT') throw new Error('a transaction was rolled back: one of its statements had failed')
  return result
}

type Query = postgres.PendingQuery<postgres.Row[]>

/** Starts a query only when drizzle awaits it or calls its `.values()`, as a postgres.js query does. */
export function lazily(run: (finish: (query: Query) => PromiseLike<unknown>) => Promise<unknown>) {
  return {
    values: () => run((query) => query.values()),
    // biome-ignore lint/suspicious/noThenProperty: it stands in for a query of postgres.js, which is a thenable
    then: (...handlers: Parameters<Promise<unknown>['then']>) => run((query) => query).then(...handlers),
  }
}
