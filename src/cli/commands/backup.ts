import { copyFileSync, existsSync, rmSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Config } from '../../config/config.ts'
import { replaceEmbedded } from '../../db/embedded/directory.ts'
import { stageReplacement } from '../../db/embedded/replacement.ts'
import type { Log } from '../../lib/log.ts'
import { VERSION } from '../../lib/version.ts'
import {
  type Backup,
  isTransfer,
  makeBackup,
  NOT_EMBEDDED,
  openBackup,
  readBackup,
  transferPath,
  untilReplaced,
} from '../../server/backup.ts'
import { controlPath } from '../../server/control-client.ts'
import { writeDurably } from '../../server/durable-file.ts'
import { defineCommand } from '../command.ts'

/** `latchkey backup` and `latchkey restore`. */
export const commands = {
  backup: defineCommand({
    kind: 'service',
    details: `
For the embedded database. For PostgreSQL use its own tools. A running server continues to serve. FILE is a tar archive
that only its owner may read. It contains all data, and the SECRET_KEY that is kept in DATA_DIR. A person with that key
can sign tokens, so store the file as safely as a password. A SECRET_KEY that you have set yourself is not in it. An
existing FILE is replaced when the new one is complete.`,
    examples: ['backup --to latchkey-2026-11-27.backup'],
    options: { to: { takes: 'FILE', required: true, summary: 'Where to write it' } },
    run: async ({ config }, _args, _input, _tell, { database }) => ({
      path: await makeBackup(database, config, VERSION),
    }),
    async finish(result, { to }) {
      try {
        await writeDurably(to, Bun.file(result.path).stream())
      } finally {
        rmSync(result.path, { force: true })
      }
      return { path: resolve(to) }
    },
    show: ({ path }) => `The backup is in ${path}.`,
  }),

  restore: defineCommand({
    kind: 'service',
    details: `
Replaces the embedded database and the SECRET_KEY in DATA_DIR by a backup. All later changes are lost. Creates the
database if there is none. A running server finishes the requests in flight and starts again with the backup, in the
same process. The replaced database is in DATA_DIR/replaced until the next restore. Sessions that ended after the backup
are active again: "latchkey sessions end --all" ends all sessions.`,
    examples: ['restore --from latchkey-2026-11-27.backup'],
    options: { from: { takes: 'FILE', required: true, summary: 'A backup' } },
    readInput: async (_io, { from }, config) => offer(resolve(from), config),
    async run({ config, log }, _args, input, _tell, { restart }) {
      const backup = await takeOffered(input, config)
      await stageReplacement(config.dataDir, fillFrom(backup, config, log))
      restart?.()
      return { release: backup.release, made_at: backup.madeAt }
    },
    async runAlone(config, log, input) {
      if (config.databaseUrl !== null) throw new Error(NOT_EMBEDDED)
      const backup = await takeOffered(input, config)
      await replaceEmbedded(config.dataDir, fillFrom(backup, config, log))
      return { release: backup.release, made_at: backup.madeAt }
    },
    async finish(result, _args, { dataDir }) {
      await untilReplaced(dataDir)
      return result
    },
    show: ({ release, made_at }) => `Restored what Latchkey ${release} held at ${made_at}.`,
  }),
}

/** Fills a directory with the database of a backup, after checking that it opens. */
const fillFrom = (backup: Backup, config: Config, log: Log) => (dataDir: string) =>
  openBackup({ ...config, dataDir }, backup, log, async () => {})

/**
 * Copies a file to where a running server can read it. The server may see different folders than the command.
 */
async function offer(file: string, { databaseUrl, dataDir }: Config): Promise<string> {
  if (databaseUrl !== null || !existsSync(controlPath(dataDir))) return file
  const offered = transferPath(dataDir)
  copyFileSync(file, offered)
  return offered
}

async function takeOffered(path: string | null, { dataDir }: Config): Promise<Backup> {
  if (path === null) throw new Error('--from is missing')
  try {
    return await readBackup(path)
  } finally {
    if (isTransfer(path, dataDir)) rmSync(path, { force: true })
  }
}
