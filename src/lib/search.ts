import { failField } from './errors.ts'
import { MAX_PAGE, type PageQuery } from './page.ts'

const MIN_LENGTH = 2
const MAX_LENGTH = 100
const MAX_WORDS = 5

/** What a list is searched for. */
export type Search = {
  /** As it was typed, in NFKC. */
  typed: string
  /** The same in lower case. */
  text: string
  /** Its first words as a query of PostgreSQL's text search: each is the beginning of a word. null: it has none. */
  words: string | null
  /** The most rows that are answered. */
  limit: number
}

/**
 * Reads a search, which has one page of at most MAX_PAGE rows.
 * @throws Problem validation_failed for a text that is too short or too long, and for another page
 */
export function readSearch(query: string, { limit = MAX_PAGE, cursor }: PageQuery): Search {
  if (cursor !== undefined) failField('?cursor', 'A search has no second page: refine `query`')
  if (limit > MAX_PAGE) failField('?limit', `Must be at most ${MAX_PAGE} with query`)
  // Before the text is normalised, which takes time that grows with the square of its length.
  if (query.length > 4 * MAX_LENGTH)
    failField('?query', `Must have ${MIN_LENGTH} to ${MAX_LENGTH} characters`)
  const typed = query.normalize('NFKC')
  const { length } = [...typed]
  if (length < MIN_LENGTH || length > MAX_LENGTH)
    failField('?query', `Must have ${MIN_LENGTH} to ${MAX_LENGTH} characters`)
  const text = typed.toLowerCase()
  // Letters and digits alone: a word needs no quoting.
  const words = text.split(/[^\p{L}\p{N}]+/u).filter((word) => word !== '')
  const prefixes = words.slice(0, MAX_WORDS).map((word) => `'${word}':*`)
  return { typed, text, limit, words: prefixes.length === 0 ? null : prefixes.join(' & ') }
}
