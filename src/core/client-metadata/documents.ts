import { type Clock, MINUTE_MS } from '../../lib/time.ts'
import { FETCH_MS, type Fetched, fetchDocument, INTERNET, type Network } from './fetch-document.ts'

/** A document, or a sentence that says why it is missing. */
export type Found = { json: unknown } | { fault: string }

/** The documents of strangers that this process fetches. */
export type Documents = {
  /** What is known of a URL without asking its host; null: nothing, or no longer. */
  recall(url: URL): Found | null
  /** What is known of a URL, or else what its host answers now. */
  read(url: URL): Promise<Found>
}

/** A failure is remembered for this long, so that a host that is away is not asked for each visit. */
const FAILURE_LASTS_MS = MINUTE_MS
/** Of 5 KB each. Beyond that the one that was fetched first goes. */
const MAX_DOCUMENTS = 1000
/** Fetches at once in this process. */
const MAX_FETCHES = 4
/** Fetches that wait for one of those to end. */
const MAX_WAITING = 32

const BUSY = { fault: 'Too many apps are looked up at this moment; try again shortly.' }

/** Fetches documents, four at once and one at once for a URL, and keeps them as their hosts allow. */
export function createDocuments({ clock }: { clock: Clock }, network: Network = INTERNET): Documents {
  const kept = new Map<string, { found: Found; untilMs: number }>()
  const underWay = new Map<string, Promise<Found>>()
  const waiting: (() => void)[] = []
  let fetches = 0

  const recall = ({ href }: URL): Found | null => {
    const known = kept.get(href)
    return known && clock() < known.untilMs ? known.found : null
  }
  const keep = ({ href }: URL, fetched: Fetched): Found => {
    const isGood = 'json' in fetched
    const found = isGood ? { json: fetched.json } : fetched
    kept.delete(href)
    const [oldest] = kept.size >= MAX_DOCUMENTS ? kept.keys() : []
    if (oldest !== undefined) kept.delete(oldest)
    kept.set(href, { found, untilMs: clock() + (isGood ? fetched.freshForMs : FAILURE_LASTS_MS) })
    return found
  }
  /** false: no fetch ended in the time in which this one would have had to. */
  const takeTurn = async (): Promise<boolean> => {
    if (fetches < MAX_FETCHES) {
      fetches += 1
      return true
    }
    if (waiting.length >= MAX_WAITING) return false
    const { promise, resolve } = Promise.withResolvers<boolean>()
    // The turn of the fetch that ended: `fetches` stays as it is.
    const enter = () => resolve(true)
    waiting.push(enter)
    const timer = setTimeout(() => {
      const at = waiting.indexOf(enter)
      if (at >= 0) waiting.splice(at, 1)
      resolve(false)
    }, FETCH_MS)
    return promise.finally(() => clearTimeout(timer))
  }
  const endTurn = () => {
    const next = waiting.shift()
    if (next) next()
    else fetches -= 1
  }
  const fetchNow = async (url: URL): Promise<Found> => {
    if (!(await takeTurn())) return BUSY
    try {
      return keep(url, await fetchDocument(network, url))
    } finally {
      endTurn()
    }
  }

  return {
    recall,
    async read(url) {
      const known = recall(url)
      if (known) return known
      const same = underWay.get(url.href)
      if (same) return same
      const fetching = fetchNow(url).finally(() => underWay.delete(url.href))
      underWay.set(url.href, fetching)
      return fetching
    },
  }
}
