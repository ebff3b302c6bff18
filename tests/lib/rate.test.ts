import { expect, test } from 'bun:test'
import { isRateWithin, type Rate } from '../../src/lib/rate.ts'

const rate = (limit: number, windowSeconds: number): Rate => ({ limit, windowSeconds })

test.each<[string, Rate | null, Rate | null, boolean]>([
  ['none instead of none', null, null, true],
  ['one instead of none', rate(1_000_000_000, 1), null, true],
  ['none instead of one', null, rate(1, 2_592_000), false],
  ['the same', rate(600, 60), rate(600, 60), true],
  ['fewer in the same window', rate(599, 60), rate(600, 60), true],
  ['more in the same window', rate(601, 60), rate(600, 60), false],
  ['5 in 1 s instead of 600 in 60 s', rate(5, 1), rate(600, 60), true],
  ['9 in 1 s, 61 times', rate(9, 1), rate(600, 60), true],
  ['10 in 1 s, 61 times', rate(10, 1), rate(600, 60), false],
  ['a window that does not divide the old one', rate(100, 25), rate(400, 60), true],
  ['the same, by one too many', rate(100, 25), rate(399, 60), false],
  ['as many in a window of a second less', rate(600, 59), rate(600, 60), false],
  ['more in a longer window', rate(601, 3600), rate(600, 60), false],
  ['as many in a longer window', rate(600, 3600), rate(600, 60), true],
  ['the largest numbers', rate(1_000_000_000, 1), rate(1_000_000_000, 2_592_000), false],
])('whether a rate limit lies within another: %s', (_, after, before, isWithin) => {
  expect(isRateWithin(after, before)).toBe(isWithin)
})
