import { describe, expect, test } from 'bun:test'
import { createLog, silentLog } from '../../src/lib/log.ts'
import { type Job, startJob } from '../../src/server/jobs.ts'
import { until } from '../support/until.ts'

/** A job whose rounds end when the test says so. */
function held(options: Partial<Job> = {}) {
  const rounds: PromiseWithResolvers<void>[] = []
  const work = () => {
    const round = Promise.withResolvers<void>()
    rounds.push(round)
    return round.promise
  }
  return { rounds, job: { everyMs: 2, failure: 'It failed', work, ...options } }
}

/** Waits long enough for many rounds. */
const aWhile = () => Bun.sleep(40)

describe('background work', () => {
  test('repeats until it is stopped, and never runs twice at the same moment', async () => {
    const { rounds, job } = held()
    const stop = startJob(job, silentLog)
    await until(() => rounds.length === 1, 'it begins')
    await aWhile()
    expect(rounds).toHaveLength(1)
    rounds[0]?.resolve()
    await until(() => rounds.length === 2, 'the second round begins')
    rounds[1]?.resolve()
    await stop()
    const { length } = rounds
    await aWhile()
    expect(rounds).toHaveLength(length)
  })

  test('that fails is logged, and tried again', async () => {
    let text = ''
    const log = createLog({ logLevel: 'info', logFormat: 'json' }, (chunk) => {
      text += chunk
    })
    const { rounds, job } = held()
    const stop = startJob(job, log)
    await until(() => rounds.length === 1, 'it begins')
    rounds[0]?.reject(new Error('no database'))
    await until(() => rounds.length === 2, 'it is tried again')
    log.flush()
    expect(JSON.parse(text)).toMatchObject({ message: 'It failed', level: 'warn' })
    await stop()
  })

  test('with a last round: stopping waits for the running round and for one more', async () => {
    const { rounds, job } = held({ runsAtStop: true })
    const stop = startJob(job, silentLog)
    await until(() => rounds.length === 1, 'it begins')
    let isOver = false
    const stopped = stop().then(() => {
      isOver = true
    })
    await aWhile()
    expect(rounds).toHaveLength(1)
    rounds[0]?.resolve()
    await until(() => rounds.length === 2, 'the last round begins')
    await aWhile()
    expect(isOver).toBe(false)
    rounds[1]?.resolve()
    await stopped
    await aWhile()
    expect(rounds).toHaveLength(2)
  })

  test('that is spread begins within the first interval, repeats, and ends when it is stopped', async () => {
    let count = 0
    const everyMs = 10
    const work = async () => {
      count += 1
    }
    const spread = { everyMs, work, failure: 'It failed', isSpread: true }
    const stop = startJob(spread, silentLog)
    await until(() => count >= 3, 'it repeats')
    await stop()
    const before = count
    await aWhile()
    expect(count).toBe(before)
    // The job is stopped before its first round.
    await startJob(spread, silentLog)()
    await aWhile()
    expect(count).toBe(before)
  })
})
