import type { Context } from '../context.ts'
import { findMailProblem } from '../mail/outbox.ts'
import { findDifferingSettings } from '../shared-settings/shared-settings.ts'
import type { Warning } from './model.ts'

/** What is wrong now, as this server sees it. */
export async function findWarnings(context: Context): Promise<Warning[]> {
  const warnings: Warning[] = []
  if (!context.cache.isLive())
    warnings.push({
      code: 'cache_bypassed',
      message:
        'This server hears no messages of the database, so that it asks the database at each use of a credential. See docs/observability.md, LatchkeyCacheBypassed.',
    })
  if (context.shared?.state().isBroken)
    warnings.push({
      code: 'redis_away',
      message: 'Redis does not answer, or refuses to count: each server applies the full limits by itself.',
    })
  for (const { code, message } of await findDifferingSettings(context)) warnings.push({ code, message })
  const trouble = await findMailProblem(context)
  if (trouble !== null) warnings.push({ code: 'mail_failing', message: trouble })
  return warnings
}
