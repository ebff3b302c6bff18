/** The most that all headers together, and so a text in a header, may have: Bun refuses more. */
export const LARGE = 16 * 1024
const SMALL = LARGE / 4

/** Below this time a cost has no effect, and timers and compilation distort the measurement. */
const UNFELT_MS = 4
/** The most that the cost may grow for four times the text. Linear work grows by 4, quadratic work by 16. */
const MOST_GROWTH = 8
/** Exponential work exceeds the limit at one of the first lengths, and is not tried with longer ones. */
const LENGTHS = [20, 24, 28, 64, 512]
const ENDLESS_MS = 200
const TRIES = 2
/** Several rounds, because another process may run during one of them. */
const ROUNDS = 3

type Work = (text: string) => unknown

/**
 * Finds out whether the cost of some work grows faster than its text. Times are compared with each other, so
 * the speed of the machine does not matter.
 * @param textOf a text of about `length` characters
 * @returns what is wrong, or null
 */
export function faultOfCost(work: Work, textOf: (length: number) => string): string | null {
  for (const length of LENGTHS) {
    const text = textOf(length)
    if (timeOf(work, text) < ENDLESS_MS) continue
    const ms = timeOf(work, text)
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

/** The least time of several runs: other load on the machine can only add to the time of the work. */
function leastOf(work: Work, text: string): number {
  let least = Infinity
  for (let i = 0; i < TRIES; i++) least = Math.min(least, timeOf(work, text))
  return least
}
