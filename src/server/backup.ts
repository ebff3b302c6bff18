import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { Config } from '../config/config.ts'
import { assertSecretKeyFits } from '../core/signing/signing-keys.ts'
import type { OpenDatabase } from '../db/database.ts'
import { hasReplacement, KEPT_KEY } from '../db/embedded/replacement.ts'
import { openDatabase } from '../db/open.ts'
import { deriveKeys } from '../lib/derived-keys.ts'
import type { Log } from '../lib/log.ts'
import { bringUpToDate, withSecretKey } from './open.ts'
import { secretKeyPath } from './secret-key.ts'

const FORMAT = 'latchkey backup 1'
const FILES = { manifest: 'latchkey-backup.json', database: 'database.tar.gz', key: KEPT_KEY }
const OWNER_ONLY = 0o600
/**
 * How long a command waits for the server to put a restored database into place. Requests in flight have 30
 * seconds to end.
 */
const REPLACED_WITHIN_MS = 60_000
/**
 * The prefix of files that a command and the server exchange in DATA_DIR. The two may see different folders
 * elsewhere, as in a container or a systemd unit.
 */
const TRANSFER = 'transfer-'

/** The description that a backup contains of itself. */
const Manifest = Type.Object({
  format: Type.Literal(FORMAT),
  release: Type.String(),
  made_at: Type.String(),
})

/** The content of a backup: the database, and the SECRET_KEY that was kept beside it. */
export type Backup = { release: string; madeAt: string; database: Blob; key: string | null }

/** A path in DATA_DIR for a file that the other process takes and removes. */
export const transferPath = (dataDir: string) => join(dataDir, `${TRANSFER}${crypto.randomUUID()}`)

/** Removes files that interrupted commands left behind. The caller holds the database's lock. */
export function removeTransfers(dataDir: string): void {
  for (const name of readdirSync(dataDir)) if (name.startsWith(TRANSFER)) rmSync(join(dataDir, name))
}

/**
 * Writes a backup of an embedded database to a file in DATA_DIR. The database stays in use meanwhile.
 * @returns the file's path; the caller takes and removes the file
 * @throws Error with one sentence for PostgreSQL, which has its own tools for backups
 */
export async function makeBackup(
  database: OpenDatabase,
  { dataDir }: Pick<Config, 'dataDir'>,
  release: string,
): Promise<string> {
  if (database.dump === null) throw new Error(NOT_EMBEDDED)
  const manifest = { format: FORMAT, release, made_at: new Date().toISOString() }
  const key = secretKeyPath(dataDir)
  const files = {
    [FILES.manifest]: `${JSON.stringify(manifest)}\n`,
    ...(existsSync(key) && { [FILES.key]: readFileSync(key, 'utf8') }),
    [FILES.database]: await database.dump(),
  }
  const path = transferPath(dataDir)
  writeFileSync(path, await new Bun.Archive(files).bytes(), { mode: OWNER_ONLY, flag: 'wx' })
  return path
}

export const NOT_EMBEDDED =
  'DATABASE_URL is set, and a PostgreSQL has means of its own: pg_dump and pg_restore (docs/moving.md)'

/**
 * Reads a backup.
 * @throws Error with one sentence if the file is not a backup, or is damaged
 */
export async function readBackup(path: string): Promise<Backup> {
  const bytes = await Bun.file(path).bytes()
  try {
    return await unpack(bytes)
  } catch (error) {
    throw new Error(NO_BACKUP, { cause: error })
  }
}

const NO_BACKUP = 'the file is damaged, or no backup of Latchkey; nothing is changed'

async function unpack(bytes: Uint8Array<ArrayBuffer>): Promise<Backup> {
  const files = await new Bun.Archive(bytes).files()
  const manifest = Value.Decode(Manifest, await files.get(FILES.manifest)?.json())
  const packed = files.get(FILES.database)
  if (!packed) throw new Error('There is no database in it')
  // Decompressed here. For a wrong checksum PGlite rejects a promise that no code can catch, which would end
  // a server.
  const tar = await new Response(packed.stream().pipeThrough(new DecompressionStream('gzip'))).blob()
  const database = new File([tar], 'database.tar', { type: 'application/x-tar' })
  const key = (await files.get(FILES.key)?.text()) ?? null
  return { release: manifest.release, madeAt: manifest.made_at, database, key }
}

/**
 * Opens the database of a backup in another directory while `work` runs.
 * @param config its `dataDir` is that directory
 * @throws Error with one sentence if the backup is damaged, comes from a newer Latchkey, or needs another
 *   SECRET_KEY
 */
export async function openBackup<T>(
  config: Config,
  backup: Backup,
  log: Log,
  work: (database: OpenDatabase, config: Config) => Promise<T>,
): Promise<T> {
  if (backup.key !== null) writeFileSync(secretKeyPath(config.dataDir), backup.key, { mode: OWNER_ONLY })
  const withKey = await withSecretKey(config, false)
  const database = await openDatabase(withKey, log, { creates: true, snapshot: backup.database }).catch(
    (error) => {
      throw new Error(NO_BACKUP, { cause: error })
    },
  )
  try {
    await bringUpToDate(withKey, database, log)
    if (withKey.secretKey) {
      await assertSecretKeyFits(database.db, deriveKeys(withKey.secretKey, withKey.secretKeyPrevious))
    }
    return await work(database, withKey)
  } finally {
    await database.close()
  }
}

/**
 * Waits until the server has put a restored database into place.
 * @throws Error with one sentence if that takes too long
 */
export async function untilReplaced(dataDir: string): Promise<void> {
  const givesUpAt = Date.now() + REPLACED_WITHIN_MS
  while (hasReplacement(dataDir)) {
    if (Date.now() > givesUpAt) {
      throw new Error('the server has not started again yet; the restored database is used when it does')
    }
    await Bun.sleep(50)
  }
}

/** Whether a path was made by `transferPath`. A server removes no other file at a command's request. */
export const isTransfer = (path: string, dataDir: string) =>
  path === join(dataDir, basename(path)) && basename(path).startsWith(TRANSFER)
