import { collectDefaultMetrics, type Metric, Registry } from 'prom-client'
import { version } from '../../package.json' with { type: 'json' }
import type { Context } from '../core/context.ts'
import type { Region } from '../core/verifier/region.ts'
import type { Histogram, RouteCounts, Tally } from '../lib/metrics.ts'

type Labels = Record<string, string>
/** One line of the text. `metricName` differs from the name of the family for a bucket, a sum and a count. */
type Sample = { labels: Labels; value: number; metricName?: string }
type Family = { name: string; type: 'counter' | 'gauge' | 'histogram'; help: string; read(): Sample[] }

/**
 * The metrics of the service in the text format of Prometheus. Nothing is kept here: each scrape reads the counters where
 * they are (docs/decisions/0022).
 */
export function createExposition(context: Context): Registry {
  const registry = new Registry()
  for (const { name, type, help, read } of families(context)) {
    // A registry of prom-client uses these members of a metric and no others.
    const metric = { name, type, help, get: async () => ({ name, type, help, values: read() }) }
    registry.registerMetric(metric as unknown as Metric)
  }
  const ofProcess = new Registry()
  collectDefaultMetrics({ register: ofProcess, eventLoopMonitoringPrecision: LOOP_SAMPLED_EVERY_MS })
  for (const name of OF_PROCESS) {
    const metric = ofProcess.getSingleMetric(name)
    if (metric) registry.registerMetric(metric)
  }
  return registry
}

/** Each sample wakes the process. At prom-client's usual 10 ms that costs one percent of a core. */
const LOOP_SAMPLED_EVERY_MS = 50

/**
 * The metrics of prom-client's own that mean something under Bun. Its metrics of V8's heap spaces are left out: Bun has
 * nothing but zeros for them, and reading them blocks the event loop for 5 ms.
 */
const OF_PROCESS = [
  'process_cpu_user_seconds_total',
  'process_cpu_system_seconds_total',
  'process_cpu_seconds_total',
  'process_start_time_seconds',
  'process_resident_memory_bytes',
  'process_open_fds',
  'process_max_fds',
  'nodejs_eventloop_lag_seconds',
  'nodejs_eventloop_lag_p50_seconds',
  'nodejs_eventloop_lag_p99_seconds',
  'nodejs_eventloop_lag_max_seconds',
]

function families(context: Context): Family[] {
  const { cache, metrics, passwords, region, shared } = context
  const pool = metrics.readPool
  const always = [
    gauge('build_info', 'The version that runs; always 1.', () => [{ labels: { version }, value: 1 }]),

    counter('requests_total', 'Requests answered, by pattern of the route.', () =>
      metrics.requests.all().flatMap(statusesOf),
    ),
    histogram('request_duration_seconds', 'From the request to its answer.', () =>
      metrics.requests
        .all()
        .map(({ route, method, duration }) => ({ labels: { route, method }, histogram: duration })),
    ),
    counter('rate_limited_total', 'Requests refused by the rate limits per client address.', () =>
      samplesOf('policy', metrics.rateLimited),
    ),

    counter(
      'verifications_total',
      'Verifications of credentials, by result, wherever a credential is checked.',
      () => samplesOf('code', metrics.verifications),
    ),
    counter('key_uses_total', 'Uses of known keys, everywhere but at introspection.', () =>
      samplesOf('code', metrics.keyUses),
    ),
    counter('password_checks_total', 'Passwords checked: logins, password grants, changes.', () =>
      samplesOf('outcome', metrics.passwordChecks),
    ),
    counter(
      'second_factors_total',
      'Second factors presented; "locked": not checked, "suspended": a passkey that was copied.',
      () => samplesOf('outcome', metrics.secondFactors),
    ),
    counter('refreshes_total', 'Refresh tokens presented; "reused" ended a session as stolen.', () =>
      samplesOf('outcome', metrics.refreshes),
    ),

    counter(
      'cache_reads_total',
      'Look-ups of credentials; "bypass": not read from the cache, without proof of life.',
      () => samplesOf('result', metrics.cacheReads),
    ),
    gauge('cache_entries', 'Credentials in the cache.', () => one(cache.size())),
    gauge(
      'cache_bypassed',
      '1 while the cache is not read, because nothing proves that evictions arrive.',
      () => one(cache.isLive() ? 0 : 1),
    ),
    counter('evictions_heard_total', 'Messages heard from the database.', () =>
      samplesOf('kind', metrics.evictions),
    ),
    histogram('eviction_lag_seconds', 'From NOTIFY to its echo, each second.', () => [
      { labels: {}, histogram: metrics.evictionLag },
    ]),

    gauge('password_hashes_running', 'Passwords being hashed.', () => one(passwords.load().running)),
    gauge('password_hashes_waiting', 'Passwords that wait to be hashed.', () =>
      one(passwords.load().waiting),
    ),
    gauge('password_hashes_waiting_limit', 'Passwords that may wait to be hashed.', () =>
      one(passwords.load().limit),
    ),
    counter('password_hashes_refused_total', 'Passwords refused with 503, because too many waited.', () =>
      one(passwords.load().turnedAway),
    ),

    gauge('pool_size', 'Connections to the database, at most.', () => one(pool().size)),
    gauge('pool_in_use', 'Connections to the database in use.', () => one(pool().inUse)),
    gauge('pool_waiting', 'Queries that wait for a connection.', () => one(pool().waiting)),
    counter('pool_refused_total', 'Queries refused: they waited too long, or too many waited.', () =>
      samplesOf('reason', { timeout: pool().timedOut, full: pool().turnedAway }),
    ),

    counter(
      'usage_rows_total',
      'Counts of uses, written in batches; "dropped": not written, because memory was full.',
      () => samplesOf('outcome', metrics.usageRows),
    ),
    counter(
      'refusals_dropped_total',
      'Refusals of keys that are counted and not kept one by one, because there were too many at once.',
      () => one(metrics.refusals.dropped),
    ),
  ]
  return [
    ...always,
    ...(context.mail.isOn ? ofMail(context) : []),
    ...(shared === null ? [] : ofRedis(shared)),
    ...(region === null ? ofSlots(context) : ofRegion(context, region)),
  ]
}

const ofMail = ({ metrics }: Context): Family[] => [
  counter(
    'mails_total',
    'Tries to send a mail; "delayed": it is tried again; "failed": it was given up.',
    () =>
      Object.entries(metrics.mails).flatMap(([kind, tally]) =>
        Object.entries(tally).map(([outcome, value]) => ({ labels: { kind, outcome }, value })),
      ),
  ),
  gauge('mails_waiting', 'Mails of all instances that are not sent yet.', () => one(metrics.mailsWaiting)),
]

/** What home knows of its regions. */
const ofSlots = ({ metrics }: Context): Family[] => [
  gauge('region_slot_bytes_behind', 'Changes that a region has not confirmed, by its replication slot.', () =>
    metrics.slots.map(({ slot, bytesBehind }) => ({ labels: { slot }, value: bytesBehind })),
  ),
  gauge(
    'region_slot_wal_status',
    '1 for what PostgreSQL says of the slot; "lost": the region needs a new copy.',
    () => metrics.slots.map(({ slot, walStatus }) => ({ labels: { slot, wal_status: walStatus }, value: 1 })),
  ),
]

/** What a verifier says of itself. */
const ofRegion = ({ metrics, usage }: Context, { freshness }: Region): Family[] => [
  gauge(
    'region_proof_age_seconds',
    'Age of the last heartbeat of home that arrived; infinite: none did, or changes may be missing.',
    () => one(freshness.describe().ageSeconds),
  ),
  gauge('region_tables_uncopied', 'Tables of home that are not copied yet.', () =>
    one(freshness.describe().uncopied),
  ),
  counter(
    'region_stale_refusals_total',
    'Questions refused, because the copy was not proved to be recent.',
    () => one(metrics.staleRefusals.questions),
  ),
  counter(
    'region_questions_total',
    'Questions asked at home; "failed": home was away, late, or refused.',
    () => samplesOf('outcome', metrics.homeQuestions),
  ),
  gauge('region_counts_waiting', 'Counts of uses that are not reported home yet.', () => one(usage.size())),
]

function ofRedis(shared: NonNullable<Context['shared']>): Family[] {
  return [
    gauge('redis_broken', '1 while Redis is not asked, and each instance counts limits by itself.', () =>
      one(shared.state().isBroken ? 1 : 0),
    ),
    counter(
      'redis_fallbacks_total',
      'Limits counted by this instance alone, because Redis did not answer.',
      () => one(shared.state().fallbacks),
    ),
    counter('redis_errors_total', 'Commands that Redis answered with an error: a fault, not an outage.', () =>
      one(shared.state().errors),
    ),
  ]
}

const gauge = (name: string, help: string, read: () => Sample[]): Family => ({
  name: `latchkey_${name}`,
  type: 'gauge',
  help,
  read,
})

const counter = (name: string, help: string, read: () => Sample[]): Family => ({
  name: `latchkey_${name}`,
  type: 'counter',
  help,
  read,
})

const histogram = (
  name: string,
  help: string,
  read: () => { labels: Labels; histogram: Histogram }[],
): Family => ({
  name: `latchkey_${name}`,
  type: 'histogram',
  help,
  read: () => read().flatMap((each) => bucketsOf(`latchkey_${name}`, each.labels, each.histogram)),
})

const one = (value: number): Sample[] => [{ labels: {}, value }]

function samplesOf(label: string, tally: Tally<string>): Sample[] {
  return Object.entries(tally).map(([name, value]) => ({ labels: { [label]: name }, value }))
}

function statusesOf({ route, method, byStatus }: RouteCounts): Sample[] {
  const samples: Sample[] = []
  byStatus.forEach((value, status) => {
    if (value > 0) samples.push({ labels: { route, method, status: String(status) }, value })
  })
  return samples
}

/** The lines of a histogram. A bucket of Prometheus includes all smaller buckets. */
function bucketsOf(name: string, labels: Labels, { boundsSeconds, counts, sumSeconds }: Histogram): Sample[] {
  let total = 0
  const buckets = [...counts].map((count, at) => {
    total += count
    const le = String(boundsSeconds[at] ?? '+Inf')
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: total }
  })
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sumSeconds },
    { metricName: `${name}_count`, labels, value: total },
  ]
}
