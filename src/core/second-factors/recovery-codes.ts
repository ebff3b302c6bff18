import { randomBytes } from 'node:crypto'

const CODES = 10
const CODE_BYTES = 10
const GROUP = /.{4}(?=.)/g

/** Crockford's base32: no I, L, O and U. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** Ten new recovery codes of 80 random bits each, as people see them. */
export const makeRecoveryCodes = (): string[] =>
  Array.from({ length: CODES }, () => spell(randomBytes(CODE_BYTES)).replace(GROUP, '$&-'))

/** The SHA-256 of the user's id and a code, as stored. Case, blanks and hyphens do not matter, nor O for 0, I and L for 1. */
export function hashRecoveryCode(userId: string, typed: string): Uint8Array {
  const code = typed.toUpperCase().replace(/[\s-]/g, '').replaceAll('O', '0').replace(/[IL]/g, '1')
  return Bun.SHA256.hash(`${userId} ${code}`) as Uint8Array
}

function spell(bytes: Uint8Array): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  return (bits.match(/.{5}/g) ?? []).map((five) => ALPHABET[Number.parseInt(five, 2)]).join('')
}
