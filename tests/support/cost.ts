/** The most that a header, and so whatever stands in one, may have: Bun refuses more. */
export const LARGE = 16 * 1024
const SMALL = LARGE / 4

/** Below it nothing is felt, and timers and compilers weigh more than the work. */
const UNFELT_MS = 4
/** Four times the text: 4 for linear work, 16 for quadratic. */
const MOST_GROWTH = 8
/** What doubles with each character ends in the first of these lengths, and is not tried with more. */
const LENGTHS = [20, 24, 28, 64, 512]
const ENDLESS_MS = 200
const TRIES = 2
/** Something else may run in one of them. */
const ROUNDS = 3

type Work = (text: string) => unknown

/**
 * What is wrong with the cost of some work on a text that grows; null where it grows no faster than the text. Times are
 * compared with each other, so that a slow machine changes nothing.
 * @param textOf a text of about so many characters
 */
export function faultOfCost(work: Work, textOf: (length: number) => string): string | null {
  for (const length of LENGTHS) {
    const ms = timeOf(work, textOf(length))
    if (ms > ENDLESS_MS) return `${Math.round(ms)} ms for ${length} characters`
  }
  const [small, large] = [textOf(SMALL), textOf(LARGE)]
  if (timeOf(work, large) < UNFELT_MS) return null
  let fault = ''
  for (let round = 0; round < ROUNDS; round++) {
    const smallMs = leastOf(work, small)
    const largeMs = leastOf(work, large)
    if (largeMs < UNFELT_MS || largeMs < MOST_GROWTH * smallMs) return null
    fault = `${largeMs.toFixed(1)} ms for ${LARGE} characters, ${smallMs.toFixed(1)} ms for ${SMALL}`
  }
  return fault
}

function timeOf(work: Work, text: string): number {
  const start = performance.now()
  work(text)
  return performance.now() - start
}

/** Of several, the time that the work itself takes: whatever else the machine does only adds to it. */
function leastOf(work: Work, text: string): number {
  let least = Infinity
  for (let i = 0; i < TRIES; i++) least = Math.min(least, timeOf(work, text))
  return least
}
