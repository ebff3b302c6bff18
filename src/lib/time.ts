import { failField } from './errors.ts'

/**
 * Returns milliseconds since the epoch. The service reads the time only through this function, so that a test
 * can move it.
 */
export type Clock = () => number

export const SECOND_MS = 1000
export const MINUTE_MS = 60 * SECOND_MS
export const HOUR_MS = 60 * MINUTE_MS
export const DAY_MS = 24 * HOUR_MS

/** An `Idempotency-Key` may be used again after this time. */
export const IDEMPOTENCY_LASTS_MS = 24 * HOUR_MS

const INSTANT = /^(\d{4})-(\d{2})-(\d{2})T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/i
/** The years 1 to 9999 in UTC. RFC 3339, JavaScript and PostgreSQL write these years in the same way. */
export const EARLIEST_MS = Date.parse('0001-01-01T00:00:00.000Z')
const LATEST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999)

/**
 * Parses a time in RFC 3339.
 * @returns null for another form, for a day that its month does not have (`new Date` would continue into the
 *   next month), and for a time outside of the years 1 to 9999 in UTC
 */
export function parseInstant(text: string): Date | null {
  const [, year, month, day] = INSTANT.exec(text)?.map(Number) ?? []
  if (year === undefined || month === undefined || day === undefined) return null
  const daysOfMonth = new Date(Date.UTC(year, month, 0)).getUTCDate()
  const at = new Date(text.toUpperCase())
  const isWithin = at.getTime() >= EARLIEST_MS && at.getTime() <= LATEST_MS
  return day <= daysOfMonth && isWithin ? at : null
}

/**
 * Parses the time in a request's member.
 * @param path the member's JSON pointer
 * @returns null for null and undefined
 * @throws Problem validation_failed at `path`
 */
export function readInstant(path: string, text: string | null | undefined): Date | null {
  const fault = 'Must be a time in RFC 3339, in the years 1 to 9999'
  return text == null ? null : (parseInstant(text) ?? failField(path, fault))
}

/** Writes a time in the form of answers (RFC 3339, UTC). */
export function formatInstant(at: Date | null): string | null {
  return at?.toISOString() ?? null
}
