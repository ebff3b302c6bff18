import { newId } from '../../lib/ids.ts'
import type { Context } from '../context.ts'
import type { Gathered } from '../usage/counts.ts'
import { MAX_REPORTED, type UsageReport } from './model.ts'
import type { Region } from './region.ts'

type ReportContext = Pick<Context, 'config' | 'usage' | 'metrics'>

/** The first report comes at once, also without a use: home registers the region by it. */
type Waiting = { report: UsageReport | null; hasReported: boolean }

/**
 * Makes the job that sends usage home. A report that home did not take stays as it is, with its id: home may have applied it
 * although the answer was lost. What comes meanwhile is gathered behind it.
 * Without HOME_KEY uses are forgotten.
 */
export function createReporter(
  { config, usage, metrics }: ReportContext,
  { home }: Pick<Region, 'home'>,
): () => Promise<void> {
  const { regionName } = config
  const waiting: Waiting = { report: null, hasReported: false }

  return async () => {
    if (regionName === null || config.homeKey === null) {
      usage.take()
      return
    }
    for (;;) {
      waiting.report ??= takeReport(usage, regionName, waiting.hasReported)
      const { report } = waiting
      if (report === null) return
      await home.report(report)
      waiting.report = null
      waiting.hasReported = true
      usage.hold(0)
      metrics.usageRows.written += report.counts.length + report.last_uses.length
    }
  }
}

/** The next report, of what is gathered; null: nothing is, and the region is known at home. */
function takeReport(usage: Context['usage'], region: string, hasReported: boolean): UsageReport | null {
  const all = usage.take()
  const counts = all.counts.slice(0, MAX_REPORTED.counts)
  const lastUses = all.lastUses.slice(0, MAX_REPORTED.last_uses)
  const refusals = all.refusals.slice(0, MAX_REPORTED.refusals)
  const rest: Gathered = {
    counts: all.counts.slice(counts.length),
    lastUses: all.lastUses.slice(lastUses.length),
    refusals: all.refusals.slice(refusals.length),
  }
  usage.putBack(rest)
  usage.hold(counts.length)
  if (hasReported && counts.length + lastUses.length + refusals.length === 0) return null
  return {
    id: newId(),
    region,
    counts: counts.map(({ keyId, hour, outcome, count }) => ({
      key_id: keyId,
      hour: hour.toISOString(),
      outcome: outcome as UsageReport['counts'][number]['outcome'],
      count,
    })),
    last_uses: lastUses.map(({ secretId, at }) => ({ secret_id: secretId, at: at.toISOString() })),
    refusals: refusals.map(({ keyId, at, outcome, ip, count }) => ({
      key_id: keyId,
      at: at.toISOString(),
      outcome,
      ip,
      count,
    })),
  }
}
