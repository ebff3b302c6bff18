import { describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { encryptTotpSecret, findStep, makeTotpSecret } from '../../src/core/second-factors/totp.ts'
import { SECOND_MS } from '../../src/lib/time.ts'
import { totpAt } from '../support/totp.ts'

const STEP_SECONDS = 30
/** The beginning of a time step. */
const BEGIN_MS = 1_800_000_000 * SECOND_MS
const keys = { totp: [new Uint8Array(randomBytes(32))] } as unknown as Parameters<typeof findStep>[0]['keys']
const secret = makeTotpSecret()
const id = Bun.randomUUIDv7()
const row = {
  id,
  secret: encryptTotpSecret({ keys }, id, secret),
  lastStep: null,
} as unknown as Parameters<typeof findStep>[1]

/** Whether the code of a clock that is so many seconds ahead is taken at a second of a step. */
const isTaken = (offSeconds: number, second: number, lastStep: number | null = null) => {
  const nowMs = BEGIN_MS + second * SECOND_MS
  const code = totpAt(secret, nowMs + offSeconds * SECOND_MS)
  return findStep({ keys, clock: () => nowMs }, { ...row, lastStep }, code) !== null
}
const seconds = Array.from({ length: STEP_SECONDS }, (_, second) => second)
const takenSeconds = (offSeconds: number) => seconds.filter((second) => isTaken(offSeconds, second)).length

describe('a code of a clock that is off', () => {
  test.each([0, 1, 15, 29, 30])('by %d seconds is taken at every moment', (off) => {
    expect([takenSeconds(-off), takenSeconds(off)]).toEqual([STEP_SECONDS, STEP_SECONDS])
  })

  test.each([
    [31, 29],
    [40, 20],
    [45, 15],
    [59, 1],
  ])('by %d seconds is taken in %d of the 30 seconds for which the app shows it', (off, taken) => {
    expect([takenSeconds(-off), takenSeconds(off)]).toEqual([taken, taken])
  })

  test.each([60, 61, 90, 3600])('by %d seconds is taken at no moment', (off) => {
    expect([takenSeconds(-off), takenSeconds(off)]).toEqual([0, 0])
  })

  test.each([40, -40])(
    'by %d seconds: where it is refused, one within the next 10 seconds is taken',
    (off) => {
      for (const second of seconds) {
        const soon = Array.from({ length: 10 }, (_, wait) => isTaken(off, second + 1 + wait))
        expect([second, isTaken(off, second) || soon.includes(true)]).toEqual([second, true])
      }
    },
  )

  test('is no second use of a step that was accepted', () => {
    const step = BEGIN_MS / SECOND_MS / STEP_SECONDS
    expect(isTaken(-40, 15, step - 2)).toBe(true)
    expect(isTaken(-40, 15, step - 1)).toBe(false)
  })
})
