import type { Config } from '../../config/config.ts'
import type { Context } from '../context.ts'
import { listSharedSettings, type SharedSetting, upsertSharedSettings } from './queries.ts'

/**
 * What all servers on one database must have alike, where nothing else tells. The namespace in Redis is made of
 * PUBLIC_URL (server/open.ts), and another SECRET_KEY ends the start.
 */
const settingsOf = (config: Config): SharedSetting[] => [
  { name: 'PUBLIC_URL', value: config.publicUrl },
  { name: 'JWT_AUDIENCE', value: config.jwtAudience },
]

const CONSEQUENCES: Record<string, string> = {
  PUBLIC_URL: "they refuse each other's access tokens and share no limits",
  JWT_AUDIENCE: "they refuse each other's access tokens",
}

/**
 * Compares the settings of this server with those of the server that started last on this database.
 * @returns a sentence for each that differs, with both values
 */
export async function findDifferences({ config, db }: Pick<Context, 'config' | 'db'>): Promise<string[]> {
  const remembered = new Map((await listSharedSettings(db)).map(({ name, value }) => [name, value]))
  return settingsOf(config).flatMap(({ name, value }) => {
    const other = remembered.get(name)
    if (other === undefined || other === value) return []
    return `${name} is ${value} here, and ${other} on the server that started last on this database: ${CONSEQUENCES[name]}`
  })
}

/** Tells in the log what differs. */
export async function warnOfDifferences(context: Pick<Context, 'config' | 'db' | 'log'>): Promise<void> {
  for (const difference of await findDifferences(context)) context.log.warn(difference)
}

/** Tells in the log what differs, and has the database remember this server's settings: the last start is in the right. */
export async function announceSettings(context: Pick<Context, 'config' | 'db' | 'log'>): Promise<void> {
  await warnOfDifferences(context)
  await upsertSharedSettings(context.db, settingsOf(context.config))
}
