import type { Reply } from '../support/http-socket.ts'

/** The longest that any request may take; what the machine adds shows in the control beside it. */
const LONGEST_MS = 5000
/** How soon all is well again once the fault is over. */
const RECOVERY_MS = 5000
const MOST_VIOLATIONS = 20

/** What a fault excuses while it lasts, and for five seconds more. */
export type Excuse = {
  /** The application itself is gone: connections are refused and cut. */
  down?: boolean
  /** It is one server that is told to end: only what is asked of its health is excused. */
  draining?: string
}

/** `dark`: when nothing could be served, which /readyz has to say. */
type Trouble = Excuse & { from: number; to: number; dark: { from: number; to: number }[] }

/** What happens during a fault. While the work given to `dark` is under way, /readyz may not say that it can serve. */
export type Happening = (dark: (work: Promise<unknown>) => Promise<void>) => Promise<void>

/** What came out of one fault: the figures for the table, and whatever broke an invariant. */
export type Findings = {
  violations: readonly string[]
  requests: number
  refused: number
  unanswered: number
  longestMs: number
  /** The longest that /livez took beside it: what is the machine's, and not the fault's. */
  controlMs: number
  /** From the end of the fault to the last request that was refused; the longest of all rounds. */
  recoveryMs: number
  /** What else is worth telling. */
  notes: readonly string[]
}

/** Checkers every reply against the invariants, as it comes. */
export type Checker = {
  hear(route: string, reply: Reply): void
  hearLive(reply: Reply): void
  hearReady(reply: Reply): void
  violate(what: string): void
  note(what: string): void
  /** Whether a request met a fault. */
  isTroubled(reply: Reply): boolean
  /** Runs a fault, which is over when it resolves. */
  during(excuse: Excuse, fault: Happening): Promise<void>
  /** How long nothing has been refused. */
  quietMs(): number
  findings(): Findings
}

const isQueueFull = ({ body }: Reply) => String(body?.detail).startsWith('Too many logins')

/** Nothing is excused until a fault begins. */
export function createChecker(): Checker {
  const troubles: Trouble[] = []
  const violations = new Set<string>()
  const notes: string[] = []
  let [requests, refused, unanswered, controlMs, recoveryMs, lastRefusedAt] = [0, 0, 0, 0, 0, 0]
  let longest = { ms: 0, what: '' }

  const violate = (what: string) => {
    if (violations.size < MOST_VIOLATIONS) violations.add(what)
  }
  /** The fault that a request met, if any; the later one of two. */
  const troubleOf = (reply: Reply, isOfHealth = false): Trouble | undefined =>
    troubles.findLast(
      ({ from, to, draining }) =>
        reply.sentAt <= to + RECOVERY_MS &&
        reply.sentAt + reply.ms >= from &&
        (draining === undefined || (isOfHealth && draining === reply.url)),
    )
  const since = ({ sentAt }: Reply) => {
    const over = troubles.findLast(({ to }) => to <= sentAt)
    return over ? `, ${Math.round(sentAt - over.to)} ms after the fault` : ''
  }
  const refuse = (reply: Reply, what: string, isOfHealth = false) => {
    lastRefusedAt = performance.now()
    const trouble = troubleOf(reply, isOfHealth)
    if (!trouble || (reply.failure !== null && !trouble.down)) violate(`${what}${since(reply)}`)
    else if (!isOfHealth && reply.sentAt > trouble.to)
      recoveryMs = Math.max(recoveryMs, reply.sentAt - trouble.to)
  }

  const hear = (route: string, reply: Reply) => {
    requests++
    if (reply.ms > longest.ms) longest = { ms: reply.ms, what: `${route} → ${reply.status}` }
    if (reply.failure) {
      unanswered++
      refuse(reply, `${route}: ${reply.failure}`)
    } else if (reply.status === 503) {
      refused++
      if (!(Number(reply.headers.get('retry-after')) >= 1)) violate(`${route}: 503 without Retry-After`)
      // A machine that is busy enough may have no time to hash passwords, fault or none.
      if (!isQueueFull(reply)) refuse(reply, `${route}: 503`)
    } else if (reply.status >= 500) {
      violate(`${route}: ${reply.status}`)
    }
  }

  return {
    hear,
    violate,
    note: (what) => notes.push(what),
    isTroubled: (reply) => troubleOf(reply) !== undefined,
    hearLive(reply) {
      if (reply.status === 200) controlMs = Math.max(controlMs, reply.ms)
      else if (!(reply.failure && troubleOf(reply, true)?.down))
        violate(`/livez: ${reply.failure ?? reply.status}`)
    },
    hearReady(reply) {
      if (reply.status === 503 || reply.failure)
        return refuse(reply, `/readyz: ${reply.failure ?? 503}`, true)
      const { sentAt, ms, status, url } = reply
      const inFault = troubles
        .filter(({ draining = url }) => draining === url)
        .some(({ dark }) => dark.some(({ from, to }) => sentAt >= from && sentAt + ms <= to))
      if (status !== 200 || inFault)
        violate(`/readyz: ${status}${inFault ? ' in the midst of the fault' : ''}`)
    },
    async during(excuse, fault) {
      const trouble: Trouble = { ...excuse, from: performance.now(), to: Infinity, dark: [] }
      troubles.push(trouble)
      await fault(async (work) => {
        const time = { from: performance.now(), to: Infinity }
        trouble.dark.push(time)
        await work
        time.to = performance.now()
      })
      trouble.to = performance.now()
    },
    quietMs: () => performance.now() - lastRefusedAt,
    findings() {
      if (longest.ms > LONGEST_MS + controlMs) violate(`${longest.what} took ${Math.round(longest.ms)} ms`)
      return {
        violations: [...violations],
        requests,
        refused,
        unanswered,
        longestMs: Math.round(longest.ms),
        controlMs: Math.round(controlMs),
        recoveryMs: Math.round(recoveryMs),
        notes,
      }
    },
  }
}
