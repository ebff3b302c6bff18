import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { weaknessOf } from '../config/secrets.ts'
import { OTHERS, requireTrust } from '../config/trust.ts'
import { KEPT_KEY } from '../db/embedded/replacement.ts'
import { type Secret, secret } from '../lib/secret.ts'
import { writeDurably } from './durable-file.ts'

const KEY_BYTES = 48

/** Where it is kept. */
export const secretKeyPath = (dataDir: string) => join(dataDir, KEPT_KEY)

/**
 * The key of an embedded database, made at its first start and kept beside it. The caller holds the database's lock, so
 * that no two make one.
 * @param creates false: the key has to be there
 * @throws Error with one sentence where the file holds no good key (a new one would end every session), or is for others
 * to read or write
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
