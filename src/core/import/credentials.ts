import {
  hashToken,
  isAccessToken,
  isMistypedApiKey,
  isRefreshToken,
  MAX_CREDENTIAL_LENGTH,
  startOf,
} from '../../lib/tokens.ts'
import type { Fault } from './shape.ts'

/**
 * The stored part of a key: its SHA-256, by which it is found, and a few characters by which a person recognises it.
 */
export type ImportedSecret = { hash: Uint8Array; start: string }

export const HASH_ENCODINGS = ['hex', 'base64', 'base64url'] as const
type HashEncoding = (typeof HASH_ENCODINGS)[number]

const HASH_BYTES = 32
/** The characters that a header can carry as one credential. */
const SENDABLE = /^[\x21-\x2b\x2d-\x7e]+$/

/**
 * The stored part of a key that is known whole.
 * @returns a fault where no request could ever present the key here. The fault repeats nothing of the key.
 */
export function secretOfKey(apiKeyPrefix: string, key: string): ImportedSecret | Fault {
  if (key === '') return { fault: 'The key is empty' }
  if (key.length > MAX_CREDENTIAL_LENGTH)
    return { fault: `The key has more than ${MAX_CREDENTIAL_LENGTH} characters` }
  if (!SENDABLE.test(key))
    return {
      fault:
        'The key has a character that no header can carry: a space, a comma, or a character outside of ASCII',
    }
  if (isAccessToken(key))
    return { fault: 'The key has the form of an access token, and would be read as one' }
  if (isRefreshToken(key))
    return { fault: 'The key has the form of a refresh token, and would be read as one' }
  if (isMistypedApiKey(apiKeyPrefix, key)) {
    return {
      fault: `The key has the form of this service's own keys (${apiKeyPrefix}…) and a wrong checksum: it would be refused as mistyped. Correct it, or set another API_KEY_PREFIX`,
    }
  }
  const hash = hashToken(key)
  // At most a quarter of a short key is stored in plain text, so that the rest still cannot be guessed.
  const start = startOf(key, apiKeyPrefix).slice(0, Math.floor(key.length / 4))
  return { hash, start: start || markOf(hash) }
}

/**
 * The stored part of a key of which only the SHA-256 is known.
 * @param start the key's first characters; null: unknown
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

/** Replaces the first characters of a key where they are unknown. */
function markOf(hash: Uint8Array): string {
  return `sha256:${hash.subarray(0, 4).toHex()}`
}

function decode(text: string, encoding: HashEncoding): Uint8Array | null {
  if (text.length > 2 * HASH_BYTES) return null
  try {
    if (encoding === 'hex') return Uint8Array.fromHex(text)
    const bytes = Uint8Array.fromBase64(text, { alphabet: encoding })
    // Accepts one spelling per hash: no spaces, no stray bits at the end.
    return bytes.toBase64({ alphabet: encoding, omitPadding: !text.endsWith('=') }) === text ? bytes : null
  } catch {
    return null
  }
}

const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/
const ARGON2 =
  /^\$argon2(?:id|i|d)\$v=19\$m=(\d{1,8}),t=(\d{1,8}),p=(\d{1,8})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/

/** The accepted costs of a password check. With higher ones, a few log-ins could keep a server busy. */
const BCRYPT_COST = [4, 14] as const
const MAX_ARGON2_MEMORY_KIB = 64 * 1024
const MAX_ARGON2_PASSES = 10
const MAX_ARGON2_LANES = 16

/**
 * Why a password hash cannot be imported. Accepts bcrypt, and argon2 in its own text form, at costs that a log-in can
 * afford.
 * @returns null where the hash can be imported; else a sentence that repeats nothing of the hash
 */
export function faultOfPasswordHash(hash: string): string | null {
  const bcrypt = BCRYPT.exec(hash)
  if (bcrypt) return faultOfBcrypt(Number(bcrypt[1]))
  const [matched, memory, passes, lanes, ...texts] = ARGON2.exec(hash) ?? []
  // No number of bytes has a base64 text of such a length.
  const isWhole = texts.every((text) => text.length % 4 !== 1)
  if (matched !== undefined && isWhole) return faultOfArgon2(Number(memory), Number(passes), Number(lanes))
  if (/^\$2[aby]\$/.test(hash)) return 'The bcrypt hash is damaged'
  if (hash.startsWith('$argon2')) return 'The argon2 hash is damaged, or of another version than 19'
  return 'The password hash is of a kind that cannot be checked here: it must be bcrypt or argon2'
}

function faultOfBcrypt(cost: number): string | null {
  const [least, greatest] = BCRYPT_COST
  if (cost >= least && cost <= greatest) return null
  return `The bcrypt hash has cost ${cost}; it must be ${least} to ${greatest}`
}

function faultOfArgon2(memoryKib: number, passes: number, lanes: number): string | null {
  if (memoryKib > MAX_ARGON2_MEMORY_KIB) {
    return `The argon2 hash takes ${memoryKib} KiB of memory; at most ${MAX_ARGON2_MEMORY_KIB} can be spent on a login`
  }
  if (passes > MAX_ARGON2_PASSES)
    return `The argon2 hash takes ${passes} passes; at most ${MAX_ARGON2_PASSES} can be spent on a login`
  if (lanes > MAX_ARGON2_LANES)
    return `The argon2 hash has ${lanes} lanes; at most ${MAX_ARGON2_LANES} can be`
  // RFC 9106, section 3.1.
  return passes < 1 || lanes < 1 || memoryKib < 8 * lanes ? 'The argon2 hash is damaged' : null
}
