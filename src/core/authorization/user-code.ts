/** Without vowels, so that no code is a word; and no two of the letters look alike (RFC 8628, section 6.1). */
const LETTERS = 'BCDFGHJKLMNPQRSTVWXZ'
const LENGTH = 8
/** Bytes from here on are drawn again, or else some letters would come more often. */
const BYTES_END = 256 - (256 % LETTERS.length)

/** The code that a person reads from a device and types at another one. Without the hyphen. */
export function makeUserCode(): string {
  let code = ''
  while (code.length < LENGTH) {
    const bytes = crypto.getRandomValues(new Uint8Array(2 * LENGTH))
    for (const byte of bytes) if (byte < BYTES_END) code += LETTERS.charAt(byte % LETTERS.length)
  }
  return code.slice(0, LENGTH)
}

/** A code as it is shown. */
export const formatUserCode = (code: string): string => `${code.slice(0, 4)}-${code.slice(4)}`

/** `LENGTH` of `LETTERS`. */
const WRITTEN = /^[BCDFGHJKLMNPQRSTVWXZ]{8}$/

/** A code as a person typed it, in its one form; null where the text is not a code. */
export function readUserCode(text: string): string | null {
  if (text.length > 4 * LENGTH) return null
  const code = text.replace(/[\s\p{Pd}]/gu, '').toUpperCase()
  return WRITTEN.test(code) ? code : null
}
