import { DAY_MS } from './time.ts'

/**
 * The clock of a time zone. Local times are milliseconds as `Date.UTC` counts them, of the date and time that the clock
 * shows.
 */
export type Zone = {
  /** What the clock shows at an instant. */
  localAt(atMs: number): number
  /**
   * The first instant at which the clock shows a local time or a later one. So a time that the clock leaves out is the first
   * moment after it, and one that it shows twice is the first of the two.
   */
  instantOf(localMs: number): number
}

/** Making a formatter costs as much as a hundred uses. There are some 600 zones, each in many spellings. */
const MAX_KNOWN = 1000
const known = new Map<string, Zone | null>()

/** Most refills are in UTC, which takes no formatter. */
const UTC: Zone = { localAt: (atMs) => atMs, instantOf: (localMs) => localMs }

/**
 * @param name of IANA, as `Europe/Berlin`; not an offset such as `+01:00`
 * @returns null for a zone that is unknown
 */
export function findZone(name: string): Zone | null {
  const found = known.get(name)
  if (found !== undefined) return found
  if (known.size >= MAX_KNOWN) known.clear()
  if (name === 'UTC') return UTC
  const format = /^[A-Za-z]/.test(name) ? formatOf(name) : null
  const zone = format && createZone(format)
  known.set(name, zone)
  return zone
}

function createZone(format: Intl.DateTimeFormat): Zone {
  const localAt = (atMs: number): number => {
    const parts = new Map(format.formatToParts(atMs).map(({ type, value }) => [type, Number(value)]))
    const of = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? 0
    const seconds = Date.UTC(of('year'), of('month') - 1, of('day'), of('hour'), of('minute'), of('second'))
    return seconds + (((atMs % 1000) + 1000) % 1000)
  }
  return {
    localAt,
    instantOf(localMs) {
      // The offsets a day before and a day after: no zone changes its clock twice in two days.
      const [before, after] = [localMs - DAY_MS, localMs + DAY_MS].map((at) => localAt(at) - at)
      let [early, late] = [
        localMs - Math.max(before ?? 0, after ?? 0),
        localMs - Math.min(before ?? 0, after ?? 0),
      ]
      if (localAt(early) >= localMs) return early
      while (late - early > 1) {
        const middle = Math.floor((early + late) / 2)
        if (localAt(middle) >= localMs) late = middle
        else early = middle
      }
      return late
    },
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
