import { migrate, readMigrationState } from '../../db/migrate.ts'
import { createLog } from '../../lib/log.ts'
import { waitForDatabase } from '../../server/wait-for-database.ts'
import { defineCommand } from '../command.ts'

/** `latchkey migrate`. */
export const commands = {
  migrate: defineCommand({
    kind: 'local',
    details: `
Only adds to the schema "latchkey", so servers of an older release continue to work. Several migrations may be started
at once. "serve" migrates too, unless MIGRATE is check. A server with an embedded database has already migrated it; if
there is no embedded database, "serve" creates it.`,
    async run({ config, io }) {
      const log = createLog({ logLevel: 'warn', logFormat: config.logFormat }, io.err)
      const database = await waitForDatabase(config, log)
      try {
        const { pending } = await readMigrationState(database)
        const { known } = await migrate(config, database)
        return { applied: pending, known }
      } finally {
        await database.close()
        log.flush()
      }
    },
    show: ({ applied, known }) =>
      applied === 0
        ? `Nothing to do: all ${known} migrations are in.`
        : `${applied} of ${known} migrations applied.`,
  }),
}
