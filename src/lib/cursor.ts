import { timingSafeEqual } from 'node:crypto'
import { hmac } from './derived-keys.ts'
import { failField } from './errors.ts'

const ID_HEX = 32
const MAC_BYTES = 12

/** Where the next page of a list begins: the last id of this one, signed for that list alone. */
export function makeCursor(keys: readonly Uint8Array[], list: string, lastId: string): string {
  const hex = lastId.replaceAll('-', '')
  const [key] = keys
  if (!key) throw new Error('No key to sign cursors with')
  return hex + macOf(key, list, hex)
}

/**
 * The id after which a page begins.
 * @throws Problem validation_failed for a cursor that was altered, or that belongs to another list
 */
export function readCursor(keys: readonly Uint8Array[], list: string, cursor: string): string {
  const hex = cursor.slice(0, ID_HEX)
  const mac = Buffer.from(cursor.slice(ID_HEX))
  const isGenuine = keys.some((key) => {
    const expected = Buffer.from(macOf(key, list, hex))
    return expected.length === mac.length && timingSafeEqual(expected, mac)
  })
  if (!isGenuine) failField('?cursor', 'Is not a cursor of this list')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

function macOf(key: Uint8Array, list: string, hex: string): string {
  return hmac(key, `${list}\n${hex}`).subarray(0, MAC_BYTES).toHex()
}
