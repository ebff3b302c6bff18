import type { OpenDatabase } from '../../db/database.ts'
import { decryptUnder, encryptUnder } from '../../lib/passphrase.ts'
import type { EncryptionKeys } from './encrypted-columns.ts'
import { exportRows } from './export.ts'
import { importRows } from './import.ts'
import type { RowCounts } from './model.ts'

/** A database, the keys that encrypt its signing keys, and the passphrase of the file. */
type Ends = { database: OpenDatabase; keys: EncryptionKeys; passphrase: string }

/**
 * Exports a database into an encrypted file.
 * @param save writes all bytes of the file, or throws
 */
export async function exportEncrypted(
  { database, keys, passphrase }: Ends,
  release: string,
  save: (bytes: ReadableStream<Uint8Array>) => Promise<void>,
): Promise<RowCounts> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const encrypted = await encryptUnder(passphrase, readable)
  const writer = writable.getWriter()
  const encoder = new TextEncoder()
  const exporting = exportRows(database, keys, release, (text) => writer.write(encoder.encode(text)))
  const closed = exporting.then(
    () => writer.close(),
    (error) => writer.abort(error),
  )
  // A failure on one side also ends the stream on the other side, with a less telling error. So the error of the export
  // is thrown first.
  const [saved, exported] = await Promise.allSettled([save(encrypted), exporting, closed])
  if (exported.status === 'rejected' && exported.reason instanceof Error) throw exported.reason
  if (saved.status === 'rejected') throw saved.reason
  return exporting
}

/**
 * Imports a file that `exportEncrypted` has written: all of it, or nothing.
 * @throws Error with one sentence where the passphrase is wrong, or the file is damaged or incomplete
 */
export async function importEncrypted(
  { database, keys, passphrase }: Ends,
  bytes: ReadableStream<Uint8Array>,
): Promise<RowCounts> {
  const plain = await decryptUnder(passphrase, bytes)
  if (plain === null) throw new Error('the passphrase is wrong, or the file is no export of Latchkey')
  return importRows(database, keys, linesOf(plain))
}

async function* linesOf(plain: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let text = ''
  try {
    for await (const chunk of plain) {
      const lines = (text + decoder.decode(chunk, { stream: true })).split('\n')
      text = lines.pop() ?? ''
      yield* lines
    }
  } catch (error) {
    throw new Error('the file is damaged or cut off; nothing is imported', { cause: error })
  }
}
