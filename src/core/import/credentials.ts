import { hashToken, isMistypedApiKey, MAX_CREDENTIAL_LENGTH, startOf } from '../../lib/tokens.ts'

/** What is kept of a key: the SHA-256 by which it is found, and a few characters by which a person knows it. */
export type ImportedSecret = { hash: Uint8Array; start: string }

export type HashEncoding = 'hex' | 'base64' | 'base64url'

type Fault = { fault: string }

const HASH_BYTES = 32
/** What a header carries as one credential. */
const SENDABLE = /^[\x21-\x2b\x2d-\x7e]+$/

/**
 * A key that is known whole.
 * @returns a fault where it could never be used here; it repeats nothing of the key
 */
export function secretOfKey(apiKeyPrefix: string, key: string): ImportedSecret | Fault {
  if (key === '') return { fault: 'The key is empty' }
  if (key.length > MAX_CREDENTIAL_LENGTH)
    return { fault: `The key has more than ${MAX_CREDENTIAL_LENGTH} characters` }
  if (!SENDABLE.test(key))
    return { fault: 'The key has a character that no header can carry: a space, a comma, or none of ASCII' }
  if (key.startsWith('eyJ')) return { fault: 'The key starts like an access token, and would be read as one' }
  if (isMistypedApiKey(apiKeyPrefix, key)) {
    return {
      fault: `The key has the form of this service's own keys (${apiKeyPrefix}…) and a wrong checksum: it would be refused as mistyped. Mend it, or set another API_KEY_PREFIX`,
    }
  }
  const hash = hashToken(key)
  // Of a short key, less is shown.
  const start = startOf(key).slice(0, Math.floor(key.length / 4))
  return { hash, start: start || markOf(hash) }
}

/**
 * A key of which only the SHA-256 is known.
 * @param start the key's first characters, where they are known
 */
export function secretOfHash(
  text: string,
  encoding: HashEncoding,
  start: string | null,
): ImportedSecret | Fault {
  const hash = decode(text, encoding)
  if (hash?.length === HASH_BYTES) return { hash, start: start || markOf(hash) }
  if (text.startsWith('$'))
    return { fault: 'Keys are found by their SHA-256: a bcrypt or argon2 hash of one cannot be imported' }
  return { fault: `The hash must be a SHA-256, which is ${HASH_BYTES} bytes, in ${encoding}` }
}

/** Tells a key from others where none of its characters is known. */
function markOf(hash: Uint8Array): string {
  return `sha256:${hash.subarray(0, 4).toHex()}`
}

function decode(text: string, encoding: HashEncoding): Uint8Array | null {
  if (text.length > 2 * HASH_BYTES) return null
  try {
    if (encoding === 'hex') return Uint8Array.fromHex(text)
    const bytes = Uint8Array.fromBase64(text, { alphabet: encoding })
    // One text a hash: no spaces, no stray bits at the end.
    return bytes.toBase64({ alphabet: encoding, omitPadding: !text.endsWith('=') }) === text ? bytes : null
  } catch {
    return null
  }
}
