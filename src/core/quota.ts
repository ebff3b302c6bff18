import { fail } from '../lib/errors.ts'

/**
 * Checks that a quota has room for one more.
 * @param held the present number, counted under a lock that every other creation waits for. Without the lock, two
 * creations at once could both fit.
 * @param quota the setting that names the limit, its value, and what it counts
 * @throws Problem quota_exceeded, whose detail names the setting
 */
export function requireQuota(
  held: number,
  { setting, most, advice }: { setting: string; most: number; advice: string },
): void {
  if (held >= most) fail('quota_exceeded', { detail: `${setting} allows ${most} ${advice}` })
}
