import { describe, expect, test } from 'bun:test'
import { createLog, silentLog } from '../../src/lib/log.ts'
import { type Job, startJob } from '../../src/server/jobs.ts'
import { until } from '../support/until.ts'

/** A job of which the test ends each round. */
function held(options: Partial<Job> = {}) {
  const rounds: PromiseWithResolvers<void>[] = []
  const work = () => {
    const round = Promise.withResolvers<void>()
    rounds.push(round)
    return round.promise
  }
  return { rounds, job: { everyMs: 2, failure: 'It failed', work, ...options } }
}

/** Long enough for many rounds. */
const aWhile = () => Bun.sleep(40)

describe('background work', () => {
  test('repeats, never twice at the same moment, until it is stopped', async () => {
    const { rounds, job } = held()
    const stop = startJob(job, silentLog)
    await until(() => rounds.length === 1, 'it begins')
    await aWhile()
    expect(rounds).toHaveLength(1)
    rounds[0]?.resolve()
    await until(() => rounds.length === 2, 'it goes on')
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

  test('with a last round: the end waits for the round that runs, and for one more', async () => {
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
    // Stopped before its first round.
    await startJob(spread, silentLog)()
    await aWhile()
    expect(count).toBe(before)
  })

  test('that is woken runs at once, and once more where a round runs already', async () => {
    let wake = () => {}
    const onStart = (given: () => void) => {
      wake = given
    }
    const { rounds, job } = held({ everyMs: 60_000, onStart })
    const stop = startJob(job, silentLog)
    await aWhile()
    expect(rounds).toHaveLength(0)
    wake()
    expect(rounds).toHaveLength(1)
    wake()
    wake()
    expect(rounds).toHaveLength(1)
    rounds[0]?.resolve()
    await until(() => rounds.length === 2, 'what came meanwhile is looked at')
    rounds[1]?.resolve()
    await aWhile()
    expect(rounds).toHaveLength(2)
    await stop()
    wake()
    expect(rounds).toHaveLength(2)
  })

  test('whose round has to come to its end: the end waits for it, and for no other', async () => {
    const { rounds, job } = held({ finishesAtStop: true })
    const stop = startJob(job, silentLog)
    await until(() => rounds.length === 1, 'it begins')
    let isOver = false
    const stopped = stop().then(() => {
      isOver = true
    })
    await aWhile()
    expect(isOver).toBe(false)
    rounds[0]?.resolve()
    await stopped
    await aWhile()
    expect(rounds).toHaveLength(1)
  })

  test('that is stopped meanwhile says nothing of what it lost by that, unless the end waits for it', async () => {
    const logged = async (options: Partial<Job>) => {
      let text = ''
      const log = createLog({ logLevel: 'info', logFormat: 'json' }, (chunk) => {
        text += chunk
      })
      const { rounds, job } = held(options)
      const stop = startJob(job, log)
      await until(() => rounds.length === 1, 'it begins')
      const stopped = stop()
      rounds[0]?.reject(new Error('the database is closed'))
      await stopped
      await aWhile()
      log.flush()
      return text
    }
    expect(await logged({})).toBe('')
    expect(await logged({ finishesAtStop: true })).toContain('It failed')
  })

  test('that runs at the start does so, spread or not', async () => {
    const { rounds, job } = held({ everyMs: 60_000, isSpread: true, runsAtStart: true })
    const stop = startJob(job, silentLog)
    expect(rounds).toHaveLength(1)
    await stop()
  })
})
