import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { weaknessOf } from '../config/secrets.ts'
import { OTHERS, requireTrust } from '../config/trust.ts'
import { type Secret, secret } from '../lib/secret.ts'

const FILE = 'secret_key'
const KEY_BYTES = 48
const OWNER_ONLY = 0o600

/**
 * The key of an embedded database, made at its first start and kept beside it. Whoever calls holds the database's
 * lock, so that no two make one.
 * @throws Error with one sentence where the file is there and holds no good key (a new one would end every session), or
 * is for others to read or write
 */
export function keepSecretKey(dataDir: string): Secret {
  const path = join(dataDir, FILE)
  const kept = readKept(path)
  if (kept === null) {
    const made = randomBytes(KEY_BYTES).toString('base64')
    writeDurably(dataDir, path, `${made}\n`)
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

/** Aside, then renamed, so that a crash leaves the whole file or none. */
function writeDurably(directory: string, path: string, text: string): void {
  const aside = `${path}.new`
  rmSync(aside, { force: true })
  const file = openSync(aside, 'wx', OWNER_ONLY)
  try {
    writeSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(aside, path)
  const entries = openSync(directory, 'r')
  try {
    fsyncSync(entries)
  } finally {
    closeSync(entries)
  }
}
