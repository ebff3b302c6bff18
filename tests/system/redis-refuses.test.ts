import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createKeyRates } from '../../src/core/verify/rates.ts'
import { openSharedCounters, REDIS_TIMES, type SharedCounters } from '../../src/db/redis.ts'
import { createLog } from '../../src/lib/log.ts'
import { secret } from '../../src/lib/secret.ts'
import { REDIS_SERVER, startRedis, type TestRedis } from '../support/redis.ts'

const why = REDIS_SERVER ? '' : ' (skipped: apt-get install redis-server)'
const COUNT = `return {redis.call('INCR', KEYS[1])}`
const FAULTY = `return redis.call('SET', KEYS[1], 1, 'PX', 0)`
const PASSWORD = 'hunter2-of-the-test'

describe.skipIf(!REDIS_SERVER)(`what Redis refuses${why}`, () => {
  let redis: TestRedis
  beforeAll(async () => {
    redis = await startRedis([
      ['requirepass', PASSWORD],
      ['user', `writer on >${PASSWORD} ~* +set +select +ping +hello +auth`],
    ])
  })
  afterAll(() => redis?.stop())

  const urlOf = (credential: string, database = '') => redis.url.replace('//', `//${credential}`) + database
  const good = () => urlOf(`:${PASSWORD}@`)

  /** Starts a server on a Redis, and gives its log and the final state of the connection. */
  async function opened(url: string, work: (counters: SharedCounters) => Promise<void> = async () => {}) {
    let text = ''
    const log = createLog({ logLevel: 'info', logFormat: 'json' }, (chunk) => {
      text += chunk
    })
    const counters = await openSharedCounters(secret(url), 'test', log, REDIS_TIMES)
    try {
      await work(counters)
      log.flush()
      const lines = text.split('\n').filter((line) => line !== '')
      return { text, lines: lines.map((line) => JSON.parse(line)), state: counters.state() }
    } finally {
      counters.close()
    }
  }

  test('a use in the last millisecond of a window is counted', async () => {
    const uses = 3_000
    const { state, lines } = await opened(good(), async (counters) => {
      const rates = createKeyRates(Date.now, counters, 1)
      const rate = { limit: uses, windowSeconds: 0.003 }
      const key = { owner: { id: 'o' }, rates: [{ of: 'key', id: 'k', rate, window: null } as const] }
      for (let i = 0; i < uses; i++) expect(await rates.take(key)).toMatchObject([{ isExceeded: false }])
    })
    expect([state, lines]).toEqual([{ isBroken: false, fallbacks: 0, errors: 0 }, []])
  }, 240_000)

  test('by an unexpected answer counts only that check locally, and the other checks stay shared', async () => {
    const { state, lines, text } = await opened(good(), async (counters) => {
      expect(await counters.run(COUNT, ['shared'], [])).toEqual([1])
      for (let i = 0; i < 3; i++) expect(await counters.run(FAULTY, ['faulty'], [])).toBeNull()
      expect(await counters.run('return "no list"', ['faulty'], [])).toBeNull()
      expect(await counters.run(COUNT, ['shared'], [])).toEqual([2])
    })
    expect(state).toEqual({ isBroken: false, fallbacks: 4, errors: 4 })
    // Errors are logged at intervals, however many there are.
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatchObject({
      level: 'error',
      message: expect.stringContaining('Redis refuses a command'),
    })
    expect(text).toContain('invalid expire time')
  })

  test.each<[what: string, url: () => string, said: RegExp]>([
    ['a wrong password', () => urlOf(':wrong@'), /WRONGPASS/],
    ['an unknown user', () => urlOf(`nobody:${PASSWORD}@`), /WRONGPASS/],
    ['no password', () => urlOf(''), /NOAUTH/],
    ['an unknown database', () => urlOf(`:${PASSWORD}@`, '/99'), /DB index is out of range/],
    ['a user who may run no script', () => urlOf(`writer:${PASSWORD}@`), /NOPERM/],
  ])('%s is logged at the start, once, without the password', async (_what, url, said) => {
    const { state, lines, text } = await opened(url(), async (counters) => {
      for (let i = 0; i < 3; i++) expect(await counters.run(COUNT, ['k'], [])).toBeNull()
    })
    expect([state.isBroken, state.fallbacks]).toEqual([true, 3])
    expect(lines).toHaveLength(1)
    expect(lines[0].level).toBe('error')
    expect(lines[0].message).toMatch(/^Redis refuses to count .*REDIS_URL/)
    expect(lines[0].message).toMatch(said)
    expect(text).not.toContain(PASSWORD)
    expect(text).not.toContain('wrong@')
  })

  test('the control: a right database and a right password are accepted', async () => {
    const { state, lines } = await opened(urlOf(`:${PASSWORD}@`, '/3'), async (counters) => {
      expect(await counters.run(COUNT, ['k'], [])).toEqual([1])
    })
    expect([state.isBroken, lines]).toEqual([false, []])
  })

  test('a Redis that becomes a replica is treated as unreachable', async () => {
    const admin = new Bun.RedisClient(good())
    try {
      const { state, text } = await opened(good(), async (counters) => {
        await admin.send('REPLICAOF', ['127.0.0.1', '1'])
        expect(await counters.run(COUNT, ['k'], [])).toBeNull()
        expect(await counters.run(COUNT, ['k'], [])).toBeNull()
      })
      expect([state, text.includes('READONLY')]).toEqual([{ isBroken: true, fallbacks: 2, errors: 0 }, true])
    } finally {
      await admin.send('REPLICAOF', ['NO', 'ONE'])
      admin.close()
    }
  })
})
