const MIN_BYTES = 32
const MIN_DISTINCT = 10

/** The command that makes a good key, for messages. */
export const MAKE_SECRET_KEY = 'openssl rand -base64 48'

/**
 * What example keys are made of, without what is neither letter nor digit. Six characters at least, so that a random
 * key has one of them by chance less than once in a million.
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
  // From the tutorial that most copies of the replaced service started with.
  '09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7',
]

/** What is weak about a SECRET_KEY, as the end of a sentence that never repeats it; null: nothing. */
export function weaknessOf(key: string, minBytes = MIN_BYTES): string | null {
  const bytes = Buffer.byteLength(key)
  if (bytes < minBytes) return `is too short: ${bytes} bytes, at least ${minBytes} are needed`
  const plain = key.toLowerCase().replace(/[^a-z0-9]/g, '')
  if (EXAMPLES.some((example) => plain.includes(example)))
    return 'is an example or a phrase, not a random value'
  if (new Set(key).size < MIN_DISTINCT) return 'is too regular: it has only a few different characters'
  // A repeated string is found in itself, doubled, before its end.
  if ((key + key).indexOf(key, 1) < key.length) return 'is too regular: it repeats itself'
  return null
}
