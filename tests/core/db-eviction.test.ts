import { expect, test } from 'bun:test'
import { Glob } from 'bun'
import {
  EVICTION_CHANNEL,
  EVICTION_KINDS,
  parseEviction,
  parseRegionMessage,
  REGION_CHANNEL,
} from '../../src/db/eviction.ts'

test('exactly the kinds that triggers of the migrations send are known', async () => {
  const sent = new Set<string>()
  for (const file of new Glob('drizzle/*.sql').scanSync(`${import.meta.dir}/../..`)) {
    const code = await Bun.file(`${import.meta.dir}/../../${file}`).text()
    for (const [, kind = ''] of code.matchAll(/EXECUTE FUNCTION latchkey\.evict\w*\('(\w+)'/g)) sent.add(kind)
    for (const [, channel, word] of code.matchAll(/pg_notify\('(\w+)', (?:'(\w+)'\))?/g)) {
      expect([EVICTION_CHANNEL, REGION_CHANNEL]).toContain(channel ?? '')
      if (channel !== EVICTION_CHANNEL) continue
      if (word !== undefined) sent.add(word)
    }
  }
  expect([...sent].sort()).toEqual([...EVICTION_KINDS, 'flush', 'new'].sort())
  for (const word of sent) expect(parseEviction(`${word} a`)).toMatchObject({ kind: word })
})

test('a message is parsed into its kind and its row', () => {
  expect(parseEviction('key 018f')).toEqual({ kind: 'key', id: '018f' })
  expect(parseEviction('flush')).toEqual({ kind: 'flush' })
  expect(parseEviction('new')).toEqual({ kind: 'new' })
  for (const unknown of ['', 'keys a', 'grants a', 'Key a', 'beat a 7'])
    expect(parseEviction(unknown)).toBeNull()
})

test('a message of a region is parsed, and one that is no such message is not', () => {
  expect(parseRegionMessage('heartbeat 7 1700000000123 2 0 whole')).toEqual({
    kind: 'heartbeat',
    n: 7,
    atMs: 1_700_000_000_123,
    timeline: 2,
    uncopied: 0,
    state: 'whole',
  })
  expect(parseRegionMessage('state chain')).toEqual({ kind: 'state', state: 'chain' })
  for (const unknown of [
    '',
    'state',
    'state mended',
    'state whole whole',
    'heartbeat 7 1 2 0',
    'heartbeat 7 1 2 0 mended',
    'heartbeat 7 x 2 0 whole',
    'heartbeat 7 1 2 0 0 whole',
    'pulse 7 1 2 0 whole',
  ])
    expect(parseRegionMessage(unknown)).toBeNull()
})
