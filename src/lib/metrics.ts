import {
  CREDENTIAL_CODES,
  MAIL_KINDS,
  MAIL_OUTCOMES,
  type MailKind,
  type MailOutcome,
  USE_CODES,
} from './outcomes.ts'

/**
 * Counters as plain numbers: they cost a request some nanoseconds, where prom-client costs about a
 * microsecond (docs/decisions/0022). `api/exposition.ts` writes them as Prometheus text when /metrics is
 * requested. All labels are fixed in this file: a label from a request would let a client create any number
 * of series.
 */

/** How often each event of a fixed set has happened since the start. */
export type Tally<Name extends string> = Record<Name, number>

/**
 * A histogram of durations. `counts` has one number for each bucket; the last one counts durations above
 * every bound.
 */
export type Histogram = { boundsSeconds: readonly number[]; counts: Float64Array; sumSeconds: number }

/** The requests of one method at one route. */
export type RouteCounts = { route: string; method: string; byStatus: Float64Array; duration: Histogram }

/** Requests by route, method and status. */
export type RequestCounts = {
  /** @param route the route's pattern, or null if no route matched */
  count(route: string | null, method: string, status: number, durationMs: number): void
  all(): RouteCounts[]
}

/** The connections to the database, and the requests that wait for one. */
export type PoolLoad = { size: number; inUse: number; waiting: number; timedOut: number; turnedAway: number }

/** Everything that a running service counts. */
export type Metrics = ReturnType<typeof createMetrics>

/**
 * Creates all counters, at zero.
 * @param readPool returns the present state of the database connections
 */
export function createMetrics(readPool: () => PoolLoad) {
  return {
    readPool,
    requests: createRequestCounts(),
    verifications: tally(...CREDENTIAL_CODES),
    keyUses: tally(...USE_CODES),
    cacheReads: tally('hit', 'miss', 'bypass'),
    /**
     * Received eviction messages by kind. `gap`: the listening connection was lost, and the whole cache was
     * dropped.
     */
    evictions: tally(
      'user',
      'service_account',
      'key',
      'session',
      'signing_key',
      'token',
      'portal_session',
      'client',
      'resource',
      'grant',
      'new',
      'flush',
      'gap',
    ),
    /** The time from sending a heartbeat to receiving it back. */
    evictionLag: createHistogram(LAG_BOUNDS_SECONDS),
    passwordChecks: tally('right', 'wrong', 'throttled'),
    /** Codes and passkeys. `locked`: refused unchecked. `suspended`: a passkey whose sign count went back. */
    secondFactors: tally('right', 'wrong', 'locked', 'suspended'),
    /**
     * `repeated`: the previous token within the grace period. `restored`: a generation newer than the
     * database's. `reused`: taken for theft. `refused`: not a refresh token, or its session has ended.
     */
    refreshes: tally('rotated', 'repeated', 'restored', 'reused', 'refused'),
    /** Refusals by the rate limits of client addresses. */
    rateLimited: tally(
      'signup',
      'login',
      'refresh',
      'password',
      'mail',
      'authorize',
      'device_authorization',
      'device',
      'create_key',
      'register',
      'client_metadata',
      'unknown_credential',
      'other',
    ),
    usageRows: tally('written', 'dropped'),
    /** Tries to send a mail, by kind. */
    mails: Object.fromEntries(MAIL_KINDS.map((kind) => [kind, tally(...MAIL_OUTCOMES)])) as Record<
      MailKind,
      Tally<MailOutcome>
    >,
    /** Mails in the outbox, of all servers, when the job last looked. */
    mailsWaiting: 0,
    refusals: tally('dropped'),
    /** Questions of a verifier at home; `failed`: home was away, late, or refused. */
    homeQuestions: tally('answered', 'failed'),
    /** Questions that a verifier refused, because its copy was not proved to be recent. */
    staleRefusals: tally('questions'),
    /** At home: the replication slots of the regions, when the job last looked. */
    slots: [] as { slot: string; walStatus: string; bytesBehind: number }[],
  }
}

const LATENCY_BOUNDS_SECONDS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 2.5, 5]
const LAG_BOUNDS_SECONDS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3]

/** The `route` label of requests that matched no route. */
const UNMATCHED = 'unmatched'
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
const OTHER_METHOD = 'other'
/** Every HTTP status is below this number. */
const STATUSES = 600

function createRequestCounts(): RequestCounts {
  const byRoute = new Map<string, Map<string, RouteCounts>>()
  const find = (route: string, given: string): RouteCounts => {
    const method = METHODS.has(given) ? given : OTHER_METHOD
    const byMethod = byRoute.get(route) ?? new Map<string, RouteCounts>()
    byRoute.set(route, byMethod)
    const counts = byMethod.get(method) ?? {
      route,
      method,
      byStatus: new Float64Array(STATUSES),
      duration: createHistogram(LATENCY_BOUNDS_SECONDS),
    }
    byMethod.set(method, counts)
    return counts
  }
  return {
    count(pattern, method, status, durationMs) {
      const route = pattern ?? UNMATCHED
      const counts = byRoute.get(route)?.get(method) ?? find(route, method)
      counts.byStatus[status] = (counts.byStatus[status] ?? 0) + 1
      observeSeconds(counts.duration, durationMs / 1000)
    },
    all: () => [...byRoute.values()].flatMap((byMethod) => [...byMethod.values()]),
  }
}

function createHistogram(boundsSeconds: readonly number[]): Histogram {
  return { boundsSeconds, counts: new Float64Array(boundsSeconds.length + 1), sumSeconds: 0 }
}

/** Adds one duration, in seconds. */
export function observeSeconds(histogram: Histogram, seconds: number): void {
  const { boundsSeconds, counts } = histogram
  let at = 0
  while (at < boundsSeconds.length && seconds > (boundsSeconds[at] ?? 0)) at++
  counts[at] = (counts[at] ?? 0) + 1
  histogram.sumSeconds += seconds
}

function tally<const Names extends string[]>(...names: Names): Tally<Names[number]> {
  return Object.fromEntries(names.map((name) => [name, 0])) as Tally<Names[number]>
}
