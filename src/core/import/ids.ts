import { isId } from '../../lib/ids.ts'

/**
 * The id of something that comes from elsewhere: its own where that is a UUID, else a UUIDv7 of the time when it was
 * made and of where it comes from. The same thing has the same id each time it is imported.
 * @param origin what tells it from everything else; none of it can be read from the id
 */
export function importedId(own: string | null, createdAt: Date | null, ...origin: string[]): string {
  const given = own?.toLowerCase() ?? ''
  if (isId(given)) return given
  const bytes = Bun.SHA256.hash(JSON.stringify(origin)) as Uint8Array
  const ms = Math.max(0, createdAt?.getTime() ?? 0)
  const time = new DataView(bytes.buffer)
  time.setUint16(0, Math.floor(ms / 2 ** 32))
  time.setUint32(2, ms % 2 ** 32)
  // RFC 9562, section 5.7.
  time.setUint8(6, (time.getUint8(6) & 0x0f) | 0x70)
  time.setUint8(8, (time.getUint8(8) & 0x3f) | 0x80)
  return bytes
    .subarray(0, 16)
    .toHex()
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
