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

/** As in `cache.ts`. */
const PROOF_LASTS_MS = 3_000

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
  const { sendHeartbeat, stop } = await listenForEvictions(database, {
    cache,
    signing: { refresh },
    passwords: { learn: () => {} },
    log,
    metrics,
  })
  const stopBeats = startJob({ everyMs: 1_000, work: sendHeartbeat, failure: 'The beat failed' }, log)

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
  await stopBeats()
  await stop()
  await real.close()
  await drop()
})

test('while every connection of the pool is taken, what is known stays known, and evictions are heard', async () => {
  const service = await startService({ databasePoolSize: 2 })
  const sql = connectTo(service)
  const [known, revoked] = await makeSubjects(service, sql, 2)
  if (!known || !revoked) throw new Error('nobody')
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
    // The control: whoever has to be looked up waits in vain.
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
