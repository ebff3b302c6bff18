import { describe, expect, test } from 'bun:test'
import { normaliseEmail, requireEmail } from '../../src/core/users/email.ts'

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
    // A person who types the stored form finds the same account.
    expect(normaliseEmail(identity)).toBe(identity)
  })

  test.each([
    // Letters whose other case has more than one character.
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

describe('the address of a new account', () => {
  test.each([
    'user@example.com',
    "o'hara+tag@localhost",
    'ka-1_x!#$%*/=?^{|}~@example.com',
    '🔑@example.com',
    'jörg7@bücher.example',
    'nguyễn@example.com',
    'почта@пример.рф',
    'иван.petrov@example.com',
    'δοκιμή@παράδειγμα.gr',
    'שלום@example.com',
    'مثال٥@مثال.com',
    'राम@उदाहरण.भारत',
    'ทดสอบ@example.co.th',
    '用户@例え.jp',
    '日本のメール7@例え.jp',
    '김철수金@예.kr',
  ])('may be %p', (typed) => {
    expect(requireEmail(typed)).toBe(typed)
  })

  test.each([
    ['Cyrillic among Latin letters', '\u0430dmin@example.com', 'script'],
    ['the same in the domain', 'user@r\u0430ypal.com', 'script'],
    ['Greek among Latin letters', 'g\u03bfogle@example.com', 'script'],
    ['a digit of another script', 'adm\u09ean@example.com', 'script'],
    ['an accent that stands alone', 'm\u0130crosoft@example.com', 'script'],
    ['an accent without a letter of its own', 'x\u0327@example.com', 'script'],
    ['another hyphen', 'pay\u2010pal@example.com', 'script'],
    ['another apostrophe', 'o\u02bchara@example.com', 'script'],
    ['a stroke that is a letter', 'a\u01c0b@example.com', 'script'],
    ['a script that no language of today is written in', '\u13aa\u13be@example.com', 'script'],
    ['full width', '\uff41dmin@example.com', 'variants'],
    ['a ligature', 'o\ufb03ce@example.com', 'variants'],
    ['a superscript', 'admin\u00b2@example.com', 'variants'],
    ['another dot', 'user@example\u2024com', 'variants'],
    ['a dot at the end', 'user@example.com.', 'dot'],
    ['a dot before the @', 'user.@example.com', 'dot'],
    ['a dot at the beginning', '.user@example.com', 'dot'],
    ['two dots', 'us..er@example.com', 'dot'],
    ['a tag', '<b>@example.com', '<'],
    ['an entity', 'a&amp;b@example.com', '<'],
    ['quotes', '"a"@example.com', '<'],
    ['a backtick', 'a`b@example.com', '<'],
  ])('is no look-alike: %s', (_, typed, told) => {
    expect(() => requireEmail(typed)).toThrow(
      expect.objectContaining({
        problem: 'validation_failed',
        extra: { errors: [{ path: '/email', message: expect.stringContaining(told) }] },
      }),
    )
    // The owner of an account with this e-mail can log in.
    expect(normaliseEmail(typed)).not.toBeNull()
  })
})
