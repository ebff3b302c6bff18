import type postgres from 'postgres'
import { databaseError } from '../errors.ts'
import { type Line, lazily } from './line.ts'

/** What drizzle gives to `begin` and `savepoint`. */
export type TransactionWork = (sql: postgres.TransactionSql) => unknown

type Unsafe = postgres.Sql['unsafe']

/**
 * Runs `work` between BEGIN and COMMIT on a connection that nobody else uses meanwhile, else ROLLBACK. `answered` is
 * called after each statement.
 * @throws Error where a statement failed whose error `work` kept to itself: such a transaction cannot be committed
 */
export async function runTransaction(
  line: Line,
  answered: () => void,
  work: TransactionWork,
): Promise<unknown> {
  let savepoints = 0
  // On a connection that has ended nothing more may run: the driver would connect again, outside of the transaction.
  const run = async <T>(statement: () => PromiseLike<T>): Promise<T> => {
    if (line.isOver) {
      throw line.failure ?? databaseError('CONNECTION_LOST', 'the connection ended within the transaction')
    }
    return await Promise.resolve(statement()).finally(answered)
  }
  const command = (text: string) => run(() => line.client.unsafe(text))
  const undo = async (text: string) => {
    if (!line.isOver) await command(text)
  }

  const members = {
    unsafe: (...args: Parameters<Unsafe>) =>
      lazily((finish) => run(() => finish(line.client.unsafe(...args)))),
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

  await command('BEGIN')
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
