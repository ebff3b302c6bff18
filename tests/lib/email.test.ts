import { describe, expect, test } from 'bun:test'
import { normaliseEmail } from '../../src/core/users/email.ts'

describe('one identity behind the ways to type it', () => {
  test.each([
    ['user@example.com', 'user@example.com'],
    ['  User@Example.COM\n', 'user@example.com'],
    ['\u00a0user@example.com\ufeff', 'user@example.com'],
    ['JOS\u00c9@example.com', 'jos\u00e9@example.com'],
    ['JOSE\u0301@example.com', 'jos\u00e9@example.com'],
    ['user@B\u00dcCHER.example', 'user@b\u00fccher.example'],
    ['用户@例え.jp', '用户@例え.jp'],
    ['🔑@example.com', '🔑@example.com'],
    ["o'hara+tag@localhost", "o'hara+tag@localhost"],
    ['a@b', 'a@b'],
    [`${'a'.repeat(242)}@example.com`, `${'a'.repeat(242)}@example.com`],
  ])('%p is %p', (typed, identity) => {
    expect(normaliseEmail(typed)).toBe(identity)
    // What is stored is found again by typing it.
    expect(normaliseEmail(identity)).toBe(identity)
  })

  test.each([
    // Small letters whose capitals, or small letters of capitals, are more than one character.
    'İstanbul@example.com',
    'STRASSE@example.com',
    'ẞ@example.com',
    'ΟΔΟΣ@example.com',
    'ǰ@example.com',
    '\u212bngstrom@example.com',
    '\u1e9b\u0323@example.com',
  ])('%p is itself when typed as it is stored', (typed) => {
    const identity = normaliseEmail(typed)
    expect(identity).not.toBeNull()
    expect(normaliseEmail(identity ?? '')).toBe(identity)
  })
})

describe('no address', () => {
  test.each([
    ['empty', ''],
    ['blank', '   '],
    ['no @', 'user.example.com'],
    ['nothing before', '@example.com'],
    ['nothing after', 'user@'],
    ['only @', '@'],
    ['two @', 'a@b@example.com'],
    ['a space inside', 'us er@example.com'],
    ['a no-break space inside', 'us\u00a0er@example.com'],
    ['a line break inside', 'user@example.com\nbcc:x@example.com'],
    ['a line separator inside', 'us\u2028er@example.com'],
    ['a tab inside', 'us\ter@example.com'],
    ['NUL', 'us\0er@example.com'],
    ['a control character', 'us\u007fer@example.com'],
    ['a zero-width space', 'us\u200ber@example.com'],
    ['a zero-width joiner', 'us\u200der@example.com'],
    ['a soft hyphen', 'us\u00ader@example.com'],
    ['a right-to-left override', 'us\u202eer@example.com'],
    ['a byte-order mark inside', 'us\ufeffer@example.com'],
    ['a tag character', 'us\u{e0041}er@example.com'],
    ['half of a pair', 'us\ud83der@example.com'],
    ['a private-use character', 'us\ue000er@example.com'],
    ['an unassigned character', 'us\u0378er@example.com'],
    ['255 characters', `${'a'.repeat(243)}@example.com`],
    ['255 characters once small', `${'İ'.repeat(122)}@example.com`],
  ])('%s', (_, typed) => {
    expect(normaliseEmail(typed)).toBeNull()
  })
})
