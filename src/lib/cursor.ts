import { timingSafeEqual } from 'node:crypto'
import { hmac } from './derived-keys.ts'
import { failField } from './errors.ts'

/** Hex digits of an id, and of a time in milliseconds: enough for the years 1970 to 9999. */
const ID_HEX = 32
const TIME_HEX = 12
const MAC_BYTES = 12

/** A row of a list: the rows of the next page come after it. */
type Position = { id: string; at: Date }

/** Where the next page of a list begins: the last row of this one, signed for that list alone. */
export function makeCursor(keys: readonly Uint8Array[], list: string, { id, at }: Position): string {
  const hex = id.replaceAll('-', '') + Math.max(0, at.getTime()).toString(16).padStart(TIME_HEX, '0')
  const [key] = keys
  if (!key) throw new Error('No key to sign cursors with')
  return hex + macOf(key, list, hex)
}

/**
 * The row after which a page begins.
 * @throws Problem validation_failed for a cursor that was altered, or that belongs to another list
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
