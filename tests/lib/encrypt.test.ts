import { expect, test } from 'bun:test'
import { decrypt, encrypt } from '../../src/lib/encrypt.ts'

const key = () => crypto.getRandomValues(new Uint8Array(32))
const [ours, other] = [key(), key()]
const PLAIN = '{"kty":"EC","d":"geheim-ü"}'

test('what is encrypted is decrypted by its key, also when another key is tried first', () => {
  const encrypted = encrypt(ours, 'row-1', PLAIN)
  expect(decrypt([ours], 'row-1', encrypted)).toBe(PLAIN)
  expect(decrypt([other, ours], 'row-1', encrypted)).toBe(PLAIN)
  expect(decrypt([ours, other], 'row-1', encrypted)).toBe(PLAIN)
  expect(decrypt([ours], 'row-1', encrypt(ours, 'row-1', ''))).toBe('')
})

test('encrypted twice, a text looks different, and its content is not readable', () => {
  const [first, second] = [encrypt(ours, 'row-1', PLAIN), encrypt(ours, 'row-1', PLAIN)]
  expect(first.toHex()).not.toBe(second.toHex())
  expect(Buffer.from(first).includes('geheim')).toBe(false)
})

test('it is decrypted by no other key and under no other label', () => {
  const encrypted = encrypt(ours, 'row-1', PLAIN)
  expect(decrypt([other], 'row-1', encrypted)).toBeNull()
  expect(decrypt([], 'row-1', encrypted)).toBeNull()
  expect(decrypt([ours], 'row-2', encrypted)).toBeNull()
  expect(decrypt([ours], '', encrypted)).toBeNull()
})

test('altered in any byte, or cut anywhere, it is not decrypted', () => {
  const encrypted = encrypt(ours, 'row-1', PLAIN)
  for (let i = 0; i < encrypted.length; i++) {
    const altered = Uint8Array.from(encrypted)
    altered[i] = (altered[i] ?? 0) ^ 1
    expect(decrypt([ours], 'row-1', altered)).toBeNull()
    expect(decrypt([ours], 'row-1', encrypted.subarray(0, i))).toBeNull()
  }
  expect(decrypt([ours], 'row-1', encrypted)).toBe(PLAIN)
})
