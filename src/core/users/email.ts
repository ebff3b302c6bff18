import { failField } from '../../lib/errors.ts'

const MAX_EMAIL_LENGTH = 254
/**
 * Decomposed characters are longer until they are composed. The bound is checked before, because composing takes time
 * that grows with the square of the length.
 */
const MAX_TYPED_LENGTH = 2 * MAX_EMAIL_LENGTH
/** One `@` with text on both sides; no spaces, control, format or unassigned characters. */
const EMAIL = /^[^@\p{C}\p{Z}]+@[^@\p{C}\p{Z}]+$/u

/**
 * The normal form of an address: trimmed, NFC, lower case. Accounts are found by it.
 * @returns null where the text is not an address
 */
export function normaliseEmail(typed: string): string | null {
  const trimmed = typed.trim()
  if (trimmed.length > MAX_TYPED_LENGTH) return null
  const email = trimmed.normalize('NFC').toLowerCase().normalize('NFC')
  return email.length <= MAX_EMAIL_LENGTH && EMAIL.test(email) ? email : null
}

/**
 * The normal form of the address of a new account, which must not look like another address. Existing and imported
 * accounts log in with the address that they have.
 * @throws Problem validation_failed where the text is not an address, or looks like another one
 */
export function requireEmail(typed: string): string {
  const email = normaliseEmail(typed)
  if (email === null) failField('/email', 'Must be an e-mail address of at most 254 characters')
  const fault = faultOfLook(email)
  return fault === null ? email : failField('/email', fault)
}

/** Why an address looks like another one, or breaks a page or a mail that contains it; null where it does not. */
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
 * The characters that a label may have in each script (UAX 31, table 5; UTS 39, section 5.1): letters and accents of
 * the script, the digits and signs of ASCII, and emoji.
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
  // Languages that mix several scripts: Japanese, Korean, Chinese.
  ...['Hani Hira Kana', 'Hani Hang', 'Hani Bopo'],
].map((names) => consistingOf(names.replace(/\w+/g, '\\p{scx=$&}').replaceAll(' ', '')))

/**
 * In these scripts, an accent that stays separate in NFC, and a letter without a capital, look like other characters.
 */
const SCRIPTS_WITHOUT_ACCENTS = ['Latn', 'Grek', 'Cyrl'].map((name) =>
  consistingOf(`[\\p{scx=${name}}&&\\p{Ll}]`),
)

function consistingOf(letters: string): RegExp {
  return new RegExp(`^[${letters}[[!-~]--[A-Za-z]]\\p{Emoji_Presentation}]+$`, 'v')
}
