import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

const NONCE_BYTES = 12
const TAG_BYTES = 16

/**
 * Encrypts a text with AES-256-GCM.
 * @param key 32 bytes
 * @param label authenticated together with the text: a ciphertext that is copied to another row does not
 *   decrypt there
 * @returns nonce, tag and ciphertext, in this order
 */
export function encrypt(key: Uint8Array, label: string, plain: string): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(label))
  const ciphertext = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), ciphertext])
}

/**
 * Decrypts what `encrypt` returned.
 * @param keys tried in order
 * @param label the label that the text was encrypted with
 * @returns the text, or null if no key fits, the label differs, or a byte was changed
 */
export function decrypt(keys: readonly Uint8Array[], label: string, encrypted: Uint8Array): string | null {
  const nonce = encrypted.subarray(0, NONCE_BYTES)
  const tag = encrypted.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES)
  const ciphertext = encrypted.subarray(NONCE_BYTES + TAG_BYTES)
  for (const key of keys) {
    try {
      const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
      decipher.setAAD(Buffer.from(label)).setAuthTag(tag)
      return decipher.update(ciphertext, undefined, 'utf8') + decipher.final('utf8')
    } catch {
      // The ciphertext belongs to another key, or it is damaged. The next key may fit.
    }
  }
  return null
}
