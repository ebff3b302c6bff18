import { expect, test } from 'bun:test'
import { type OpenDatabase, openDatabase } from '../src/db/open.ts'
import { createCredentialCache } from '../src/features/verify/cache.ts'
import { startHeartbeat } from '../src/features/verify/heartbeat.ts'
import { createLog, silentLog } from '../src/lib/log.ts'
import { createMetrics } from '../src/lib/metrics.ts'
import { createDatabase, databaseConfig } from './support/postgres.ts'
import { until } from './support/until.ts'

test('a beat that comes along with an answer proves nothing; that nothing is proven is said once, and when it ends', async () => {
  const { url, drop } = await createDatabase()
  const real = await openDatabase(databaseConfig(url), silentLog)
  /** What a pooler's lent connection would do: hand everything over with an answer to something. */
  let isLent = true
  const database: OpenDatabase = {
    ...real,
    listen: (channel, { message, gap }) =>
      real.listen(channel, { gap, message: (payload, isUnasked) => message(payload, isUnasked && !isLent) }),
  }
  const metrics = createMetrics(real.load)
  const cache = createCredentialCache(Date.now, true, metrics)
  let text = ''
  const log = createLog({ logLevel: 'info', logFormat: 'json' }, (chunk) => {
    text += chunk
  })
  const said = () => {
    log.flush()
    return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line).message as string]))
  }
  let refreshed = 0
  const refresh = async () => {
    refreshed++
  }
  const stop = await startHeartbeat(database, { cache, signing: { refresh }, log, metrics })

  await until(() => said().length > 0, 'it is said that nothing is heard', 10_000)
  expect(said()).toEqual([expect.stringContaining('no echo on the LISTEN line')])
  expect(cache.isLive()).toBe(false)
  // An eviction is one, however it comes.
  await real.notify('latchkey_evict', 'flush')
  await until(() => refreshed === 1, 'the flush is heard')

  isLent = false
  await until(() => cache.isLive(), 'it is proven', 5000)
  expect(said()).toEqual([
    expect.stringContaining('The cache is bypassed'),
    'The cache is used again: the database is heard',
  ])
  await stop()
  await real.close()
  await drop()
})
