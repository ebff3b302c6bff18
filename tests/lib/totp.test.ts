import { describe, expect, test } from 'bun:test'
import { Secret, TOTP } from 'otpauth'
import { decodeBase32, totpAt } from '../support/totp.ts'

describe('both implementations of TOTP', () => {
  test.each([
    [59, '94287082'],
    [1_111_111_109, '07081804'],
    [1_111_111_111, '14050471'],
    [1_234_567_890, '89005924'],
    [2_000_000_000, '69279037'],
    [20_000_000_000, '65353130'],
  ])('give at %d seconds what RFC 6238 does', (seconds, code) => {
    const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ'
    expect(decodeBase32(secret).toString()).toBe('12345678901234567890')
    expect(totpAt(secret, seconds * 1000, 8)).toBe(code)
    const ours = new TOTP({ secret, digits: 8, period: 30, algorithm: 'SHA1' })
    expect(ours.generate({ timestamp: seconds * 1000 })).toBe(code)
  })

  test('agree on secrets of any content', () => {
    for (let i = 0; i < 200; i++) {
      const secret = new Secret({ size: 20 }).base32
      const timestamp = Math.floor(Math.random() * 4e12)
      expect(totpAt(secret, timestamp)).toBe(new TOTP({ secret }).generate({ timestamp }))
    }
  })
})
