import { Decrypter, Encrypter } from 'age-encryption'

/** log2 of scrypt's N. The minimum that OWASP recommends; it costs half a second and 128 MB. */
const WORK_FACTOR = 17

/**
 * Encrypts a stream with a passphrase in the age format (https://age-encryption.org/v1), which `age
 * --decrypt` reads too: scrypt, then ChaCha20-Poly1305 in chunks of 64 KiB. The last chunk is marked, so a
 * truncated file is detected. Memory does not grow with the length.
 */
export async function encryptUnder(
  passphrase: string,
  plain: ReadableStream<Uint8Array>,
  workFactor = WORK_FACTOR,
): Promise<ReadableStream<Uint8Array>> {
  const encrypter = new Encrypter()
  encrypter.setPassphrase(passphrase)
  encrypter.setScryptWorkFactor(workFactor)
  return encrypter.encrypt(plain)
}

/**
 * Decrypts what `encryptUnder` returned. If the text was truncated or changed, the returned stream fails at
 * that place.
 * @returns null if the passphrase is wrong, or the text has another format
 */
export async function decryptUnder(
  passphrase: string,
  encrypted: ReadableStream<Uint8Array>,
): Promise<ReadableStream<Uint8Array> | null> {
  const decrypter = new Decrypter()
  decrypter.addPassphrase(passphrase)
  try {
    return await decrypter.decrypt(encrypted)
  } catch {
    return null
  }
}
