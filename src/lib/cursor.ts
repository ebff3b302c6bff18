import { timingSafeEqual } from 'node:crypto'
import { hmac } from './derived-keys.ts'
import { failField } from './errors.ts'

const ID_HEX = 32
const MAC_BYTES = 12

/** Where the next page of a list begins: the last id of this one, sealed for that list alone. */
function makeCursor(keys: readonly Uint8Array[], list: string, lastId: string): string {
  const hex = lastId.replaceAll('-', '')
  const [key] = keys
  if (!key) throw new Error('No key to seal cursors with')
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

/** A page: as many rows as were asked for, and where the next one begins. `rows` holds one more where there is more. */
export function pageOf<Row extends { id: string }>(
  keys: readonly Uint8Array[],
  list: string,
  rows: readonly Row[],
  limit: number,
): { rows: Row[]; nextCursor: string | null } {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  return { rows: shown, nextCursor: rows.length > limit && last ? makeCursor(keys, list, last.id) : null }
}

function macOf(key: Uint8Array, list: string, hex: string): string {
  return hmac(key, `${list}\n${hex}`).subarray(0, MAC_BYTES).toHex()
}
