import type { DerivedKeys } from '../../lib/derived-keys.ts'
import { decrypt, encrypt } from '../../lib/encrypt.ts'

/** The keys, derived from SECRET_KEY, that encrypt the columns below. */
export type EncryptionKeys = Pick<DerivedKeys, 'signing' | 'totp'>

/**
 * The columns that are encrypted with a key derived from SECRET_KEY, by table. The id of the row is authenticated with
 * the value, so that a value cannot be moved to another row.
 */
const ENCRYPTED: Readonly<Record<string, { column: string; purpose: keyof EncryptionKeys }>> = {
  signing_keys: { column: 'private_key', purpose: 'signing' },
  totp_secrets: { column: 'secret', purpose: 'totp' },
}

type Row = Record<string, unknown> & { id: string }

/**
 * The row as it is exported, with its encrypted column decrypted.
 * @throws Error with one sentence where SECRET_KEY does not decrypt it
 */
export function decryptRow(keys: EncryptionKeys, table: string, row: string): string {
  return mapEncrypted(table, row, (value, id, purpose) => {
    const decrypted = decrypt(keys[purpose], id, Buffer.from(value.slice('\\x'.length), 'hex'))
    if (decrypted !== null) return decrypted
    throw new Error(
      'SECRET_KEY does not open the stored signing keys and TOTP secrets: set the one that made them',
    )
  })
}

/** The row as it is imported, with its column encrypted under the present SECRET_KEY. */
export function encryptRow(keys: EncryptionKeys, table: string, row: string): string {
  return mapEncrypted(table, row, (value, id, purpose) => {
    const [key] = keys[purpose]
    if (!key) throw new Error('SECRET_KEY is not set')
    return `\\x${Buffer.from(encrypt(key, id, value)).toString('hex')}`
  })
}

/**
 * Replaces the encrypted column of a row. Rows of other tables stay unparsed text, because parsing would round large
 * numbers.
 */
function mapEncrypted(
  table: string,
  row: string,
  map: (value: string, id: string, purpose: keyof EncryptionKeys) => string,
): string {
  const encrypted = ENCRYPTED[table]
  if (encrypted === undefined) return row
  const { column, purpose } = encrypted
  const parsed = JSON.parse(row) as Row
  return JSON.stringify({ ...parsed, [column]: map(String(parsed[column]), parsed.id, purpose) })
}
