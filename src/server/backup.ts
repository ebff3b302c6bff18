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
/** The requests in flight have 30 seconds to end. */
const REPLACED_WITHIN_MS = 60_000
/** What passes between a command and the server, which may see other folders (in a container, or a unit of systemd). */
const TRANSFER = 'transfer-'

/** What a backup says of itself. */
const Manifest = Type.Object({
  format: Type.Literal(FORMAT),
  release: Type.String(),
  made_at: Type.String(),
})

/** A backup as far as it is read: the database as it was, and the SECRET_KEY that was kept beside it. */
export type Backup = { release: string; madeAt: string; database: Blob; key: string | null }

/** A path in DATA_DIR for a file that the other side takes and removes. */
export const transferPath = (dataDir: string) => join(dataDir, `${TRANSFER}${crypto.randomUUID()}`)

/** Removes what a command that was cut has left. The caller holds the database's lock. */
export function removeTransfers(dataDir: string): void {
  for (const name of readdirSync(dataDir)) if (name.startsWith(TRANSFER)) rmSync(join(dataDir, name))
}

/**
 * Writes a backup of an embedded database, which goes on working meanwhile, to a file in DATA_DIR.
 * @returns its path; the caller takes and removes it
 * @throws Error with one sentence for a PostgreSQL, which has means of its own
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
 * @throws Error with one sentence where the file is none, or damaged
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
  // Unpacked here, since PGlite rejects a promise of its own over a checksum that is wrong, which would end a server.
  const tar = await new Response(packed.stream().pipeThrough(new DecompressionStream('gzip'))).blob()
  const database = new File([tar], 'database.tar', { type: 'application/x-tar' })
  const key = (await files.get(FILES.key)?.text()) ?? null
  return { release: manifest.release, madeAt: manifest.made_at, database, key }
}

/**
 * Opens what a backup holds in another directory, for as long as the work takes.
 * @param config names that directory as its `dataDir`
 * @throws Error with one sentence where it is damaged, of a newer Latchkey, or needs another SECRET_KEY
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

/** Waits until the server that was asked to has put a restored database in its place. */
export async function untilReplaced(dataDir: string): Promise<void> {
  const givesUpAt = Date.now() + REPLACED_WITHIN_MS
  while (hasReplacement(dataDir)) {
    if (Date.now() > givesUpAt) {
      throw new Error('the server has not started again yet; the restored database is used when it does')
    }
    await Bun.sleep(50)
  }
}

/** Whether a path is one of `transferPath`: a server removes no other file that it is told of. */
export const isTransfer = (path: string, dataDir: string) =>
  path === join(dataDir, basename(path)) && basename(path).startsWith(TRANSFER)
