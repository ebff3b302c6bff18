const MINUTE = 60
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const YEAR = 365 * DAY
const MONTH = YEAR / 12
/** Each unit, and from how many of it on it is spoken of: "in 59 days" says more than "in 2 months". */
const UNITS = [
  ['year', YEAR, 2],
  ['month', MONTH, 3],
  ['day', DAY, 1],
  ['hour', HOUR, 1],
  ['minute', MINUTE, 1],
] as const
const relative = new Intl.RelativeTimeFormat('en', { style: 'short' })
const local = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'short' })
const numbers = new Intl.NumberFormat('en')
const short = new Intl.NumberFormat('en', { notation: 'compact' })

/** "3 min. ago", "in 5 days". */
export function formatAgo(iso: string): string {
  const seconds = (Date.parse(iso) - Date.now()) / 1000
  for (const [unit, length, least] of UNITS)
    if (Math.abs(seconds) >= length * least) return relative.format(Math.round(seconds / length), unit)
  return seconds > 0 ? 'in a moment' : 'just now'
}

/** In the person's own time. */
export const formatLocal = (iso: string | number): string => local.format(new Date(iso))
/** "2026-11-27 03:15:02 UTC". */
export const formatUtc = (iso: string): string =>
  `${new Date(iso).toISOString().slice(0, 19).replace('T', ' ')} UTC`
export const formatNumber = (number: number): string => numbers.format(number)
export const formatShort = (number: number): string => short.format(number)

/** "1 hour", "90 seconds": the window of a rate limit. */
export function formatSeconds(seconds: number): string {
  for (const [unit, length] of UNITS) {
    if (seconds >= length && seconds % length === 0) {
      const count = seconds / length
      return count === 1 ? unit : `${count} ${unit}s`
    }
  }
  return seconds === 1 ? 'second' : `${seconds} seconds`
}

/** "1 key", "2 keys". */
export const formatCount = (count: number, noun: string): string =>
  `${formatNumber(count)} ${noun}${count === 1 ? '' : 's'}`

/** A time as a field of the type `datetime-local` takes it. */
export function formatInput(iso: string | null | undefined): string {
  if (iso === null || iso === undefined) return ''
  const offset = new Date(iso).getTimezoneOffset() * 60_000
  return new Date(Date.parse(iso) - offset).toISOString().slice(0, 16)
}

const hour = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
const day = new Intl.DateTimeFormat('en', { month: 'short', day: 'numeric' })
const utcDay = new Intl.DateTimeFormat('en', { month: 'short', day: 'numeric', timeZone: 'UTC' })

/** A mark of a chart's time: the hour, and at midnight the day. */
export function formatTick(time: number, isByDay: boolean): string {
  if (isByDay) return utcDay.format(time)
  const text = hour.format(time)
  return text === '00:00' ? day.format(time) : text
}

/** "Nov 27, 2026", of a day in UTC. */
export const formatUtcDay = (iso: string): string =>
  new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeZone: 'UTC' }).format(new Date(iso))
