/** Answers that several requests share: those that are being asked for, and those that are still fresh. */
export type SharedAnswers = {
  /**
   * The answer to a question: a fresh one, or else the result of `ask`.
   * @param mayKeep whether an answer also holds for the next request. Where it does not, each request asks for itself:
   * an answer that counted a use must not stand for a second one (docs/decisions/0013).
   */
  get<A>(question: readonly unknown[], ask: () => Promise<A>, mayKeep: (answer: A) => boolean): Promise<A>
  size(): number
}

type Moment = { wallMs: number; monotonicMs: number }
type Entry = { answer: Promise<unknown>; askedAt: Moment }

/**
 * @param staleMs the greatest age of an answer in milliseconds, counted from when it was asked for; 0: nothing is
 * shared
 * @param maxEntries bounds the memory. Beyond it, the least recently used answer is dropped.
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
        // A failure is not kept, so the next request asks again.
        if (entries.get(id) === entry) entries.delete(id)
        throw error
      }
    },
  }
}

const now = (): Moment => ({ wallMs: Date.now(), monotonicMs: performance.now() })

/**
 * The age by the clock that has advanced more. The monotonic clock stops while a machine sleeps, and the wall clock may
 * be set back; by either alone, an old answer could seem fresh.
 */
const ageMs = (since: Moment) => Math.max(Date.now() - since.wallMs, performance.now() - since.monotonicMs)

/** The SHA-256 of a question. The question holds a credential, which must not stay in memory. */
async function fingerprint(question: readonly unknown[]): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(question))
  return String.fromCharCode(...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
}
