import type { Config } from '../../config/config.ts'
import { namespaceOf } from '../../db/redis.ts'
import type { Context } from '../context.ts'
import { listSharedSettings, type SharedSetting, upsertSharedSettings } from './queries.ts'

/** What a difference is called. */
export type DifferenceCode = 'issuer_differs' | 'namespace_differs'

/**
 * The settings that all servers on one database must have in common and that nothing else compares. A different SECRET_KEY
 * stops the start.
 */
const settingsOf = (config: Config): SharedSetting[] => [
  { name: 'PUBLIC_URL', value: config.publicUrl },
  { name: 'JWT_AUDIENCE', value: config.jwtAudience },
  ...(config.redisUrl === null ? [] : [{ name: NAMESPACE, value: namespaceOf(config.publicUrl) }]),
]

/** What the counters on Redis begin with; it follows from PUBLIC_URL. */
const NAMESPACE = 'The namespace on Redis'

const CONSEQUENCES: Record<string, string> = {
  PUBLIC_URL: "they refuse each other's access tokens and share no limits",
  JWT_AUDIENCE: "they refuse each other's access tokens",
  [NAMESPACE]: 'they share no limits',
}

/**
 * What regions compare besides, which is published to them with the rest. Servers of home may differ in it for a while: keys
 * of every prefix stay valid.
 */
const publishedSettingsOf = (config: Config): SharedSetting[] => [
  { name: 'API_KEY_PREFIX', value: config.apiKeyPrefix },
]

/** Compares the settings of this server with those of the server that started last on this database. */
export async function findDifferingSettings({
  config,
  db,
}: Pick<Context, 'config' | 'db'>): Promise<{ code: DifferenceCode; message: string }[]> {
  const remembered = new Map((await listSharedSettings(db)).map(({ name, value }) => [name, value]))
  return settingsOf(config).flatMap(({ name, value }) => {
    const other = remembered.get(name)
    if (other === undefined || other === value) return []
    const message = `${name} is ${value} here, and ${other} on the server that started last on this database: ${CONSEQUENCES[name]}`
    return { code: name === NAMESPACE ? 'namespace_differs' : 'issuer_differs', message }
  })
}

/** The same in words: a sentence for each setting that differs, with both values. */
export async function findDifferences(context: Pick<Context, 'config' | 'db'>): Promise<string[]> {
  return (await findDifferingSettings(context)).map(({ message }) => message)
}

/**
 * Requires that the settings of a verifier are those of home: it would refuse every token, or call every key mistyped. What is
 * not copied yet is not compared.
 * @throws Error with one sentence that names each setting
 */
export async function requireSettingsOfHome({ config, db }: Pick<Context, 'config' | 'db'>): Promise<void> {
  const atHome = new Map((await listSharedSettings(db)).map(({ name, value }) => [name, value]))
  const own = [...settingsOf(config), ...publishedSettingsOf(config)].filter(({ name }) => name !== NAMESPACE)
  const faults = own.flatMap(({ name, value }) => {
    const other = atHome.get(name)
    return other === undefined || other === value ? [] : [`${name} is ${value} here, and ${other} at home`]
  })
  if (faults.length > 0) throw new Error(`${faults.join('; ')}: a verifier has the settings of home`)
}

/** Logs a warning for each setting that differs. */
export async function warnOfDifferences(context: Pick<Context, 'config' | 'db' | 'log'>): Promise<void> {
  for (const difference of await findDifferences(context)) context.log.warn(difference)
}

/**
 * Logs a warning for each setting that differs, then stores this server's settings: those of the last start count as
 * right (docs/decisions/0040).
 */
export async function announceSettings(context: Pick<Context, 'config' | 'db' | 'log'>): Promise<void> {
  await warnOfDifferences(context)
  await upsertSharedSettings(context.db, [
    ...settingsOf(context.config),
    ...publishedSettingsOf(context.config),
  ])
}
