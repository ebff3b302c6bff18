const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const BASE = 62n
const VALUES = new Map([...ALPHABET].map((digit, value) => [digit, BigInt(value)]))

/** The number of base62 digits that hold any value of `byteLength` bytes. */
export function base62Width(byteLength: number): number {
  return Math.ceil((byteLength * 8) / Math.log2(62))
}

/**
 * Writes big-endian bytes as base62 digits, padded with zeros on the left to `base62Width` of their length.
 */
export function encodeBase62(bytes: Uint8Array): string {
  return toDigits(BigInt(`0x${bytes.toHex()}`), base62Width(bytes.length))
}

/**
 * Reads the base62 digits that `encodeBase62` writes.
 * @returns the bytes, or null for any other text: wrong width, unknown digit, or a number that does not fit.
 *   One value has one spelling, so that a credential cannot be presented in two forms.
 */
export function decodeBase62(text: string, byteLength: number): Uint8Array | null {
  if (text.length !== base62Width(byteLength)) return null
  let value = 0n
  for (const digit of text) {
    const digitValue = VALUES.get(digit)
    if (digitValue === undefined) return null
    value = value * BASE + digitValue
  }
  const hex = value.toString(16).padStart(byteLength * 2, '0')
  return hex.length === byteLength * 2 ? Uint8Array.fromHex(hex) : null
}

/** CRC-32 of the text's UTF-8 bytes, as six base62 digits. */
export function checksum(text: string): string {
  return toDigits(BigInt(Bun.hash.crc32(text)), 6)
}

function toDigits(value: bigint, width: number): string {
  let digits = ''
  for (let rest = value; digits.length < width; rest /= BASE) digits = ALPHABET[Number(rest % BASE)] + digits
  return digits
}
