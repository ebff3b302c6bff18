import type { Budget } from '../support/budget.ts'
import { atMost } from '../support/budget.ts'
import type { Entry, Finding } from '../support/entry.ts'
import { figureOf } from '../support/figures.ts'
import { databaseCpuSeconds, makeDatabase } from '../support/postgres.ts'
import {
  createCredentialCache,
  createMetrics,
  listenForEvictions,
  openDatabase,
  secret,
  silentLog,
} from '../support/source.ts'

const INSTANCES = [1, 10, 50]
const SECOND_MS = 1000
/** The messages must grow as the number of instances, not as its square. Some room is for the edges of a measurement. */
const MOST_EACH = 1.3

/** The messages that PostgreSQL delivers while so many instances prove that they hear it. */
export const heartbeats: Entry = {
  name: 'heartbeats',
  estimateSeconds: ({ rounds, seconds }) => INSTANCES.length * (rounds * seconds + 5),
  async run({ rounds, seconds }) {
    const findings: Finding[] = []
    for (const count of INSTANCES) findings.push(await measure(count, rounds, seconds))
    return findings
  },
}

async function measure(count: number, rounds: number, seconds: number): Promise<Finding> {
  const database = await makeDatabase()
  const instances = await Promise.all(Array.from({ length: count }, () => startInstance(database.url)))
  try {
    const perSecond: number[] = []
    await Bun.sleep(SECOND_MS)
    const costBefore = await databaseCpuSeconds()
    for (let round = 0; round < rounds; round++) {
      const before = received(instances)
      await Bun.sleep(seconds * SECOND_MS)
      perSecond.push((received(instances) - before) / seconds)
    }
    const cost = ((await databaseCpuSeconds()) ?? Number.NaN) - (costBefore ?? Number.NaN)
    if (!instances.every(({ isLive }) => isLive()))
      throw new Error('An instance did not hear its own heartbeat')
    const figure = figureOf(perSecond)
    const budget: Budget = atMost(figure.middle, MOST_EACH * count, ' a second')
    return {
      what: `messages that PostgreSQL delivers for ${count === 1 ? 'one instance' : `${count} instances`}`,
      unit: 'a second',
      figure,
      budget,
      details: [
        `${((1000 * cost) / (rounds * seconds)).toFixed(1)} ms of PostgreSQL's processor time a second`,
      ],
    }
  } finally {
    await Promise.all(instances.map(({ stop }) => stop()))
    await database.drop()
  }
}

type Instance = { received(): number; isLive(): boolean; stop(): Promise<void> }

const received = (instances: readonly Instance[]) => instances.reduce((sum, each) => sum + each.received(), 0)

/** The part of Latchkey that sends heartbeats and listens, on connections of its own. */
async function startInstance(url: string): Promise<Instance> {
  const config = {
    databaseUrl: secret(url),
    databaseDirectUrl: null,
    databasePoolSize: 1,
    databaseStatementTimeoutMs: 5000,
    databaseConnectTimeoutMs: 1500,
    databasePrepare: true,
    dataDir: '',
  }
  const opened = await openDatabase(config, silentLog)
  const metrics = createMetrics(opened.load)
  const cache = createCredentialCache(Date.now, true, metrics, 1)
  let messages = 0
  const counting: typeof opened = {
    ...opened,
    listen: (channels, listener) =>
      opened.listen(channels, {
        ...listener,
        message(...given) {
          messages += 1
          listener.message(...given)
        },
      }),
  }
  const idle = { signing: { refresh: async () => {} }, passwords: { learn() {} } }
  const evictions = await listenForEvictions(counting, { cache, metrics, log: silentLog, ...idle })
  await evictions.sendHeartbeat()
  const timer = setInterval(() => void evictions.sendHeartbeat(), SECOND_MS)
  return {
    received: () => messages,
    isLive: cache.isLive,
    async stop() {
      clearInterval(timer)
      await evictions.stop()
      await opened.close()
    },
  }
}
