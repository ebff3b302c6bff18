import { findZone } from './zones.ts'

/**
 * The local midnights at which days begin in a zone, from the day in which an instant lies to before another. A midnight that
 * a change of the clock leaves out is the first moment after it.
 * @param zone of IANA
 * @returns null for a zone that is unknown
 */
export function listMidnights(zone: string, fromMs: number, toMs: number): number[] | null {
  const known = findZone(zone)
  if (!known) return null
  const local = new Date(known.localAt(fromMs))
  const midnights: number[] = []
  for (let days = 0; ; days++) {
    const midnight = known.instantOf(
      Date.UTC(local.getUTCFullYear(), local.getUTCMonth(), local.getUTCDate() + days),
    )
    if (midnight >= toMs) return midnights
    midnights.push(midnight)
  }
}
