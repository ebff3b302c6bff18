import { asc, gte, sql } from 'drizzle-orm'
import { instances } from '../../db/console.ts'
import type { Database } from '../../db/database.ts'

export type InstanceRow = typeof instances.$inferSelect

export async function upsertInstance(db: Database, instance: InstanceRow): Promise<void> {
  await db
    .insert(instances)
    .values(instance)
    .onConflictDoUpdate({ target: instances.id, set: { seenAt: instance.seenAt } })
}

/** The servers that were seen since a time, those that run longest first. */
export function listInstances(db: Database, since: Date): Promise<InstanceRow[]> {
  return db
    .select()
    .from(instances)
    .where(gte(instances.seenAt, since))
    .orderBy(asc(instances.startedAt), asc(instances.id))
}

/** The version of PostgreSQL, as it calls itself. */
export async function findDatabaseVersion(db: Database): Promise<string> {
  const [row] = await db
    .select({ version: sql<string>`current_setting('server_version')` })
    .from(sql`(SELECT 1) AS one`)
  return row?.version ?? ''
}
