/** What a spreadsheet takes for the beginning of a formula; where characters are wide, the wide ones too. */
const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/
const NEEDS_QUOTES = /[",\r\n]|^\s|\s$/

/**
 * One record of CSV (RFC 4180), with its line break. Lists and objects are written as JSON, null as an empty cell. A cell
 * that a spreadsheet would calculate gets an apostrophe in front.
 * @example csvLine(['a', null, '=1+1']) // "a,,'=1+1\r\n"
 */
export const csvLine = (values: readonly unknown[]): string => `${values.map(cellOf).join(',')}\r\n`

function cellOf(value: unknown): string {
  const text = textOf(value)
  const harmless = FORMULA.test(text) ? `'${text}` : text
  return NEEDS_QUOTES.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return ''
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
