import type { Reply } from '../support/http-socket.ts'

/** The longest that a request may take. The control shows how much of that the machine itself adds. */
const LONGEST_MS = 5000
/** How soon all requests must succeed again after the fault; the machine may add what the control shows. */
const RECOVERY_MS = 5000
const MOST_VIOLATIONS = 20

/** What a fault excuses while it lasts, and for five seconds more. */
export type Excuse = {
  /** The process itself is gone: connections are refused and cut. */
  down?: boolean
  /** One server is told to end. Only its health checks are excused. */
  draining?: string
}

/** `dark`: the times at which the service could not serve, so that /readyz has to say so. */
type Trouble = Excuse & { from: number; to: number; dark: { from: number; to: number }[] }

/** What happens during a fault. While the work given to `dark` runs, /readyz must not claim to be ready. */
export type Happening = (dark: (work: Promise<unknown>) => Promise<void>) => Promise<void>

/** The result of one fault: the figures of the table, and everything that broke an invariant. */
export type Findings = {
  violations: readonly string[]
  /**
   * What took too long, or was refused while no fault explains it. A stall of the machine may also be the
   * cause: the same finding in a second run is a defect.
   */
  delays: readonly string[]
  requests: number
  refused: number
  unanswered: number
  longestMs: number
  /**
   * The longest time of a /livez request during the fault. It comes from the machine and not from the fault.
   */
  controlMs: number
  /** The time from the end of the fault to the last refused request; the longest of all rounds. */
  recoveryMs: number
  /** Further notes for the report. */
  notes: readonly string[]
}

/** Checks every reply against the invariants as it arrives. */
export type Checker = {
  hear(route: string, reply: Reply): void
  hearLive(reply: Reply): void
  hearReady(reply: Reply): void
  violate(what: string): void
  delay(what: string): void
  note(what: string): void
  /** Whether a fault was in progress during the request. */
  isTroubled(reply: Reply): boolean
  /** Runs a fault, which has ended when it resolves. */
  during(excuse: Excuse, fault: Happening): Promise<void>
  /** The time since the last refusal, in milliseconds. */
  quietMs(): number
  findings(): Findings
}

const isQueueFull = ({ body }: Reply) => String(body?.detail).startsWith('Too many logins')

/** Creates a checker. No reply is excused until a fault begins. */
export function createChecker(): Checker {
  const troubles: Trouble[] = []
  const violations = new Set<string>()
  const delays = new Set<string>()
  const notes: string[] = []
  let [requests, refused, unanswered, controlMs, recoveryMs, lastRefusedAt] = [0, 0, 0, 0, 0, 0]
  let longest = { ms: 0, what: '' }

  const violate = (what: string) => {
    if (violations.size < MOST_VIOLATIONS) violations.add(what)
  }
  const delay = (what: string) => {
    if (delays.size < MOST_VIOLATIONS) delays.add(what)
  }
  /** The fault during the request, if any; of two faults the later one. */
  const troubleOf = (reply: Reply, isOfHealth = false): Trouble | undefined =>
    troubles.findLast(
      ({ from, to, draining }) =>
        reply.sentAt <= to + RECOVERY_MS + controlMs &&
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
    const isCut = reply.failure !== null && reply.failure !== 'late'
    if (isCut && !trouble?.down) violate(`${what}${since(reply)}`)
    else if (!trouble || (reply.failure === 'late' && !trouble.down)) delay(`${what}${since(reply)}`)
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
      // A busy machine may have no time to hash passwords, with or without a fault.
      if (!isQueueFull(reply)) refuse(reply, `${route}: 503`)
    } else if (reply.status >= 500) {
      violate(`${route}: ${reply.status}`)
    }
  }

  return {
    hear,
    violate,
    delay,
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
      if (longest.ms > LONGEST_MS + controlMs) delay(`${longest.what} took ${Math.round(longest.ms)} ms`)
      return {
        violations: [...violations],
        delays: [...delays],
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
