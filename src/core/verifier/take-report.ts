import { HOUR_MS, readInstant } from '../../lib/time.ts'
import { type Origin, recordEvent } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { addGathered } from '../usage/usage.ts'
import type { ReportReceipt, UsageReport } from './model.ts'
import { insertReport, upsertRegion } from './queries.ts'

/**
 * Adds the usage of a verifier to home's, once for each id. What is of deleted keys and secrets is dropped; `last_used_at`
 * moves forward only, and not beyond the clock of home.
 */
export async function takeReport(
  context: Context,
  origin: Origin,
  report: UsageReport,
): Promise<ReportReceipt> {
  const gathered = readReport(context, report)
  const now = new Date(context.clock())
  const skipped = await context.db.transaction(async (tx) => {
    if (!(await insertReport(tx, report.id, now))) return null
    if (await upsertRegion(tx, report.region, now))
      await recordEvent(tx, context, origin, {
        action: 'region.registered',
        details: { region: report.region },
      })
    return addGathered(tx, gathered)
  })
  if (skipped === null) return { applied: false }
  // A change holds these secrets: their last use is written with the next batch of this server.
  context.usage.putBack({ counts: [], lastUses: skipped, refusals: [] })
  return { applied: true }
}

/** @throws Problem validation_failed for a time that cannot be read */
function readReport({ clock, config }: Context, { counts, last_uses, refusals }: UsageReport) {
  const nowMs = clock()
  const read = (path: string, text: string) => {
    const at = readInstant(path, text)
    return new Date(Math.min(at?.getTime() ?? nowMs, nowMs))
  }
  return {
    counts: counts.map(({ key_id: keyId, hour, outcome, count }, at) => {
      const hourMs = read(`/counts/${at}/hour`, hour).getTime()
      return { keyId, hour: new Date(hourMs - (hourMs % HOUR_MS)), outcome, count }
    }),
    lastUses: last_uses.map(({ secret_id: secretId, at: text }, at) => ({
      secretId,
      at: read(`/last_uses/${at}/at`, text),
    })),
    refusals:
      config.refusalsRetentionDays === 0
        ? []
        : refusals.map(({ key_id: keyId, at: text, outcome, ip, count }, at) => ({
            keyId,
            at: read(`/refusals/${at}/at`, text),
            outcome,
            ip,
            count,
          })),
  }
}
