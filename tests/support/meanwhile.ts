import type postgres from 'postgres'

/**
 * Works in a transaction, sends something, waits until so many statements wait for a lock, and ends the transaction: what
 * was sent comes after it, for certain.
 * @param holder its connection; `watcher` is another
 * @param options.rest more work of the transaction, while what was sent waits; an error takes it all back
 */
export async function sendMeanwhile<T>(
  { holder, watcher }: { holder: postgres.Sql; watcher: postgres.Sql },
  {
    work,
    send,
    waiting = 1,
    rest,
  }: {
    work(tx: postgres.TransactionSql): Promise<unknown>
    send(): Promise<T>
    waiting?: number
    rest?(tx: postgres.TransactionSql): Promise<unknown>
  },
): Promise<T> {
  let sent: Promise<T> | undefined
  await holder.begin(async (tx) => {
    await work(tx)
    sent = send()
    let early: unknown
    sent.then(
      (answer) => {
        early = answer
      },
      (error) => {
        early = error
      },
    )
    const countWaiting = async () =>
      (
        await watcher`SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0`
      ).length
    while ((await countWaiting()) < waiting) {
      if (early !== undefined) throw new Error(`It did not wait: ${JSON.stringify(early)}`)
      await Bun.sleep(1)
    }
    await rest?.(tx)
  })
  if (!sent) throw new Error('Nothing was sent')
  return sent
}
