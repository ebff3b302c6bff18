import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

const NONCE_BYTES = 12
const TAG_BYTES = 16

/** Encrypts under AES-256-GCM: nonce, tag, ciphertext. `label` is authenticated with it, so that rows cannot be swapped. */
export function seal(key: Uint8Array, label: string, plain: string): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(label))
  const sealed = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed])
}

/** Opens what `seal` made with one of the keys; null where none of them fits. */
export function unseal(keys: readonly Uint8Array[], label: string, sealed: Uint8Array): string | null {
  for (const key of keys) {
    try {
      const nonce = sealed.subarray(0, NONCE_BYTES)
      const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
      decipher.setAAD(Buffer.from(label)).setAuthTag(sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES))
      const plain = decipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES), undefined, 'utf8')
      return plain + decipher.final('utf8')
    } catch {
      // Another key's, or not whole: try the next.
    }
  }
  return null
}
