import { sql } from 'drizzle-orm'
import type { Database } from '../../db/database.ts'
import { sharedSettings } from '../../db/schema.ts'

export type SharedSetting = typeof sharedSettings.$inferSelect

export function listSharedSettings(db: Database): Promise<SharedSetting[]> {
  return db.select().from(sharedSettings)
}

export async function upsertSharedSettings(db: Database, settings: SharedSetting[]): Promise<void> {
  await db
    .insert(sharedSettings)
    .values(settings)
    .onConflictDoUpdate({ target: sharedSettings.name, set: { value: sql`excluded.value` } })
}
