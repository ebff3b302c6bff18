import { fail } from '../lib/errors.ts'

/**
 * One more has to fit into a quota.
 * @param held how many there are, counted under a lock that no other creation passes
 * @param quota the setting that says how many there may be, its value, and what it counts
 * @throws Problem quota_exceeded, whose detail names the setting
 */
export function requireQuota(
  held: number,
  { setting, most, advice }: { setting: string; most: number; advice: string },
): void {
  if (held >= most) fail('quota_exceeded', { detail: `${setting} allows ${most} ${advice}` })
}
