import { failField } from './errors.ts'

/** Milliseconds since the epoch. The service's only source of "now", so that a test can move it. */
export type Clock = () => number

export const SECOND_MS = 1000
export const MINUTE_MS = 60 * SECOND_MS
export const HOUR_MS = 60 * MINUTE_MS
export const DAY_MS = 24 * HOUR_MS

const INSTANT = /^(\d{4})-(\d{2})-(\d{2})T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/i
/** The years 1 to 9999 in UTC: what RFC 3339, JavaScript and PostgreSQL write in the same way. */
export const EARLIEST_MS = Date.parse('0001-01-01T00:00:00.000Z')
const LATEST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999)

/**
 * The instant that a text names (RFC 3339), or null: another form, a day that its month does not have (`new Date` would
 * go on into the next one), or, in UTC, outside of the years 1 to 9999.
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
 * The instant that a member of a request names; null where it is null or absent.
 * @throws Problem validation_failed at `path`
 */
export function readInstant(path: string, text: string | null | undefined): Date | null {
  const fault = 'Must be a time in RFC 3339, in the years 1 to 9999'
  return text == null ? null : (parseInstant(text) ?? failField(path, fault))
}

/** An instant as it is answered (RFC 3339). */
export function formatInstant(at: Date | null): string | null {
  return at?.toISOString() ?? null
}
