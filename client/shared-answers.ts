/** Answers that several requests may share: those asked for at the same time, and those that are not stale yet. */
export type SharedAnswers = {
  /**
   * The answer to a question: a known one, or else what `ask` gives.
   * @param mayKeep whether an answer also holds for the next who asks; where not, everybody asks for themselves
   */
  get<A>(question: readonly unknown[], ask: () => Promise<A>, mayKeep: (answer: A) => boolean): Promise<A>
  size(): number
}

type Moment = { wallMs: number; monotonicMs: number }
type Entry = { answer: Promise<unknown>; askedAt: Moment }

/**
 * @param staleMs how old an answer may be, counted from when it was asked for; 0: nothing is shared
 * @param maxEntries beyond, what was not used for the longest time is forgotten
 */
export function createSharedAnswers(staleMs: number, maxEntries: number): SharedAnswers {
  const entries = new Map<string, Entry>()
  const read = (id: string): Entry | null => {
    const entry = entries.get(id)
    if (!entry) return null
    entries.delete(id)
    if (ageMs(entry.askedAt) >= staleMs) return null
    entries.set(id, entry)
    return entry
  }
  const store = (id: string, entry: Entry) => {
    entries.set(id, entry)
    for (const oldest of entries.keys()) {
      if (entries.size <= maxEntries) break
      entries.delete(oldest)
    }
  }

  return {
    size: () => entries.size,
    async get<A>(question: readonly unknown[], ask: () => Promise<A>, mayKeep: (answer: A) => boolean) {
      const id = await fingerprint(question)
      const known = read(id)
      if (known) {
        const answer = (await known.answer) as A
        if (mayKeep(answer)) return answer
      }
      const entry = { askedAt: now(), answer: ask() }
      if (staleMs > 0) store(id, entry)
      try {
        return await entry.answer
      } catch (error) {
        // A failure is no answer.
        if (entries.get(id) === entry) entries.delete(id)
        throw error
      }
    },
  }
}

const now = (): Moment => ({ wallMs: Date.now(), monotonicMs: performance.now() })

/** By the clock that ran further: the monotonic one stands still while a machine sleeps, the other may be set back. */
const ageMs = (since: Moment) => Math.max(Date.now() - since.wallMs, performance.now() - since.monotonicMs)

/** SHA-256: no credential is kept. */
async function fingerprint(question: readonly unknown[]): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(question))
  return String.fromCharCode(...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
}
