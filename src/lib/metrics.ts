import { CREDENTIAL_CODES, USE_CODES } from './outcomes.ts'

/**
 * Plain counters, which cost a request some nanoseconds; `http/exposition.ts` turns them into Prometheus's text when
 * somebody asks. What may be counted is written down here: no label ever takes a value from a request.
 */

/** How often each of a fixed set of things happened since the start. */
export type Tally<Name extends string> = Record<Name, number>

/** How long things took: `counts` by bucket, the last one for what is beyond every bound. */
export type Histogram = { boundsSeconds: readonly number[]; counts: Float64Array; sumSeconds: number }

/** What became of the requests of one method at one route. */
export type RouteCounts = { route: string; method: string; byStatus: Float64Array; duration: Histogram }

/** Requests by route, method and status. */
export type RequestCounts = {
  /** @param route the pattern of the route; null: none took it */
  count(route: string | null, method: string, status: number, durationMs: number): void
  all(): RouteCounts[]
}

/** Connections to the database, and who waits for one. */
export type PoolLoad = { size: number; inUse: number; waiting: number; timedOut: number; turnedAway: number }

/** Everything that a running service counts. */
export type Metrics = ReturnType<typeof createMetrics>

/** @param readPool what the database's connections are doing */
export function createMetrics(readPool: () => PoolLoad) {
  return {
    readPool,
    requests: createRequestCounts(),
    verifications: tally(...CREDENTIAL_CODES),
    keyUses: tally(...USE_CODES),
    cacheReads: tally('hit', 'miss', 'bypass'),
    /** What was heard of the database; `gap`: the line was cut, and everything was forgotten. */
    evictions: tally('user', 'service_account', 'key', 'session', 'signing_key', 'token', 'flush', 'gap'),
    /** From the sending of a beat to its echo. */
    evictionLag: createHistogram(LAG_BOUNDS_SECONDS),
    passwordChecks: tally('right', 'wrong', 'throttled'),
    /** Codes and passkeys; `locked`: refused unchecked; `suspended`: a passkey whose sign count went back. */
    secondFactors: tally('right', 'wrong', 'locked', 'suspended'),
    /** `repeated`: within the grace; `restored`: ahead of the database; `reused`: theft; `refused`: none or over. */
    refreshes: tally('rotated', 'repeated', 'restored', 'reused', 'refused'),
    /** Refusals by the limits per client address. */
    rateLimited: tally(
      'signup',
      'login',
      'refresh',
      'password',
      'mail',
      'create_key',
      'unknown_credential',
      'other',
    ),
    usageRows: tally('written', 'dropped'),
  }
}

const LATENCY_BOUNDS_SECONDS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 2.5, 5]
const LAG_BOUNDS_SECONDS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3]

/** The routes' label of what none took. */
const UNMATCHED = 'unmatched'
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
const OTHER_METHOD = 'other'
/** Statuses are below it. */
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

/** Adds one duration. */
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
