/** The offset of a zone from UTC at an instant, in milliseconds. */
function offsetAt(format: Intl.DateTimeFormat, atMs: number): number {
  const parts = Object.fromEntries(format.formatToParts(atMs).map(({ type, value }) => [type, Number(value)]))
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(atMs / 1000) * 1000
}

/**
 * The local midnights at which days begin in a zone, from the day in which an instant lies to before another. A midnight that
 * a change of the clock leaves out is the first moment after it.
 * @param zone of IANA
 * @returns null for a zone that is unknown
 */
export function listMidnights(zone: string, fromMs: number, toMs: number): number[] | null {
  const format = formatOf(zone)
  if (!format) return null
  const local = new Date(fromMs + offsetAt(format, fromMs))
  const midnights: number[] = []
  for (let days = 0; ; days++) {
    const wanted = Date.UTC(local.getUTCFullYear(), local.getUTCMonth(), local.getUTCDate() + days)
    const before = wanted - offsetAt(format, wanted - offsetAt(format, wanted))
    const after = wanted - offsetAt(format, before)
    const midnight = Math.max(before, after)
    if (midnight >= toMs) return midnights
    midnights.push(midnight)
  }
}

function formatOf(timeZone: string): Intl.DateTimeFormat | null {
  try {
    return new Intl.DateTimeFormat('en-US', {
      timeZone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    })
  } catch {
    return null
  }
}
