import { describe, expect, test } from 'bun:test'
import { createHash, createHmac } from 'node:crypto'
import { base62Width, checksum, decodeBase62, encodeBase62 } from '../../src/lib/base62.ts'
import {
  hashToken,
  isMistypedApiKey,
  makeApiKey,
  makeRefreshToken,
  readRefreshToken,
  startOf,
} from '../../src/lib/tokens.ts'

const random = (length: number) => crypto.getRandomValues(new Uint8Array(length))
/** Every text that differs from `text` in one character. */
const alterations = (text: string) =>
  [...text].map((digit, i) => text.slice(0, i) + (digit === 'x' ? 'y' : 'x') + text.slice(i + 1))

describe('an API key', () => {
  test('is the prefix, 43 digits and 6 of checksum, and never twice the same', () => {
    const keys = Array.from({ length: 200 }, () => makeApiKey('sk_'))
    for (const key of keys) {
      expect(key).toMatch(/^sk_[0-9A-Za-z]{49}$/)
      expect(key.slice(-6)).toBe(checksum(key.slice(0, -6)))
      expect(decodeBase62(key.slice(3, -6), 32)).not.toBeNull()
      expect(isMistypedApiKey('sk_', key)).toBe(false)
    }
    expect(new Set(keys.map((key) => key.slice(3, -6))).size).toBe(200)
    expect(makeApiKey('acme_live_')).toMatch(/^acme_live_[0-9A-Za-z]{49}$/)
  })

  test('with one changed character, or two swapped ones, counts as mistyped', () => {
    const key = makeApiKey('sk_')
    const body = alterations(key.slice(3)).map((rest) => `sk_${rest}`)
    const swapped = [...key.slice(0, -1)]
      .map((_, i) => key.slice(0, i) + key.charAt(i + 1) + key.charAt(i) + key.slice(i + 2))
      .filter((text) => text !== key && text.startsWith('sk_'))
    for (const text of [...body, ...swapped]) expect(isMistypedApiKey('sk_', text)).toBe(true)
    expect(body).toHaveLength(49)
    expect(swapped.length).toBeGreaterThan(30)
  })

  test.each([
    ['another prefix', `pk_${'a'.repeat(49)}`],
    ['shorter', `sk_${'a'.repeat(48)}`],
    ['longer', `sk_${'a'.repeat(50)}`],
    ['imported, of any shape', 'AKIA-legacy/key=='],
    ['nothing', ''],
  ])('is not checked for a checksum where it has another form: %s', (_, text) => {
    expect(isMistypedApiKey('sk_', text)).toBe(false)
    expect(isMistypedApiKey('sk_', `sk_${'a'.repeat(49)}`)).toBe(true)
  })

  test('is stored as SHA-256 and shown by its start', () => {
    const key = makeApiKey('sk_')
    expect(Buffer.from(hashToken(key))).toEqual(createHash('sha256').update(key).digest())
    expect(Buffer.from(hashToken('abc')).toString('hex')).toStartWith('ba7816bf8f01cfea414140de5dae2223')
    expect(startOf(key, 'sk_')).toBe(key.slice(0, 11))
    expect(startOf(makeApiKey('long_prefix_'), 'long_prefix_')).toHaveLength(20)
  })
})

const KEY = new Uint8Array(32).fill(7)
const SESSION = '0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6'
const SALT = new Uint8Array(16).map((_, i) => 0xf0 + i)
const CLAIMS = { sessionId: SESSION, generation: 5, salt: SALT }
const TOKEN = makeRefreshToken(KEY, CLAIMS)
const BYTES = 53

/** A token that is assembled by hand, with a correct checksum and, by default, a correct MAC. */
function build(version: number, generation: number, mac?: Uint8Array): string {
  const claims = Buffer.alloc(37)
  claims[0] = version
  claims.write(SESSION.replaceAll('-', ''), 1, 'hex')
  claims.writeUInt32BE(generation, 17)
  claims.set(SALT, 21)
  const signature = mac ?? createHmac('sha256', KEY).update(claims).digest().subarray(0, 16)
  return withChecksum(`rt_${encodeBase62(Buffer.concat([claims, signature]))}`)
}

const withChecksum = (body: string) => body + checksum(body)

describe('a refresh token', () => {
  test('says version, session, generation and salt under an HMAC, in a fixed width', () => {
    expect(TOKEN).toBe(build(1, 5))
    expect(TOKEN).toMatch(new RegExp(`^rt_[0-9A-Za-z]{${base62Width(BYTES) + 6}}$`))
    const extremes = [
      { sessionId: '00000000-0000-0000-0000-000000000000', generation: 0, salt: new Uint8Array(16) },
      {
        sessionId: 'ffffffff-ffff-ffff-ffff-ffffffffffff',
        generation: 0xffff_ffff,
        salt: new Uint8Array(16).fill(255),
      },
    ]
    for (const claims of extremes) {
      const token = makeRefreshToken(KEY, claims)
      expect(token).toHaveLength(TOKEN.length)
      expect(readRefreshToken([KEY], token)).toEqual(claims)
    }
  })

  test('is read with each of the present keys, and with no other key', () => {
    const claims = { sessionId: SESSION, generation: 5, salt: random(16) }
    const token = makeRefreshToken(KEY, claims)
    expect(readRefreshToken([KEY], token)).toEqual(claims)
    expect(readRefreshToken([random(32), KEY], token)).toEqual(claims)
    expect(readRefreshToken([random(32)], token)).toBeNull()
    expect(readRefreshToken([], token)).toBeNull()
  })

  test('with any character altered is refused, even with a corrected checksum', () => {
    const token = build(1, 9)
    expect(readRefreshToken([KEY], token)?.generation).toBe(9)
    for (const text of alterations(token)) expect(readRefreshToken([KEY], text)).toBeNull()
    for (const body of alterations(token.slice(0, -6)))
      expect(readRefreshToken([KEY], withChecksum(body))).toBeNull()
  })

  test('has one spelling: a number too large for its bytes is refused', () => {
    const token = build(1, 9)
    const value = [...token.slice(3, -6)].reduce((sum, digit) => sum * 62n + digitValue(digit), 0n)
    const aliases = [1n, 2n, 20n].map((n) => toBase62(value + n * 256n ** BigInt(BYTES)))
    for (const alias of aliases) {
      expect(alias).toHaveLength(base62Width(BYTES))
      expect(readRefreshToken([KEY], withChecksum(`rt_${alias}`))).toBeNull()
    }
    expect(
      readRefreshToken([KEY], withChecksum(`rt_${toBase62(value).padStart(base62Width(BYTES), '0')}`))
        ?.generation,
    ).toBe(9)
  })

  test.each([
    ['of another version', build(2, 9)],
    ['of version 0', build(0, 9)],
    ['with a MAC of zeros', build(1, 9, new Uint8Array(16))],
    ['with a random MAC', build(1, 9, random(16))],
    ['cut by one', TOKEN.slice(0, -1)],
    ['longer by one', `${TOKEN}0`],
    ['with a space before', ` ${TOKEN}`],
    ['with a newline after', `${TOKEN}\n`],
    ['without its prefix', TOKEN.slice(3)],
    ['with the prefix of a key', `sk_${TOKEN.slice(3)}`],
    ['in capitals', TOKEN.toUpperCase()],
    ['empty', ''],
    ['a kilobyte', `rt_${'a'.repeat(1000)}`],
    ['an API key', makeApiKey('rt_')],
  ])('is refused when it is %s', (_, token) => {
    expect(readRefreshToken([KEY], token)).toBeNull()
    expect(readRefreshToken([KEY], build(1, 9))?.generation).toBe(9)
  })
})

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const digitValue = (digit: string) => BigInt(DIGITS.indexOf(digit))

function toBase62(value: bigint): string {
  return value === 0n ? '' : toBase62(value / 62n) + DIGITS.charAt(Number(value % 62n))
}
