import { expect, test } from 'bun:test'
import { createCredentialCache } from '../../src/core/verify/cache.ts'
import { listenForEvictions } from '../../src/core/verify/proof-of-life.ts'
import { recallCredential } from '../../src/core/verify/verify-credential.ts'
import type { OpenDatabase } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import { createLog, silentLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'
import { makeApiKey } from '../../src/lib/tokens.ts'
import { startJob } from '../../src/server/jobs.ts'
import { call } from '../support/client.ts'
import { connectTo } from '../support/people.ts'
import { createDatabase, databaseConfig } from '../support/postgres.ts'
import { startService } from '../support/service.ts'
import { makeSubjects } from '../support/subjects.ts'
import { until } from '../support/until.ts'

/** The same as in `cache.ts`. */
const PROOF_LASTS_MS = 3_000

test('a heartbeat that arrives with an answer is no proof of life; the loss and the return of the proof are logged once', async () => {
  const { url, drop } = await createDatabase()
  const real = await openDatabase(databaseConfig(url), silentLog)
  /** Behaves like a connection that a pooler lends: every message arrives together with an answer. */
  let isLent = true
  const database: OpenDatabase = {
    ...real,
    listen: (channels, { message, gap }) =>
      real.listen(channels, {
        gap,
        message: (payload, isUnasked, channel) => message(payload, isUnasked && !isLent, channel),
      }),
  }
  const metrics = createMetrics(real.load)
  const cache = createCredentialCache(Date.now, true, metrics, 100)
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
  const { sendHeartbeat, stop } = await listenForEvictions(database, {
    cache,
    signing: { refresh },
    passwords: { learn: () => {} },
    log,
    metrics,
  })
  const stopHeartbeats = startJob(
    { everyMs: 1_000, work: sendHeartbeat, failure: 'The heartbeat failed' },
    log,
  )

  await until(() => said().length > 0, 'it is said that nothing is heard')
  expect(said()).toEqual([expect.stringContaining('no echo on the LISTEN line')])
  expect(cache.isLive()).toBe(false)
  // An eviction counts, also when it arrives with an answer.
  await real.notify('latchkey_evict', 'flush')
  await until(() => refreshed === 1, 'the flush is heard')

  isLent = false
  await until(() => cache.isLive(), 'it is proven')
  expect(said()).toEqual([
    expect.stringContaining('The cache is bypassed'),
    'The cache is used again: the database is heard',
  ])
  await stopHeartbeats()
  await stop()
  await real.close()
  await drop()
})

test('while every connection of the pool is in use, the cache is still used, and evictions arrive', async () => {
  const service = await startService({ databasePoolSize: 2 })
  const sql = connectTo(service)
  const [known, revoked] = await makeSubjects(service, sql, 2)
  if (!known || !revoked) throw new Error('No person')
  const ask = async (key: string) => (await call(service, 'GET /protected/any', { apiKey: key })).status
  for (const { key } of [known, revoked])
    await until(
      async () => (await ask(key)) === 200 && recallCredential(service.context, key) !== null,
      'it is in the cache',
    )
  let isOver = false
  const takers = Array.from({ length: 2 }, () =>
    service.context.db.transaction(async (tx) => {
      while (!isOver) await tx.execute(`SELECT pg_sleep(0.05)`)
    }),
  )
  try {
    const startedAt = performance.now()
    while (performance.now() - startedAt < 2 * PROOF_LASTS_MS) {
      expect(await ask(known.key)).toBe(200)
      await Bun.sleep(20)
    }
    // The control: a credential that has to be looked up gets no connection.
    expect(await ask(makeApiKey('sk_'))).toBe(503)
    await sql`UPDATE latchkey.api_keys SET revoked_at = now() WHERE id = ${revoked.keyId}`
    await until(() => recallCredential(service.context, revoked.key) === null, 'the eviction is heard', 1000)
    expect(recallCredential(service.context, known.key)).not.toBeNull()
  } finally {
    isOver = true
    await Promise.all(takers)
  }
  await sql.end()
  await service.stop()
})
