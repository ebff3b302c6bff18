import { Decrypter, Encrypter } from 'age-encryption'

/** scrypt's N as a power of two. The least that OWASP advises: half a second, and 128 MB. */
const WORK_FACTOR = 17

/**
 * Encrypts under a passphrase, in the format of age (https://age-encryption.org/v1): scrypt, then ChaCha20-Poly1305 in
 * chunks of 64 KiB, the last of which says that it is the last. `age --decrypt` reads it too. Little memory, however long
 * the text is.
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
 * The reverse of `encryptUnder`. What was cut or changed is an error of the stream, at the place.
 * @returns null where the passphrase is another, or this is nothing that `encryptUnder` made
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
