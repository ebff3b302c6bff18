import { failField } from '../../lib/errors.ts'
import { readExternalId } from '../../lib/external-id.ts'
import { parseNetwork } from '../../lib/ip.ts'
import { findNonFinite } from '../../lib/json.ts'
import { rateColumns } from '../../lib/rate.ts'
import { requireScopes } from '../../lib/scopes.ts'
import { DAY_MS, readInstant } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import type { KeyPatch } from './model.ts'
import type { KeyChange } from './queries.ts'

const MAX_METADATA_BYTES = 4096

/**
 * Reads the settings of a request into columns. Absent settings are left out; null clears a setting.
 * @throws Problem validation_failed
 */
export function readSettings(input: KeyPatch): KeyChange {
  const change: KeyChange = {}
  if (input.name !== undefined) change.name = input.name
  if (input.description !== undefined) change.description = input.description
  if (input.external_id !== undefined)
    change.externalId = input.external_id === null ? null : readExternalId('/external_id', input.external_id)
  if (input.metadata !== undefined) change.metadata = requireSmall(input.metadata)
  if (input.scopes !== undefined) change.scopes = requireScopes('/scopes', input.scopes)
  if (input.expires_at !== undefined) change.expiresAt = readInstant('/expires_at', input.expires_at)
  if (input.is_active !== undefined) change.isActive = input.is_active
  if (input.allowed_ips !== undefined) change.allowedIps = readNetworks(input.allowed_ips)
  if (input.rate_limit !== undefined) Object.assign(change, rateColumns(input.rate_limit))
  return change
}

/**
 * Checks that an expiry lies in the future and within API_KEY_MAX_EXPIRE_DAYS.
 * @throws Problem validation_failed at `path`
 */
export function requireExpiry({ config, clock }: Context, expiresAt: Date | null, path: string): void {
  const maxDays = config.apiKeyMaxExpireDays
  const now = clock()
  if (expiresAt === null) {
    if (maxDays !== null) failField(path, `Must lie within ${maxDays} days`)
    return
  }
  if (expiresAt.getTime() <= now) failField(path, 'Must lie in the future')
  if (maxDays !== null && expiresAt.getTime() > now + maxDays * DAY_MS) {
    failField(path, `Must lie within ${maxDays} days`)
  }
}

function readNetworks(networks: readonly string[] | null): string[] | null {
  if (networks === null || networks.length === 0) return null
  const read = networks.map(
    (network, at) => parseNetwork(network) ?? failField(`/allowed_ips/${at}`, 'Must be an address or a CIDR'),
  )
  return [...new Set(read)]
}

function requireSmall(metadata: Record<string, unknown> | null): Record<string, unknown> | null {
  const rounded = findNonFinite(metadata, '/metadata')
  if (rounded !== null)
    failField(
      rounded,
      'Must be an integer below 2^53, or a number up to 1.79e308: others would not be kept as they are',
    )
  // PostgreSQL writes numbers out: 1e300 takes 301 bytes there, and 5 bytes in the request.
  let zeros = 0
  const text = JSON.stringify(metadata, (_, value: unknown) => {
    if (typeof value === 'number') zeros += Math.abs(Number(String(value).split('e')[1] ?? 0))
    return value
  })
  if (Buffer.byteLength(text) + zeros > MAX_METADATA_BYTES)
    failField('/metadata', `Must have at most ${MAX_METADATA_BYTES} bytes`)
  // PostgreSQL's jsonb stores neither NUL nor half of a surrogate pair. Checked here, so that the answer names the
  // member instead of an internal error.
  if (text.includes('\\u0000') || !text.isWellFormed() || /\\u[dD][89a-fA-F]/.test(text)) {
    failField('/metadata', 'Must be Unicode text without NUL')
  }
  return metadata
}
