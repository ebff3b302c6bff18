import { describe, expect, test } from 'bun:test'
import {
  type Credits,
  creditsAt,
  findDueRefill,
  nextRefill,
  type Refill,
  timeToCover,
} from '../../src/core/credits/refills.ts'

const refillOf = (given: Partial<Refill>): Refill => ({
  amount: 10,
  interval: 'daily',
  day: null,
  hour: null,
  timeZone: null,
  mode: null,
  max: null,
  ...given,
})
const at = (text: string) => Date.parse(text)
/** The next refills after an instant, one after the other. */
function listRefills(given: Partial<Refill>, from: string, count: number): string[] {
  const refills: string[] = []
  for (let after = at(from); refills.length < count; ) {
    const next = nextRefill(refillOf(given), after)
    refills.push(next.toISOString().replace(':00.000Z', 'Z'))
    after = next.getTime()
  }
  return refills
}

describe('the next refills', () => {
  test.each<[string, Partial<Refill>, string, string[]]>([
    [
      'daily in Berlin, into summer time: that night has no 02:00',
      { hour: 2, timeZone: 'Europe/Berlin' },
      '2027-03-27T12:00:00Z',
      ['2027-03-28T01:00Z', '2027-03-29T00:00Z'],
    ],
    [
      'daily in Berlin, out of summer time: the first 02:00 counts, and no other',
      { hour: 2, timeZone: 'Europe/Berlin' },
      '2027-10-30T12:00:00Z',
      ['2027-10-31T00:00Z', '2027-11-01T01:00Z'],
    ],
    [
      'daily at midnight in Berlin: a day of 23 hours, a day of 25',
      { timeZone: 'Europe/Berlin' },
      '2027-03-27T12:00:00Z',
      ['2027-03-27T23:00Z', '2027-03-28T22:00Z', '2027-03-29T22:00Z'],
    ],
    [
      'daily in New York, into summer time',
      { hour: 2, timeZone: 'America/New_York' },
      '2027-03-13T12:00:00Z',
      ['2027-03-14T07:00Z', '2027-03-15T06:00Z'],
    ],
    [
      'daily in New York, out of summer time',
      { hour: 1, timeZone: 'America/New_York' },
      '2027-11-06T12:00:00Z',
      ['2027-11-07T05:00Z', '2027-11-08T06:00Z'],
    ],
    [
      'daily on Lord Howe, whose summer time is half an hour: into it',
      { hour: 2, timeZone: 'Australia/Lord_Howe' },
      '2027-10-02T00:00:00Z',
      ['2027-10-02T15:30Z', '2027-10-03T15:00Z'],
    ],
    [
      'daily on Lord Howe, out of summer time',
      { hour: 2, timeZone: 'Australia/Lord_Howe' },
      '2027-04-03T00:00:00Z',
      ['2027-04-03T15:30Z', '2027-04-04T15:30Z'],
    ],
    [
      'daily in Kathmandu, three quarters of an hour beside the others',
      { hour: 6, timeZone: 'Asia/Kathmandu' },
      '2027-01-01T00:14:59Z',
      ['2027-01-01T00:15Z', '2027-01-02T00:15Z'],
    ],
    [
      'daily in Troll, whose clock leaves out two hours: the first moment after them',
      { hour: 2, timeZone: 'Antarctica/Troll' },
      '2027-03-27T12:00:00Z',
      ['2027-03-28T01:00Z', '2027-03-29T00:00Z'],
    ],
    [
      'daily in Apia, which left a whole day out',
      { hour: 5, timeZone: 'Pacific/Apia' },
      '2011-12-29T00:00:00Z',
      ['2011-12-29T15:00Z', '2011-12-30T10:00Z', '2011-12-30T15:00Z'],
    ],
    [
      'weekly on Mondays',
      { interval: 'weekly' },
      '2027-02-26T00:00:00Z',
      ['2027-03-01T00:00Z', '2027-03-08T00:00Z'],
    ],
    [
      'weekly on Sundays in Berlin, through both switches',
      { interval: 'weekly', day: 7, hour: 3, timeZone: 'Europe/Berlin' },
      '2027-03-21T12:00:00Z',
      ['2027-03-28T01:00Z', '2027-04-04T01:00Z'],
    ],
    [
      'weekly on the very day, before and after the hour',
      { interval: 'weekly', day: 3, hour: 12 },
      '2027-02-24T11:59:59Z',
      ['2027-02-24T12:00Z', '2027-03-03T12:00Z'],
    ],
    [
      'monthly on the 31st: the last day of each shorter month, and never twice in one',
      { interval: 'monthly', day: 31 },
      '2027-01-01T00:00:00Z',
      [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].map(
        (day, month) => `2027-${String(month + 1).padStart(2, '0')}-${day}T00:00Z`,
      ),
    ],
    [
      'monthly on the 29th, in a leap year and in others',
      { interval: 'monthly', day: 29 },
      '2027-02-01T00:00:00Z',
      ['2027-02-28T00:00Z', '2027-03-29T00:00Z'],
    ],
    [
      'monthly on the 30th, with a 29 February',
      { interval: 'monthly', day: 30 },
      '2028-02-01T00:00:00Z',
      ['2028-02-29T00:00Z', '2028-03-30T00:00Z'],
    ],
    ['daily over a 29 February', {}, '2028-02-28T12:00:00Z', ['2028-02-29T00:00Z', '2028-03-01T00:00Z']],
    [
      'monthly over the turn of a year, by the date of the zone',
      { interval: 'monthly', timeZone: 'America/New_York' },
      '2027-01-01T03:00:00Z',
      ['2027-01-01T05:00Z', '2027-02-01T05:00Z'],
    ],
  ])('%s', (_, given, from, expected) => {
    expect(listRefills(given, from, expected.length)).toEqual(expected)
  })

  test('are later than the instant from which they are asked, also at the refill itself', () => {
    const refill = refillOf({ hour: 2, timeZone: 'Europe/Berlin' })
    const first = at('2027-10-31T00:00:00Z')
    expect(nextRefill(refill, first - 1).getTime()).toBe(first)
    expect(nextRefill(refill, first).getTime()).toBe(at('2027-11-01T01:00:00Z'))
  })

  test('come once an interval, in every zone, over ten years', () => {
    for (const timeZone of ['UTC', 'Europe/Berlin', 'America/St_Johns', 'Australia/Lord_Howe', 'Asia/Gaza'])
      for (const [interval, each] of [
        ['daily', 3652],
        ['weekly', 522],
        ['monthly', 120],
      ] as const) {
        const refill = refillOf({ interval, hour: 0, timeZone })
        const credits: Credits = {
          remaining: 0,
          refill: { ...refill, amount: 1, mode: 'add', max: 10_000 },
          refillsAt: nextRefill(refill, at('2020-01-15T12:00:00Z')),
        }
        const due = findDueRefill(credits, at('2030-01-14T12:00:00Z'))
        expect(Math.abs((due?.added ?? 0) - each)).toBeLessThanOrEqual(1)
      }
  })
})

describe('after several missed intervals', () => {
  const creditsOf = (given: Partial<Refill>, remaining: number): Credits => ({
    remaining,
    refill: refillOf(given),
    refillsAt: new Date('2027-03-25T23:00:00Z'),
  })
  const zone = { timeZone: 'Europe/Berlin' } as const
  const later = at('2027-03-28T22:00:00Z')

  test.each<[string, Partial<Refill>, number, number]>([
    ['set fills up once', zone, 3, 10],
    ['set lowers nothing', zone, 25, 25],
    ['add adds for each: 26, 27, 28 March, and the day after the switch', { ...zone, mode: 'add' }, 3, 43],
    ['add stops at ten times the amount', { ...zone, mode: 'add' }, 95, 100],
    ['add stops at max', { ...zone, mode: 'add', max: 20 }, 3, 20],
    ['add lowers nothing that is above max', { ...zone, mode: 'add', max: 20 }, 21, 21],
  ])('%s', (_, given, remaining, expected) => {
    const credits = creditsOf(given, remaining)
    const after = creditsAt(credits, later)
    expect(after.remaining).toBe(expected)
    expect(after.refillsAt?.toISOString()).toBe('2027-03-29T22:00:00.000Z')
    // Once: what is refilled is not due again.
    expect(findDueRefill(after, later)).toBeNull()
    expect(findDueRefill(credits, at('2027-03-25T22:59:59.999Z'))).toBeNull()
  })

  test('a hundred years of them take no longer than one, and keep to max', () => {
    const credits = {
      ...creditsOf({ ...zone, mode: 'add', max: 1_000_000_000_000 }, 0),
      refillsAt: new Date(0),
    }
    const now = at('2070-01-01T00:00:00Z')
    // The one that was due, and one for each midnight since.
    expect(creditsAt(credits, now).remaining).toBe(10 * (1 + 36_525))
  })
})

describe('a refill that a clock far ahead has stored', () => {
  const now = at('2027-03-10T12:00:00Z')
  test.each<[Partial<Refill>, string, boolean]>([
    [{}, '2027-03-11T12:00:00Z', false],
    [{}, '2027-03-11T13:00:00Z', true],
    [{ interval: 'weekly' }, '2027-03-17T12:00:00Z', false],
    [{ interval: 'weekly' }, '2027-03-17T13:00:00Z', true],
    [{ interval: 'monthly' }, '2027-04-10T12:00:00Z', false],
    [{ interval: 'monthly' }, '2037-04-11T13:00:00Z', true],
  ])('%p at %s is due: %p', (given, refillsAt, isDue) => {
    const credits = { remaining: 0, refill: refillOf(given), refillsAt: new Date(refillsAt) }
    expect(findDueRefill(credits, now) !== null).toBe(isDue)
    expect(creditsAt(credits, now).remaining).toBe(isDue ? 10 : 0)
  })

  test('adds one amount only, and a day of 25 hours is not taken for one', () => {
    const berlin = refillOf({ timeZone: 'Europe/Berlin', mode: 'add' })
    const stored = { remaining: 0, refill: berlin, refillsAt: new Date('2037-01-01T00:00:00Z') }
    expect(creditsAt(stored, now).remaining).toBe(10)
    const longDay = at('2027-10-30T22:00:01Z')
    const next = { remaining: 0, refill: berlin, refillsAt: nextRefill(berlin, longDay) }
    expect(next.refillsAt.getTime() - longDay).toBeGreaterThan(24 * 3_600_000)
    expect(findDueRefill(next, longDay)).toBeNull()
  })
})

test('the time to wait for a cost is that of the refill which brings enough', () => {
  const refillsAt = new Date('2027-03-11T00:00:00Z')
  const waits = (given: Partial<Refill>, cost: number, remaining = 0) =>
    timeToCover({ remaining, refill: refillOf(given), refillsAt }, cost)
      ?.toISOString()
      .slice(0, 10)
  expect(waits({}, 10)).toBe('2027-03-11')
  expect(waits({}, 11)).toBeUndefined()
  expect(waits({ mode: 'add' }, 10)).toBe('2027-03-11')
  expect(waits({ mode: 'add' }, 11)).toBe('2027-03-12')
  expect(waits({ mode: 'add' }, 100)).toBe('2027-03-20')
  expect(waits({ mode: 'add' }, 100, 5)).toBe('2027-03-20')
  expect(waits({ mode: 'add' }, 101)).toBeUndefined()
  expect(timeToCover({ remaining: 0, refill: null, refillsAt: null }, 1)).toBeNull()
})
