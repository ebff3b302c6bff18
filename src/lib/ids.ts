/** Makes a new UUIDv7. Such ids sort by the time at which they were made. */
export function newId(): string {
  return Bun.randomUUIDv7()
}

/**
 * Makes a UUIDv7 (RFC 9562, section 5.7) from a time and from a hash of `parts`. The same arguments give the
 * same id on every server, so that all servers write the same row (docs/decisions/0033). The parts cannot be
 * read from the id.
 * @param atMs milliseconds since the epoch
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
 * Whether the text has the form of an id. Anything else cannot be the id of a row, and is answered 404. Only
 * lower case is accepted, which is how ids are answered: an id with one spelling can be compared as text.
 */
export function isId(text: string): boolean {
  return UUID.test(text)
}
