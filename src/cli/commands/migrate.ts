import { migrate, readMigrationState } from '../../db/migrate.ts'
import { createLog } from '../../lib/log.ts'
import { waitForDatabase } from '../../server/wait-for-database.ts'
import { defineCommand } from '../command.ts'

/** `latchkey migrate`. */
export const commands = {
  migrate: defineCommand({
    kind: 'local',
    details: `
Only adds to the schema "latchkey", so an older release goes on working meanwhile. Several may run at once. "serve"
does the same by itself, unless MIGRATE is check. A server that holds an embedded database has migrated it already;
where there is none, "serve" makes it.`,
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
