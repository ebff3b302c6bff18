/**
 * Digits and signs that people write in place of a letter. Where two letters are given, the sign may stand for either.
 */
const LOOKALIKES = new Map([
  ['0', 'o'],
  ['1', 'il'],
  ['!', 'il'],
  ['2', 'z'],
  ['3', 'e'],
  ['4', 'a'],
  ['@', 'a'],
  ['5', 's'],
  ['$', 's'],
  ['7', 't'],
  ['+', 't'],
  ['8', 'b'],
  ['9', 'g'],
])
/**
 * Indices into the letters of a look-alike: a password is read once with the first letter of each and once with the
 * last.
 */
const READINGS = [0, 1]
/** Look-alikes at each end of a word that may belong to the word. The bound keeps the number of candidates small. */
const MAX_AT_END = 3

const LETTER = /\p{L}/u
const isLetter = (character: string) => LETTER.test(character)

/**
 * The words that a password may consist of, once digits and signs around it are removed and look-alikes are read as
 * letters.
 * @param lower a password in lower case
 * @example wordsBehind('$ummer2026!').has('summer')
 */
export function wordsBehind(lower: string): Set<string> {
  const words = new Set<string>()
  const characters = [...lower]
  const first = characters.findIndex(isLetter)
  const last = characters.findLastIndex(isLetter)
  if (first === -1) return words
  const before = countLookalikes(characters.slice(0, first).reverse())
  const behind = countLookalikes(characters.slice(last + 1))
  for (let head = 0; head <= before; head++) {
    for (let tail = 0; tail <= behind; tail++) {
      const word = characters.slice(first - head, last + 1 + tail).join('')
      words.add(word)
      for (const reading of READINGS) words.add(undoLookalikes(word, reading))
    }
  }
  return words
}

/** How many characters next to a word may belong to it: look-alikes, counted from the word outwards. */
function countLookalikes(signs: readonly string[]): number {
  const end = signs.findIndex((sign) => !LOOKALIKES.has(sign))
  return Math.min(MAX_AT_END, end === -1 ? signs.length : end)
}

function undoLookalikes(text: string, reading: number): string {
  return [...text]
    .map((character) => {
      const letters = LOOKALIKES.get(character)
      return letters === undefined ? character : (letters[reading] ?? letters)
    })
    .join('')
}

/**
 * Whether every letter of a password belongs to one of some words, with or without look-alikes, in any number and
 * order.
 * @param lower a password in lower case
 * @param words in lower case, none of them empty
 */
export function isMadeOf(lower: string, words: readonly string[]): boolean {
  const isTaken = new Uint8Array(lower.length)
  // A look-alike and its letter have the same length, so an index means the same place in every reading.
  for (const text of [lower, ...READINGS.map((reading) => undoLookalikes(lower, reading))]) {
    for (const word of words) {
      for (let at = text.indexOf(word); at !== -1; at = text.indexOf(word, at + 1))
        isTaken.fill(1, at, at + word.length)
    }
  }
  const rest = lower.split('').filter((_, at) => isTaken[at] === 0)
  return rest.length < lower.length && !isLetter(rest.join(''))
}
