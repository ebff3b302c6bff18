import { writeAuditCounts } from '../core/audit/counted-events.ts'
import type { Context } from '../core/context.ts'
import { deleteOutdated } from '../core/housekeeping/delete-outdated.ts'
import { ANNOUNCED_EVERY_MS, announceInstance } from '../core/instances/instances.ts'
import { noticeExpiringKeys } from '../core/keys/notice-expiring.ts'
import { deliverMails } from '../core/mail/deliver.ts'
import { learnStoredKinds } from '../core/passwords/stored-kinds.ts'
import { createRegionHeartbeat } from '../core/regions/heartbeat.ts'
import { lookAtSlots } from '../core/regions/slots.ts'
import { requireSettingsOfHome, warnOfDifferences } from '../core/shared-settings/shared-settings.ts'
import { rotateIfDue } from '../core/signing/signing-keys.ts'
import { sumUsageByOwner } from '../core/usage/sums.ts'
import { writeUsage } from '../core/usage/usage.ts'
import type { KnownCopy } from '../core/verifier/freshness.ts'
import type { Region } from '../core/verifier/region.ts'
import { createReporter } from '../core/verifier/send-reports.ts'
import { watchCopy } from '../core/verifier/watch-copy.ts'
import { listenForEvictions } from '../core/verify/proof-of-life.ts'
import type { OpenDatabase } from '../db/database.ts'
import { REGION_CHANNEL } from '../db/eviction.ts'
import type { Log } from '../lib/log.ts'
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../lib/time.ts'

/** Work that a server repeats in the background. */
export type Job = {
  everyMs: number
  work(): Promise<unknown>
  /** The log message when a round fails. The next round tries again. */
  failure: string
  /**
   * The first round runs at a random moment of the interval, so that servers that start together do not work
   * at the same time.
   */
  isSpread?: boolean
  /** Whether a round runs at once, before all others. */
  runsAtStart?: boolean
  /** Whether a round that runs when the server stops is completed, because it writes what must be noted. */
  finishesAtStop?: boolean
  /** Whether a last round runs when the server stops. */
  runsAtStop?: boolean
  /** Is given a function that runs a round at once: after the present one, where there is one. */
  onStart?(wake: () => void): void
}

/**
 * Starts all background work of a server. This list is complete, except for the pauses before a reconnection,
 * which are in `db/redis.ts` and `db/postgres/listen.ts`.
 * @param options.runsAtStart whether the hourly work also runs at once
 * @returns a function that stops the work, and resolves after the last rounds
 */
export async function startJobs(
  context: Context,
  database: OpenDatabase,
  { runsAtStart }: { runsAtStart: boolean },
): Promise<() => Promise<void>> {
  const isEmbedded = database.kind === 'embedded'
  const evictions = await listenForEvictions(database, context)

  const hourly = hourlyWork(context, { vacuums: isEmbedded }).map((work) => ({
    everyMs: HOUR_MS,
    isSpread: true,
    runsAtStart,
    failure: 'Housekeeping failed; it is tried again in an hour',
    work,
  }))
  const jobs: Job[] = [
    ...hourly,
    {
      everyMs: 5 * SECOND_MS,
      work: () => writeUsage(context),
      failure: 'Usage could not be written; it is kept for the next time',
      runsAtStop: true,
    },
    {
      everyMs: 5 * SECOND_MS,
      work: () => writeAuditCounts(context),
      failure: 'Audit events could not be counted; they are kept for the next time',
      runsAtStop: true,
    },
    {
      everyMs: 5 * MINUTE_MS,
      work: () => sumUsageByOwner(context),
      failure: 'Usage could not be summed up by owner; it is tried again in five minutes',
    },
    {
      everyMs: ANNOUNCED_EVERY_MS,
      work: () => announceInstance(context),
      failure: 'The row by which other servers know of this one could not be written',
    },
    {
      everyMs: 5 * MINUTE_MS,
      work: () => warnOfDifferences(context),
      failure: 'The settings of the other servers could not be read',
    },
  ]
  if (context.mail.isOn) {
    jobs.push({
      everyMs: 5 * SECOND_MS,
      work: () => deliverMails(context),
      failure: 'Mails could not be sent; they are tried again',
      finishesAtStop: true,
      onStart: context.mail.onWake,
    })
  }
  // The embedded database has one process, so evictions always reach it. A heartbeat would prove nothing, and
  // would cost a commit each second.
  if (!isEmbedded) {
    await evictions.sendHeartbeat()
    jobs.push(
      {
        everyMs: SECOND_MS,
        work: evictions.sendHeartbeat,
        failure: 'The proof of life could not be sent',
      },
      {
        everyMs: 30 * SECOND_MS,
        work: () => lookAtSlots(context),
        failure: 'The replication slots of the regions could not be read',
        runsAtStart: true,
      },
      {
        everyMs: SECOND_MS,
        work: createRegionHeartbeat(context.db),
        failure: 'The heartbeat for the regions could not be written',
        runsAtStart: true,
      },
    )
  }

  // Not awaited: the server listens while the hashes are measured (docs/decisions/0031).
  learnStoredKinds(context).catch((error) =>
    context.log.warn({ err: error }, 'The kinds of stored password hashes are not known yet'),
  )
  const stops = jobs.map((job) => startJob(job, context.log))
  return async () => {
    await Promise.all(stops.map((stop) => stop()))
    await evictions.stop()
  }
}

/** The background work of a verifier: it hears of changes, proves that it does, and reports its usage. It writes no row. */
export async function startJobsOfVerifier(
  context: Context,
  database: OpenDatabase,
  region: Region,
  readCopy?: () => Promise<KnownCopy>,
): Promise<() => Promise<void>> {
  const watch = watchCopy(context, region, readCopy)
  const evictions = await listenForEvictions(database, context, { channel: REGION_CHANNEL, ...watch })
  await watch.check()
  await evictions.sendHeartbeat()
  const jobs: Job[] = [
    {
      everyMs: SECOND_MS,
      work: evictions.sendHeartbeat,
      failure: 'The proof of life could not be sent',
    },
    {
      everyMs: SECOND_MS,
      work: watch.check,
      failure: "The state of the region's copy could not be read",
    },
    // A verifier that started before the first copy could not compare them then.
    {
      everyMs: 5 * MINUTE_MS,
      work: () => requireSettingsOfHome(context),
      failure: 'The settings of home differ from those here, or could not be read',
    },
    {
      everyMs: 5 * SECOND_MS,
      work: createReporter(context, region),
      failure: 'Usage could not be sent home; it is kept for the next time',
      runsAtStart: true,
      runsAtStop: true,
    },
  ]
  const stops = jobs.map((job) => startJob(job, context.log))
  return async () => {
    await Promise.all(stops.map((stop) => stop()))
    await evictions.stop()
  }
}

/** What runs every hour, and by `latchkey jobs run`. */
const hourlyWork = (context: Context, { vacuums }: { vacuums: boolean }): (() => Promise<unknown>)[] => [
  () => deleteOutdated(context, { vacuums }),
  () => rotateIfDue(context),
  () => noticeExpiringKeys(context),
]

/** Does now what otherwise comes within the hour, and sends the mails that are due. */
export async function runJobsNow(context: Context, database: Pick<OpenDatabase, 'kind'>): Promise<void> {
  for (const work of hourlyWork(context, { vacuums: database.kind === 'embedded' })) await work()
  if (context.mail.isOn) await deliverMails(context)
}

/**
 * Repeats a job. A round is skipped while the previous one still runs.
 * @returns a function that stops the job. It waits for a round that must be completed, and for the last round of a job
 * that has one.
 */
export function startJob(
  {
    everyMs,
    work,
    failure,
    isSpread = false,
    runsAtStart = false,
    finishesAtStop = false,
    runsAtStop = false,
    onStart,
  }: Job,
  log: Log,
): () => Promise<void> {
  let running: Promise<void> | null = null
  let isWoken = false
  let isStopped = false
  const runRound = async () => {
    do {
      isWoken = false
      await work().catch((error) => {
        // Of a round that the end does not wait for, the database is gone by then.
        if (!isStopped || finishesAtStop || runsAtStop) log.warn({ err: error }, failure)
      })
    } while (isWoken && !isStopped)
    running = null
  }
  const run = () => {
    running ??= runRound()
    return running
  }
  if (runsAtStart) run()
  let timer: Timer
  const repeat = () => {
    timer = setInterval(run, everyMs)
  }
  if (isSpread) {
    timer = setTimeout(() => {
      repeat()
      run()
    }, Math.random() * everyMs)
  } else {
    repeat()
  }
  onStart?.(() => {
    if (isStopped) return
    isWoken = true
    run()
  })
  return async () => {
    isStopped = true
    clearTimeout(timer)
    if (finishesAtStop || runsAtStop) await running
    if (runsAtStop) await run()
  }
}
