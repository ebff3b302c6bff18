/** A new UUIDv7: sorts by the time it was made. */
export function newId(): string {
  return Bun.randomUUIDv7()
}

/**
 * The UUIDv7 of a time whose other bits follow from what it names (RFC 9562, section 5.7): the same parts have the same
 * id wherever and whenever it is asked for, and none of them can be read from it.
 */
export function deriveId(atMs: number, ...parts: (string | null)[]): string {
  const bytes = Bun.SHA256.hash(JSON.stringify(parts)) as Uint8Array
  const view = new DataView(bytes.buffer)
  view.setUint16(0, Math.floor(atMs / 2 ** 32))
  view.setUint32(2, atMs % 2 ** 32)
  view.setUint8(6, (view.getUint8(6) & 0x0f) | 0x70)
  view.setUint8(8, (view.getUint8(8) & 0x3f) | 0x80)
  return bytes
    .subarray(0, 16)
    .toHex()
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/**
 * Whether the text may be looked up as an id; anything else is nobody's (404). In small letters alone, as ids are
 * answered: an id that has one spelling can be compared as text.
 */
export function isId(text: string): boolean {
  return UUID.test(text)
}
