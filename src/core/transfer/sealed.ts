import type { DerivedKeys } from '../../lib/derived-keys.ts'
import { decrypt, encrypt } from '../../lib/encrypt.ts'

export type SealingKeys = Pick<DerivedKeys, 'signing' | 'totp'>

/** The columns that are encrypted under a key derived from SECRET_KEY, and which key; the row's id is the label. */
const SEALED: Readonly<Record<string, { column: string; purpose: keyof SealingKeys }>> = {
  signing_keys: { column: 'private_key', purpose: 'signing' },
  totp_secrets: { column: 'secret', purpose: 'totp' },
}

type Row = Record<string, unknown> & { id: string }

/**
 * A row as it is exported: what SECRET_KEY encrypts is decrypted.
 * @throws Error with one sentence where SECRET_KEY does not
 */
export function openRow(keys: SealingKeys, table: string, row: string): string {
  return mapSealed(table, row, (value, id, purpose) => {
    const opened = decrypt(keys[purpose], id, Buffer.from(value.slice('\\x'.length), 'hex'))
    if (opened !== null) return opened
    throw new Error(
      'SECRET_KEY does not open the stored signing keys and TOTP secrets: set the one that made them',
    )
  })
}

/** A row as it is imported: encrypted under the present SECRET_KEY. */
export function sealRow(keys: SealingKeys, table: string, row: string): string {
  return mapSealed(table, row, (value, id, purpose) => {
    const [key] = keys[purpose]
    if (!key) throw new Error('SECRET_KEY is not set')
    return `\\x${Buffer.from(encrypt(key, id, value)).toString('hex')}`
  })
}

/** Rows of other tables stay the text that they are: to parse them would round their numbers. */
function mapSealed(
  table: string,
  row: string,
  map: (value: string, id: string, purpose: keyof SealingKeys) => string,
): string {
  const sealed = SEALED[table]
  if (sealed === undefined) return row
  const { column, purpose } = sealed
  const parsed = JSON.parse(row) as Row
  return JSON.stringify({ ...parsed, [column]: map(String(parsed[column]), parsed.id, purpose) })
}
