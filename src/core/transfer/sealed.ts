import type { DerivedKeys } from '../../lib/derived-keys.ts'
import { decrypt, encrypt } from '../../lib/encrypt.ts'

export type SealingKeys = Pick<DerivedKeys, 'signing'>

/** The columns that are encrypted under a key derived from SECRET_KEY; the row's id is the label. */
const SEALED: Readonly<Record<string, string>> = { signing_keys: 'private_key' }

type Row = Record<string, unknown> & { id: string }

/**
 * A row as it is exported: what SECRET_KEY encrypts is decrypted.
 * @throws Error with one sentence where SECRET_KEY does not
 */
export function openRow(keys: SealingKeys, table: string, row: string): string {
  return mapSealed(table, row, (value, id) => {
    const opened = decrypt(keys.signing, id, Buffer.from(value.slice('\\x'.length), 'hex'))
    if (opened !== null) return opened
    throw new Error('SECRET_KEY does not open the stored signing keys: set the one that made them')
  })
}

/** A row as it is imported: encrypted under the present SECRET_KEY. */
export function sealRow(keys: SealingKeys, table: string, row: string): string {
  return mapSealed(table, row, (value, id) => {
    const [key] = keys.signing
    if (!key) throw new Error('SECRET_KEY is not set')
    return `\\x${Buffer.from(encrypt(key, id, value)).toString('hex')}`
  })
}

/** Rows of other tables stay the text that they are: to parse them would round their numbers. */
function mapSealed(table: string, row: string, map: (value: string, id: string) => string): string {
  const column = SEALED[table]
  if (column === undefined) return row
  const parsed = JSON.parse(row) as Row
  return JSON.stringify({ ...parsed, [column]: map(String(parsed[column]), parsed.id) })
}
