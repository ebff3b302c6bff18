import { fail } from '../../lib/errors.ts'
import { readClientAddress } from '../../lib/ip.ts'
import { HOUR_MS, readInstant } from '../../lib/time.ts'
import type { Origin } from '../audit/audit.ts'
import { recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { Principal } from '../principal.ts'
import type { Gathered } from '../usage/counts.ts'
import { addGathered } from '../usage/usage.ts'
import type { ReportReceipt, UsageReport } from './model.ts'
import { countRegions, insertReport, upsertRegion } from './queries.ts'

/** So that HOME_KEY, once it is stolen, cannot fill the table and the audit trail with names. */
const MAX_REGIONS = 100

/**
 * Adds the usage of a verifier to home's, once for each id. What is of deleted keys and secrets is dropped; `last_used_at`
 * moves forward only, and not beyond the clock of home.
 * @throws Problem conflict where the name is new and there are too many
 */
export async function takeReport(
  context: Context,
  origin: Origin,
  caller: Principal,
  report: UsageReport,
): Promise<ReportReceipt> {
  const gathered = readReport(context, report)
  const skipped = await recordChange(context, origin, caller, [], async ({ tx, now, record }) => {
    if (!(await insertReport(tx, report.id, now))) return null
    if (await upsertRegion(tx, report.region, now)) {
      if ((await countRegions(tx)) > MAX_REGIONS)
        fail('conflict', { detail: `Home knows ${MAX_REGIONS} regions already, the most there may be.` })
      await record({ action: 'region.registered', details: { region: report.region } })
    }
    return addGathered(tx, gathered)
  })
  if (skipped === null) return { applied: false }
  // A change holds these secrets: their last use is written with the next batch of this server.
  context.usage.putBack({ counts: [], lastUses: skipped, refusals: [] })
  return { applied: true }
}

/**
 * What is named twice is added up, or the later of both: one statement writes a row once.
 * @throws Problem validation_failed for a time that cannot be read
 */
function readReport({ clock, config }: Pick<Context, 'clock' | 'config'>, report: UsageReport): Gathered {
  const nowMs = clock()
  const read = (path: string, text: string) => Math.min(readInstant(path, text)?.getTime() ?? nowMs, nowMs)

  const counts = new Map<string, Gathered['counts'][number]>()
  report.counts.forEach(({ key_id: keyId, hour, outcome, count }, at) => {
    const atMs = read(`/counts/${at}/hour`, hour)
    const hourMs = Math.floor(atMs / HOUR_MS) * HOUR_MS
    const name = `${keyId.toLowerCase()} ${hourMs} ${outcome}`
    const known = counts.get(name)
    if (known) known.count += count
    else counts.set(name, { keyId, hour: new Date(hourMs), outcome, count })
  })
  const lastUses = new Map<string, Gathered['lastUses'][number]>()
  report.last_uses.forEach(({ secret_id, at: text }, at) => {
    const secretId = secret_id.toLowerCase()
    const atMs = read(`/last_uses/${at}/at`, text)
    const known = lastUses.get(secretId)
    if (!known || known.at.getTime() < atMs) lastUses.set(secretId, { secretId, at: new Date(atMs) })
  })
  const refusals = report.refusals.map(({ key_id: keyId, at: text, outcome, ip, count }, at) => {
    const atMs = read(`/refusals/${at}/at`, text)
    const address = readClientAddress(ip)
    return { keyId, at: new Date(atMs), outcome, ip: address, count }
  })
  return {
    counts: [...counts.values()],
    lastUses: [...lastUses.values()],
    refusals: config.refusalsRetentionDays === 0 ? [] : refusals,
  }
}
