import { parseScopes, RESERVED_PREFIX } from '../../../lib/scopes.ts'
import type { Context } from '../../context.ts'
import { normaliseEmail } from '../../users/email.ts'
import { faultOfPasswordHash, secretOfHash, secretOfKey } from '../credentials.ts'
import type { ImportedKey } from '../place-keys.ts'
import type { ImportedUser } from '../place-users.ts'
import { type Fault, importedId } from '../shape.ts'
import { NO_EMAIL } from '../user-item.ts'
import type { SeedKey, SeedUser } from './database.ts'
import type { SeedShape } from './shape.ts'

const LATEST_MS = Date.UTC(9999, 11, 31)
const MAX_NAME = 100
const MAX_DESCRIPTION = 500
const SHA256_HEX = /^[0-9a-f]{64}$/
/** The seed's scope that stood for all scopes. */
const EVERYTHING = '*'
/** The scope of every key of the seed's second version, which stored no scopes. */
const ONLY_SCOPE = 'read'

/** A user of the seed as a row, or why the user cannot be imported. */
export function readSeedUser(context: Context, seed: SeedUser, keepsAdmins: boolean): ImportedUser | Fault {
  const email = normaliseEmail(seed.email ?? '')
  if (email === null) return { fault: NO_EMAIL }
  const hashFault = seed.password_hash === null ? null : faultOfPasswordHash(seed.password_hash)
  if (hashFault !== null) return { fault: hashFault }
  const createdAt = dateOf(seed.created_ms)
  // Every seed counts its users from 1. The time of creation, or else the address, keeps users of two seeds apart.
  const origin = createdAt ? [] : [email]
  return {
    id: importedId(seed.id, createdAt, 'seed user', seed.id, ...origin),
    email,
    passwordHash: seed.password_hash,
    role: keepsAdmins && seed.role?.toLowerCase() === 'admin' ? 'admin' : 'user',
    isActive: seed.is_active,
    emailVerified: seed.email_verified,
    scopes: null,
    createdAt: createdAt ?? new Date(context.clock()),
  }
}

/**
 * A key of the seed as a row, or why the key cannot be imported. An inactive key is imported as revoked, because the
 * seed could not activate one again.
 */
export function readSeedKey(
  context: Context,
  shape: SeedShape,
  seed: SeedKey,
  ownerId: string,
): ImportedKey | Fault {
  const secret = secretOf(context, shape, seed)
  if ('fault' in secret) return secret
  const scopes = shape.hasScopes ? readScopes(context, seed.scopes) : [ONLY_SCOPE]
  if ('fault' in scopes) return scopes
  const createdAt = dateOf(seed.created_ms)
  const now = new Date(context.clock())
  const row = {
    id: importedId(seed.id, createdAt, 'seed key', seed.id, secret.hash.toHex()),
    name: shorten(seed.name, MAX_NAME),
    description: shorten(seed.description, MAX_DESCRIPTION),
    scopes,
    createdAt: createdAt ?? now,
    createdBy: ownerId,
    expiresAt: dateOf(seed.expires_ms),
    ...(seed.is_active ? {} : { revokedAt: now, revokedReason: 'inactive_at_import' }),
  }
  const owner = { type: 'user' as const, id: ownerId }
  return { row, owner, secret, lastUsedAt: dateOf(seed.used_ms), credits: null, raisesCeiling: true }
}

/**
 * Both versions of the seed stored keys in `key`: the first the key itself, which always has a prefix, the second its
 * SHA-256 in hex.
 */
function secretOf({ config }: Context, { isHashed }: SeedShape, { secret, prefix }: SeedKey) {
  if (secret === null) return { fault: 'The key is empty' }
  if (isHashed || SHA256_HEX.test(secret)) return secretOfHash(secret, 'hex', shorten(prefix, 16))
  return secretOfKey(config.apiKeyPrefix, secret)
}

function readScopes({ config }: Context, text: string | null): string[] | Fault {
  const listed = listOf(text ?? '')
  if (listed === null) return { fault: 'scopes: Must be a list of scopes' }
  const named = listed.filter((scope) => scope !== EVERYTHING)
  const hasAll = named.length < listed.length
  if (hasAll && config.userScopes === 'any') {
    return {
      fault: 'scopes: There are no wildcards here, and with USER_SCOPES=any no list to put in place of *',
    }
  }
  const scopes = parseScopes([...named, ...(hasAll && config.userScopes !== 'any' ? config.userScopes : [])])
  if ('fault' in scopes) return { fault: `scopes: ${scopes.fault}` }
  // In the seed, a scope was any word that a user wrote. A reserved word would give the key power over Latchkey.
  if (scopes.some((scope) => scope.startsWith(RESERVED_PREFIX))) {
    return { fault: `scopes: Those that start with "${RESERVED_PREFIX}" are reserved` }
  }
  return scopes
}

/** Reads scopes from words between commas and spaces, or from a JSON list. */
function listOf(text: string): string[] | null {
  if (!/^\s*["[]/.test(text)) return words(text)
  try {
    const list: unknown = JSON.parse(text)
    if (typeof list === 'string') return words(list)
    return Array.isArray(list) && list.every((scope) => typeof scope === 'string') ? list : null
  } catch {
    return null
  }
}

const words = (text: string) => text.split(/[\s,]+/).filter((word) => word !== '')

/**
 * A date from milliseconds; null for none and for `infinity`. Times outside of 1970 to 9999 become the nearest of
 * these.
 */
function dateOf(ms: number | null): Date | null {
  if (ms === null || ms === Infinity) return null
  return new Date(Math.min(Math.max(0, Math.round(ms)), LATEST_MS))
}

/** A text without control characters, cut to at most `most` characters; null where nothing remains. */
function shorten(text: string | null, most: number): string | null {
  const readable = (text ?? '')
    .replace(/\p{Cc}/gu, ' ')
    .toWellFormed()
    .trim()
  return readable === '' ? null : [...readable].slice(0, most).join('')
}
