import { requireCapable } from '../../core/regions/require.ts'
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
there is no embedded database, "serve" creates it.

With --region, for the database of verifiers in another region, it makes tables and triggers and no rows, and takes away
what the copy cannot meet. The owner of the tables runs it, before home is migrated.`,
    options: {
      region: { summary: "The database is a region's copy: make the schema alone, as a region needs it" },
    },
    async run({ config, io }, { region }) {
      const log = createLog({ logLevel: 'warn', logFormat: config.logFormat }, io.err)
      const database = await waitForDatabase(config, log)
      try {
        if (region) await requireCapable(database)
        const { pending } = await readMigrationState(database)
        const { known } = await migrate(config, database, { region })
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
