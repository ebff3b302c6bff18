import { expect, test } from 'bun:test'
import { decrypt, encrypt } from '../../src/lib/encrypt.ts'

const key = () => crypto.getRandomValues(new Uint8Array(32))
const [ours, other] = [key(), key()]
const PLAIN = '{"kty":"EC","d":"geheim-ü"}'

test('a ciphertext is decrypted by its key, also when another key is tried first', () => {
  const encrypted = encrypt(ours, 'row-1', PLAIN)
  expect(decrypt([ours], 'row-1', encrypted)).toBe(PLAIN)
  expect(decrypt([other, ours], 'row-1', encrypted)).toBe(PLAIN)
  expect(decrypt([ours, other], 'row-1', encrypted)).toBe(PLAIN)
  expect(decrypt([ours], 'row-1', encrypt(ours, 'row-1', ''))).toBe('')
})

test('a text that is encrypted twice gives two ciphertexts, and neither contains the text', () => {
  const [first, second] = [encrypt(ours, 'row-1', PLAIN), encrypt(ours, 'row-1', PLAIN)]
  expect(first.toHex()).not.toBe(second.toHex())
  expect(Buffer.from(first).includes('geheim')).toBe(false)
})

test('a ciphertext is not decrypted by another key or under another label', () => {
  const encrypted = encrypt(ours, 'row-1', PLAIN)
  expect(decrypt([other], 'row-1', encrypted)).toBeNull()
  expect(decrypt([], 'row-1', encrypted)).toBeNull()
  expect(decrypt([ours], 'row-2', encrypted)).toBeNull()
  expect(decrypt([ours], '', encrypted)).toBeNull()
})

test('a ciphertext that was changed in any byte, or truncated anywhere, is not decrypted', () => {
  const encrypted = encrypt(ours, 'row-1', PLAIN)
  for (let i = 0; i < encrypted.length; i++) {
    const altered = Uint8Array.from(encrypted)
    altered[i] = (altered[i] ?? 0) ^ 1
    expect(decrypt([ours], 'row-1', altered)).toBeNull()
    expect(decrypt([ours], 'row-1', encrypted.subarray(0, i))).toBeNull()
  }
  expect(decrypt([ours], 'row-1', encrypted)).toBe(PLAIN)
})
