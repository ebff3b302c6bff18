import type { Config } from './config.ts'
import { hideDatabasePassword } from './database-url.ts'
import { formatRateLimits } from './rate-limits.ts'

/** What a setting shows as: a secret as `[redacted]`, unset as null. */
export type SettingValue = string | number | boolean | null

/**
 * The settings in force by their names, in the order of the contract, without a secret: of a database's URL
 * everything but the password, of a key only that it is set.
 */
export function showConfig(config: Config): Record<string, SettingValue> {
  const { publicUrlIsSet: _, ...settings } = config
  const { databaseUrl, databaseDirectUrl, rateLimits } = config
  const all = {
    ...settings,
    databaseUrl: databaseUrl && hideDatabasePassword(databaseUrl.reveal()),
    databaseDirectUrl: databaseDirectUrl && hideDatabasePassword(databaseDirectUrl.reveal()),
    rateLimits: formatRateLimits(rateLimits),
  }
  return Object.fromEntries(Object.entries(all).map(([key, value]) => [nameOf(key), show(value)]))
}

/** `databasePoolSize` is read from DATABASE_POOL_SIZE, and so every other. */
function nameOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
}

function show(value: unknown): SettingValue {
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return value
  if (Array.isArray(value)) return value.join(',')
  // A secret says of itself that it is one.
  return String(value)
}
