import { listSettings } from '../../config/show.ts'
import { findNewestMigration } from '../../db/migrate.ts'
import { SECOND_MS } from '../../lib/time.ts'
import { VERSION } from '../../lib/version.ts'
import type { Context } from '../context.ts'
import { findWarnings } from '../overview/warnings.ts'
import type { Instance } from './model.ts'
import { findDatabaseVersion, listInstances, upsertInstance } from './queries.ts'

/** A server writes its row this often. */
export const ANNOUNCED_EVERY_MS = 20 * SECOND_MS
/** A server that was not seen for so long is not shown. */
const SHOWN_FOR_MS = 60 * SECOND_MS

/** Writes this server's row, so that the others know of it. */
export async function announceInstance({ db, clock, instance }: Context): Promise<void> {
  const { id, startedAt } = instance
  await upsertInstance(db, { id, version: VERSION, startedAt, seenAt: new Date(clock()) })
}

/** What an operator asks about the server that answers: its settings without secrets, its database, and its neighbours. */
export async function describeInstance(context: Context): Promise<Instance> {
  const { config, db, clock, instance } = context
  const seen = await listInstances(db, new Date(clock() - SHOWN_FOR_MS))
  return {
    version: VERSION,
    started_at: instance.startedAt.toISOString(),
    database: {
      kind: instance.databaseKind,
      version: await findDatabaseVersion(db),
      migration: await findNewestMigration(db),
    },
    settings: listSettings(config),
    instances: seen.map(({ id, version, startedAt, seenAt }) => ({
      id,
      version,
      started_at: startedAt.toISOString(),
      seen_at: seenAt.toISOString(),
    })),
    warnings: await findWarnings(context),
  }
}
