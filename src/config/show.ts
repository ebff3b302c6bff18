import { isSecret } from '../lib/secret.ts'
import type { Config, SettingSource } from './config.ts'
import { hideDatabasePassword } from './database-url.ts'
import { formatRateLimits } from './rate-limits.ts'

/** The displayed value of a setting: `[redacted]` for a secret, null for an unset one. */
export type SettingValue = string | number | boolean | null

/**
 * The effective settings by name, in the order of API.md, without secrets. A database URL hides only its
 * password; a key shows only that it is set.
 */
export function showConfig(config: Config): Record<string, SettingValue> {
  const { publicUrlIsSet: _, settingSources: __, ...settings } = config
  const { databaseUrl, databaseDirectUrl, rateLimits } = config
  const all = {
    ...settings,
    databaseUrl: databaseUrl && hideDatabasePassword(databaseUrl.reveal()),
    databaseDirectUrl: databaseDirectUrl && hideDatabasePassword(databaseDirectUrl.reveal()),
    rateLimits: formatRateLimits(rateLimits),
  }
  return Object.fromEntries(Object.entries(all).map(([key, value]) => [nameOf(key), show(value)]))
}

/** What a setting is shown as that is a secret. */
const HIDDEN = '(hidden)'

/** The same as a list, with where each comes from. Secrets are hidden whole, URLs with a password in them too. */
export function listSettings(
  config: Config,
): { name: string; value: SettingValue; source: SettingSource | 'default' }[] {
  const secrets = new Map(Object.entries(config).map(([key, value]) => [nameOf(key), isSecret(value)]))
  return Object.entries(showConfig(config)).map(([name, value]) => ({
    name,
    value: secrets.get(name) ? HIDDEN : value,
    source: config.settingSources.get(name) ?? 'default',
  }))
}

/** The name of a setting: DATABASE_POOL_SIZE for `databasePoolSize`. */
function nameOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
}

function show(value: unknown): SettingValue {
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return value
  if (Array.isArray(value)) return value.join(',')
  // The text of a `Secret` is `[redacted]`.
  return String(value)
}
