import { describe, expect, test } from 'bun:test'
import { crc32 } from 'node:zlib'
import { base62Width, checksum, decodeBase62, encodeBase62 } from '../../src/lib/base62.ts'

const bytes = (...values: number[]) => new Uint8Array(values)

describe('width', () => {
  test('is the fewest digits that every value of that many bytes fits in', () => {
    for (let n = 1; n <= 64; n++) {
      const values = 256n ** BigInt(n)
      const width = base62Width(n)
      expect(62n ** BigInt(width) >= values).toBe(true)
      expect(62n ** BigInt(width - 1) < values).toBe(true)
    }
  })
})

describe('encoding', () => {
  test.each([
    [bytes(0), '00'],
    [bytes(9), '09'],
    [bytes(10), '0A'],
    [bytes(35), '0Z'],
    [bytes(36), '0a'],
    [bytes(61), '0z'],
    [bytes(62), '10'],
    [bytes(255), '47'],
    [bytes(0, 0, 0), '00000'],
    [bytes(255, 255, 255), '18OWF'],
  ])('%p is %p, in digits, then capitals, then small letters', (value, text) => {
    expect(encodeBase62(value)).toBe(text)
    expect(decodeBase62(text, value.length)).toEqual(value)
  })

  test('is decoded to the same bytes, for every length and for leading zeros', () => {
    for (let n = 1; n <= 64; n++) {
      for (const value of [new Uint8Array(n), new Uint8Array(n).fill(255), randomBytes(n), zeroFirst(n)]) {
        const text = encodeBase62(value)
        expect(text).toHaveLength(base62Width(n))
        expect(decodeBase62(text, n)).toEqual(value)
      }
    }
  })

  test('sorts as the bytes do', () => {
    const values = Array.from({ length: 50 }, () => randomBytes(8))
    const byBytes = [...values].sort(Buffer.compare).map(encodeBase62)
    expect(values.map(encodeBase62).sort()).toEqual(byBytes)
  })
})

describe('decoding', () => {
  test('accepts exactly one spelling of each value', () => {
    const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
    const decoded = [...digits]
      .flatMap((first) => [...digits].map((second) => decodeBase62(first + second, 1)))
      .filter((value) => value !== null)
    expect(decoded).toHaveLength(256)
    expect(new Set(decoded.map((value) => value[0])).size).toBe(256)
  })

  test.each([
    ['too short', '7'],
    ['too long', '047'],
    ['empty', ''],
    ['one more than fits', '48'],
    ['the largest of that width', 'zz'],
    ['a sign', '-1'],
    ['a plus', '+1'],
    ['a space', ' 1'],
    ['base64url', '_1'],
    ['another digit of Unicode', '1٣'],
    ['a full-width digit', '１1'],
    ['half of a pair', '\ud8351'],
    ['NUL', '\0' + '1'],
  ])('refuses %s', (_, text) => {
    expect(decodeBase62(text, 1)).toBeNull()
    expect(decodeBase62('47', 1)).toEqual(bytes(255))
  })
})

describe('checksum', () => {
  test('is CRC-32 in six digits', () => {
    // The check value of the standard: CRC-32 of "123456789" is 0xCBF43926.
    expect(checksum('123456789')).toBe(toDigits(0xcbf43926))
    expect(checksum('')).toBe('000000')
    for (const text of ['sk_', 'é', '🔑', 'x'.repeat(1000)])
      expect(checksum(text)).toBe(toDigits(crc32(text)))
  })
})

/** The same number in the encoding that the tests above check. Six digits hold 35 bits. */
function toDigits(value: number): string {
  return encodeBase62(Uint8Array.fromHex(value.toString(16).padStart(8, '0'))).padStart(6, '0')
}

function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length))
}

function zeroFirst(length: number): Uint8Array {
  const value = randomBytes(length)
  value[0] = 0
  return value
}
