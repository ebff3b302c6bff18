import { timingSafeEqual } from 'node:crypto'
import { hmac } from './derived-keys.ts'
import { failField } from './errors.ts'

/** Hexadecimal digits of an id, and of a time in milliseconds. Twelve digits hold the years 1970 to 9999. */
const ID_HEX = 32
const TIME_HEX = 12
const MAC_BYTES = 12

/** The last row of a page: the next page begins after this row. */
type Position = { id: string; at: Date }

/**
 * Writes a position as a signed cursor.
 * @param keys the signing keys of cursors; the first one signs
 * @param list the name of the list: the cursor is valid for this list alone
 */
export function makeCursor(keys: readonly Uint8Array[], list: string, { id, at }: Position): string {
  const hex = id.replaceAll('-', '') + Math.max(0, at.getTime()).toString(16).padStart(TIME_HEX, '0')
  const [key] = keys
  if (!key) throw new Error('No key to sign cursors with')
  return hex + macOf(key, list, hex)
}

/**
 * Reads a cursor that `makeCursor` wrote.
 * @param keys the present key, and the previous one during a change of SECRET_KEY
 * @returns the row after which the page begins
 * @throws Problem validation_failed for a cursor that was changed, or that belongs to another list
 */
export function readCursor(keys: readonly Uint8Array[], list: string, cursor: string): Position {
  const hex = cursor.slice(0, ID_HEX + TIME_HEX)
  const mac = Buffer.from(cursor.slice(hex.length))
  const isGenuine = keys.some((key) => {
    const expected = Buffer.from(macOf(key, list, hex))
    return expected.length === mac.length && timingSafeEqual(expected, mac)
  })
  if (!isGenuine) failField('?cursor', 'Is not a cursor of this list')
  const id = hex.slice(0, ID_HEX).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  return { id, at: new Date(Number.parseInt(hex.slice(ID_HEX), 16)) }
}

function macOf(key: Uint8Array, list: string, hex: string): string {
  return hmac(key, `${list}\n${hex}`).subarray(0, MAC_BYTES).toHex()
}
