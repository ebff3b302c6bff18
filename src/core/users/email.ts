import { failField } from '../../lib/errors.ts'

const MAX_EMAIL_LENGTH = 254
/** Decomposed characters take more room until they are composed, and composing takes the square of the length. */
const MAX_TYPED_LENGTH = 2 * MAX_EMAIL_LENGTH
/** One `@` with something on both sides; no spaces, no control, format or unassigned characters. */
const EMAIL = /^[^@\p{C}\p{Z}]+@[^@\p{C}\p{Z}]+$/u

/**
 * The identity behind an address as typed: trimmed, NFC, lower case.
 * @returns null where it is no address
 */
export function normaliseEmail(typed: string): string | null {
  const trimmed = typed.trim()
  if (trimmed.length > MAX_TYPED_LENGTH) return null
  const email = trimmed.normalize('NFC').toLowerCase().normalize('NFC')
  return email.length <= MAX_EMAIL_LENGTH && EMAIL.test(email) ? email : null
}

/**
 * The identity behind the address of a new account, which must not pass for another one. Accounts that are there already, or
 * are imported, log in with whatever address they have.
 * @throws Problem validation_failed where it is no address, or looks like another one
 */
export function requireEmail(typed: string): string {
  const email = normaliseEmail(typed)
  if (email === null) failField('/email', 'Must be an e-mail address of at most 254 characters')
  const fault = faultOfLook(email)
  return fault === null ? email : failField('/email', fault)
}

/** What makes an address look like another one, or break a page or a mail that shows it. */
function faultOfLook(email: string): string | null {
  if (/[<>&"`]/.test(email)) return 'Must not contain any of < > & " `'
  const labels = email.split(/[.@]/)
  if (labels.includes('')) return 'Must not have a dot at the beginning or the end of a part, or two in a row'
  if (email.normalize('NFKC') !== email)
    return 'Must not contain variants of other characters, such as ligatures'
  const isOfOneScript = (label: string) =>
    [...SCRIPTS_WITHOUT_ACCENTS, ...SCRIPTS].some((script) => script.test(label))
  return labels.every(isOfOneScript)
    ? null
    : 'Must be written in one script between two dots, without signs beyond ASCII'
}

/**
 * What a label may consist of, by the script that it is written in (UAX 31, table 5; UTS 39, section 5.1): letters and
 * accents of that script, and beside them ASCII's digits and signs, and emoji.
 */
const SCRIPTS = [
  ...[
    'Arab',
    'Armn',
    'Beng',
    'Deva',
    'Ethi',
    'Geor',
    'Gujr',
    'Guru',
    'Hebr',
    'Khmr',
    'Knda',
    'Laoo',
    'Mlym',
    'Mymr',
  ],
  ...['Orya', 'Sinh', 'Taml', 'Telu', 'Thaa', 'Thai', 'Tibt'],
  // Written in several scripts at once: Japanese, Korean, Chinese.
  ...['Hani Hira Kana', 'Hani Hang', 'Hani Bopo'],
].map((names) => consistingOf(names.replace(/\w+/g, '\\p{scx=$&}').replaceAll(' ', '')))

/** Of these an accent that stands alone after NFC, or a letter that has no capital, looks like something else. */
const SCRIPTS_WITHOUT_ACCENTS = ['Latn', 'Grek', 'Cyrl'].map((name) =>
  consistingOf(`[\\p{scx=${name}}&&\\p{Ll}]`),
)

function consistingOf(letters: string): RegExp {
  return new RegExp(`^[${letters}[[!-~]--[A-Za-z]]\\p{Emoji_Presentation}]+$`, 'v')
}
