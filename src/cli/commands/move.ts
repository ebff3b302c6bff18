import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Config } from '../../config/config.ts'
import { exportEncrypted, importEncrypted } from '../../core/transfer/file.ts'
import type { RowCounts } from '../../core/transfer/model.ts'
import type { OpenDatabase } from '../../db/database.ts'
import { hasEmbedded, replaceEmbedded } from '../../db/embedded/directory.ts'
import { openDatabase } from '../../db/open.ts'
import { type DerivedKeys, deriveKeys } from '../../lib/derived-keys.ts'
import type { Log } from '../../lib/log.ts'
import { VERSION } from '../../lib/version.ts'
import { openBackup, readBackup } from '../../server/backup.ts'
import { askServer, retryWhileHeld } from '../../server/control-client.ts'
import { writeDurably } from '../../server/durable-file.ts'
import { bringUpToDate, withSecretKey } from '../../server/open.ts'
import { defineCommand } from '../command.ts'
import { readPassphrase } from '../password.ts'
import { table } from '../terminal.ts'
import { commandLog } from '../with-service.ts'

const passphraseStdin = { summary: 'Read the passphrase from standard input' }

/** `latchkey export` and `latchkey import --from`. */
export const commands = {
  export: defineCommand({
    kind: 'local',
    details: `
Writes all data at one moment, for a database of either kind: users with their passwords, keys, service accounts,
sessions, signing keys, audit trail, usage. Servers continue to serve. The file is encrypted with a passphrase, in the
format of age, and only its owner may read it. The passphrase is that of LATCHKEY_PASSPHRASE (or of the file
LATCHKEY_PASSPHRASE_FILE), else it is asked for. With --passphrase-stdin it is all of standard input, without the line
break at the end. All steps are in docs/moving.md.`,
    examples: ['export --to latchkey.age', 'export --to latchkey.age --passphrase-stdin < passphrase.txt'],
    options: {
      to: { takes: 'FILE', required: true, summary: 'Where to write it' },
      'passphrase-stdin': passphraseStdin,
    },
    async run({ config, io }, { to, 'passphrase-stdin': fromStdin }) {
      const passphrase = await readPassphrase(io, config, { fromStdin, isNew: true })
      const log = commandLog(config, io)
      const rows = await readingFrom(config, log, (database, keys) =>
        exportEncrypted({ database, keys, passphrase }, VERSION, (bytes) => writeDurably(to, bytes)),
      )
      log.flush()
      return { path: resolve(to), rows }
    },
    show: ({ path, rows }) => `${showRows(rows)}\nThe export is in ${path}.`,
  }),

  import: defineCommand({
    kind: 'local',
    details: `
Imports everything or nothing, into an empty database: that of DATABASE_URL, or without it a new one in DATA_DIR. No
server may have that database open. The release must be the one that made the export. API keys, passwords and access
tokens stay valid, and so do refresh tokens if SECRET_KEY is the same. Signing keys are encrypted with the SECRET_KEY of
this database. The passphrase is that of LATCHKEY_PASSPHRASE (or of the file LATCHKEY_PASSPHRASE_FILE), else it is asked
for. With --passphrase-stdin it is all of standard input, without the line break at the end. All steps are in
docs/moving.md. "import seed", "import users" and "import keys" import from other services.`,
    examples: [
      'import --from latchkey.age',
      'import --from latchkey.age --passphrase-stdin < passphrase.txt',
    ],
    options: {
      from: { takes: 'FILE', required: true, summary: 'An export' },
      'passphrase-stdin': passphraseStdin,
    },
    async run({ config, io }, { from, 'passphrase-stdin': fromStdin }) {
      const passphrase = await readPassphrase(io, config, { fromStdin, isNew: false })
      const log = commandLog(config, io)
      const rows = await writingTo(config, log, (database, keys) =>
        importEncrypted({ database, keys, passphrase }, Bun.file(from).stream()),
      )
      log.flush()
      return { rows }
    },
    show: ({ rows }) => `${showRows(rows)}\nAll of it is imported.`,
  }),
}

const showRows = (rows: RowCounts) =>
  table(
    ['TABLE', 'ROWS'],
    Object.entries(rows).map(([name, count]) => [name, String(count)]),
  )

type Work<T> = (database: OpenDatabase, keys: DerivedKeys) => Promise<T>

/** Reads from the database. If a server has an embedded database open, reads from a copy. */
function readingFrom<T>(config: Config, log: Log, work: Work<T>): Promise<T> {
  if (config.databaseUrl !== null) return open(config, log, work, false)
  return retryWhileHeld(async () => {
    const request = { command: 'backup', argv: ['--to', 'export'], input: null }
    const answer = await askServer(config.dataDir, request, () => {})
    if (answer === null) return open(config, log, work, false)
    if ('error' in answer) throw new Error(answer.error)
    return readingCopy(config, log, (answer.result as { path: string }).path, work)
  })
}

async function readingCopy<T>(config: Config, log: Log, path: string, work: Work<T>): Promise<T> {
  const dataDir = mkdtempSync(join(tmpdir(), 'latchkey-export-'))
  try {
    const backup = await readBackup(path).finally(() => rmSync(path, { force: true }))
    return await openBackup({ ...config, dataDir }, backup, log, (database, withKey) =>
      work(database, keysOf(withKey)),
    )
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
}

/** Opens the database for writing. A new embedded database is put into place only when it is complete. */
function writingTo<T>(config: Config, log: Log, work: Work<T>): Promise<T> {
  if (config.databaseUrl !== null || hasEmbedded(config.dataDir)) return open(config, log, work, false)
  return replaceEmbedded(config.dataDir, (dataDir) => open({ ...config, dataDir }, log, work, true))
}

function keysOf({ secretKey, secretKeyPrevious }: Config): DerivedKeys {
  if (secretKey === null) throw new Error('SECRET_KEY is not set')
  return deriveKeys(secretKey, secretKeyPrevious)
}

async function open<T>(config: Config, log: Log, work: Work<T>, creates: boolean): Promise<T> {
  const database = await openDatabase(config, log, { creates })
  try {
    await bringUpToDate(config, database, log)
    return await work(database, keysOf(await withSecretKey(config, creates)))
  } finally {
    await database.close()
  }
}
