import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { weaknessOf } from '../config/secrets.ts'
import { OTHERS, requireTrust } from '../config/trust.ts'
import { KEPT_KEY } from '../db/embedded/replacement.ts'
import { type Secret, secret } from '../lib/secret.ts'
import { writeDurably } from './durable-file.ts'

const KEY_BYTES = 48

/** The path of the kept key. */
export const secretKeyPath = (dataDir: string) => join(dataDir, KEPT_KEY)

/**
 * Reads the SECRET_KEY of an embedded database, which the first start creates in DATA_DIR. The caller holds
 * the database's lock, so that only one process creates a key.
 * @param creates false: the key has to exist
 * @throws Error with one sentence if the file holds no strong key, or others may read or write it
 *   (docs/decisions/0032). It is not replaced, because a new key would end every session.
 */
export async function keepSecretKey(dataDir: string, creates: boolean): Promise<Secret> {
  const path = secretKeyPath(dataDir)
  const kept = readKept(path)
  if (kept === null && !creates) {
    throw new Error(`${path} is missing: set the SECRET_KEY that the server has, or start the server once`)
  }
  if (kept === null) {
    const made = randomBytes(KEY_BYTES).toString('base64')
    await writeDurably(path, [Buffer.from(`${made}\n`)])
    return secret(made)
  }
  if (weaknessOf(kept) !== null) {
    throw new Error(`${path} is damaged: restore it from a backup, or remove it, which ends every session`)
  }
  requireTrust(path, path, OTHERS.readOrWrite)
  return secret(kept)
}

function readKept(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw error
  }
}
