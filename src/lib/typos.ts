/**
 * The known name for which a mistyped one was probably meant; undefined: none is close.
 * @example findClose('kyes list', ['keys list', 'users list']) // 'keys list'
 */
export function findClose(name: string, known: readonly string[]): string | undefined {
  return known.find((other) => isCloseTo(name, other))
}

/** Short names are often close to each other: HOME, which every environment has, is two letters from HOST. */
const SHORT = 6
const MAX_TYPOS = 2

/** Whether at most two letters are changed, missing, added or swapped; in a short name, at most one. */
function isCloseTo(name: string, known: string): boolean {
  const most = known.length <= SHORT ? 1 : MAX_TYPOS
  return Math.abs(name.length - known.length) <= most && typosBetween(name, known) <= most
}

/** The optimal string alignment distance (Damerau-Levenshtein without moves of moved letters). */
function typosBetween(one: string, other: string): number {
  let before: number[] = []
  let above = Array.from({ length: other.length + 1 }, (_, column) => column)
  for (let row = 1; row <= one.length; row++) {
    const present = [row]
    for (let column = 1; column <= other.length; column++) {
      const isSame = one[row - 1] === other[column - 1]
      const isSwapped = one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1]
      present[column] = Math.min(
        (above[column] ?? 0) + 1,
        (present[column - 1] ?? 0) + 1,
        (above[column - 1] ?? 0) + (isSame ? 0 : 1),
        isSwapped && row > 1 && column > 1 ? (before[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      )
    }
    before = above
    above = present
  }
  return above[other.length] ?? 0
}
