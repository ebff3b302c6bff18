import type { Secret } from '../lib/secret.ts'
import type { Reader } from './reader.ts'

/** The command that makes a strong key, for messages. */
export const MAKE_SECRET_KEY = 'openssl rand -base64 48'
const MIN_KEY_BYTES = 32
const MAKE_METRICS_TOKEN = 'openssl rand -hex 24'
const MIN_METRICS_TOKEN_BYTES = 16
const MIN_DISTINCT_CHARACTERS = 10
/** The characters that may follow "Bearer" (RFC 6750, section 2.1). */
const BEARER_TOKEN = /^[A-Za-z0-9._~+/-]+=*$/

const EMAIL = /^[^\s@]{1,64}@[^\s@]{1,253}$/
const MAX_EMAIL_LENGTH = 254
const MAX_PASSWORD_BYTES = 1024

/**
 * Words of example keys, in letters and digits only. Each has at least six characters: a random key contains
 * one by chance less than once in a million.
 */
const EXAMPLES = [
  'change',
  'secretkey',
  'yoursecret',
  'supersecret',
  'mysecret',
  'example',
  'password',
  'passphrase',
  'placeholder',
  'replace',
  'insecure',
  'notsecure',
  'default',
  'develop',
  'testing',
  'testkey',
  'testsecret',
  '256bit',
  'production',
  'latchkey',
  'keyboard',
  'qwerty',
  'abcdef0123',
  'abcdefghij',
  '0123456789',
  '1234567890',
  // The key in the FastAPI tutorial, with which most copies of the replaced service started.
  '09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7',
]

/** Reads SECRET_KEY or SECRET_KEY_PREVIOUS. */
export function readSecretKey(read: Reader, name: string): Secret | null {
  const key = read.secret(name)
  const weakness = key && weaknessOf(key.reveal())
  if (weakness) read.fault(`${name} ${weakness}; make one with: ${MAKE_SECRET_KEY}`)
  return key
}

/** Reads METRICS_TOKEN, the token that a scrape of /metrics presents. */
export function readMetricsToken(read: Reader): Secret | null {
  const token = read.secret('METRICS_TOKEN')
  if (token === null) return null
  const text = token.reveal()
  const weakness = weaknessOf(text, MIN_METRICS_TOKEN_BYTES)
  if (weakness) read.fault(`METRICS_TOKEN ${weakness}; make one with: ${MAKE_METRICS_TOKEN}`)
  else if (text === text.trim() && !BEARER_TOKEN.test(text)) {
    read.fault('METRICS_TOKEN must consist of A-Z a-z 0-9 . _ ~ + / - and, at its end, =')
  }
  return token
}

/**
 * Finds the weakness of a key or token.
 * @returns the end of a sentence, which does not contain the key; null for a strong key
 */
export function weaknessOf(key: string, minBytes = MIN_KEY_BYTES): string | null {
  const bytes = Buffer.byteLength(key)
  if (bytes < minBytes) return `is too short: ${bytes} bytes, at least ${minBytes} are needed`
  const plain = key.toLowerCase().replace(/[^a-z0-9]/g, '')
  if (EXAMPLES.some((example) => plain.includes(example)))
    return 'is an example or a phrase, not a random value'
  if (new Set(key).size < MIN_DISTINCT_CHARACTERS)
    return 'is too regular: it has only a few different characters'
  // A string that repeats itself occurs in its own double before the middle.
  if ((key + key).indexOf(key, 1) < key.length) return 'is too regular: it repeats itself'
  return null
}

/**
 * Reads the first admin's e-mail and password: both or neither. The rules of sign-up apply later, when the
 * account is created.
 */
export function readAdmin(read: Reader, passwordMinLength: number) {
  const email = read.text('ADMIN_EMAIL')
  const password = read.secret('ADMIN_PASSWORD')
  if (email !== null && (!EMAIL.test(email) || email.length > MAX_EMAIL_LENGTH)) {
    read.fault('ADMIN_EMAIL must be an e-mail address')
  }
  if (email !== null && password === null) read.fault('ADMIN_EMAIL needs ADMIN_PASSWORD beside it')
  if (password !== null && email === null) read.fault('ADMIN_PASSWORD needs ADMIN_EMAIL beside it')
  if (password !== null) checkPassword(read, password, passwordMinLength)
  return { email, password }
}

function checkPassword(read: Reader, password: Secret, minLength: number): void {
  const text = password.reveal().normalize('NFC')
  if ([...text].length < minLength) read.fault(`ADMIN_PASSWORD must have at least ${minLength} characters`)
  if (Buffer.byteLength(text) > MAX_PASSWORD_BYTES) {
    read.fault(`ADMIN_PASSWORD must have at most ${MAX_PASSWORD_BYTES} bytes`)
  }
}
