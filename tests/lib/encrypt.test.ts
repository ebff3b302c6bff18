import { expect, test } from 'bun:test'
import { seal, unseal } from '../../src/lib/encrypt.ts'

const key = () => crypto.getRandomValues(new Uint8Array(32))
const [ours, other] = [key(), key()]
const PLAIN = '{"kty":"EC","d":"geheim-ü"}'

test('what is sealed opens with its key, also when another stands before it', () => {
  const sealed = seal(ours, 'row-1', PLAIN)
  expect(unseal([ours], 'row-1', sealed)).toBe(PLAIN)
  expect(unseal([other, ours], 'row-1', sealed)).toBe(PLAIN)
  expect(unseal([ours, other], 'row-1', sealed)).toBe(PLAIN)
  expect(unseal([ours], 'row-1', seal(ours, 'row-1', ''))).toBe('')
})

test('sealed twice, it looks different, and shows nothing of what it holds', () => {
  const [first, second] = [seal(ours, 'row-1', PLAIN), seal(ours, 'row-1', PLAIN)]
  expect(first.toHex()).not.toBe(second.toHex())
  expect(Buffer.from(first).includes('geheim')).toBe(false)
})

test('it opens with no other key and under no other label', () => {
  const sealed = seal(ours, 'row-1', PLAIN)
  expect(unseal([other], 'row-1', sealed)).toBeNull()
  expect(unseal([], 'row-1', sealed)).toBeNull()
  expect(unseal([ours], 'row-2', sealed)).toBeNull()
  expect(unseal([ours], '', sealed)).toBeNull()
})

test('altered in any byte, or cut anywhere, it opens not at all', () => {
  const sealed = seal(ours, 'row-1', PLAIN)
  for (let i = 0; i < sealed.length; i++) {
    const altered = Uint8Array.from(sealed)
    altered[i] = (altered[i] ?? 0) ^ 1
    expect(unseal([ours], 'row-1', altered)).toBeNull()
    expect(unseal([ours], 'row-1', sealed.subarray(0, i))).toBeNull()
  }
  expect(unseal([ours], 'row-1', sealed)).toBe(PLAIN)
})
