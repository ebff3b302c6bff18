import { type Static, Type } from '@sinclair/typebox'
import { Problem } from '../../lib/errors.ts'
import { Description, ExternalId, Name, RateLimit, READABLE, ScopeInput } from '../../lib/model.ts'
import { parseInstant } from '../../lib/time.ts'
import { MAX_CREDENTIAL_LENGTH } from '../../lib/tokens.ts'
import type { Context } from '../context.ts'
import { Credits } from '../credits/model.ts'
import { readCredits } from '../credits/settings.ts'
import { Metadata, Networks } from '../keys/model.ts'
import { readSettings } from '../keys/settings.ts'
import { HASH_ENCODINGS, type ImportedSecret, secretOfHash, secretOfKey } from './credentials.ts'
import type { ImportedKey } from './place-keys.ts'
import { type Fault, ForeignId, faultOfShape, importedId, withoutNulls } from './shape.ts'

const Moment = Type.String({ maxLength: 64, description: 'RFC 3339', examples: ['2025-01-31T12:00:00Z'] })

const Owner = Type.Object(
  {
    user_id: Type.Optional(Type.String({ maxLength: 64 })),
    service_account_id: Type.Optional(Type.String({ maxLength: 64 })),
    email: Type.Optional(Type.String({ maxLength: 1024 })),
  },
  { additionalProperties: false, description: 'One of the three' },
)

/** A key to import, as a request or a file gives it. A member that is null counts as absent. */
export const KeyItem = Type.Object(
  {
    owner: Owner,
    hash: Type.Optional(Type.String({ maxLength: 256, description: 'SHA-256 of the whole key' })),
    hash_encoding: Type.Optional(
      Type.Union(
        HASH_ENCODINGS.map((encoding) => Type.Literal(encoding)),
        {
          description: 'hex unless given',
          error: 'Must be hex, base64 or base64url',
        },
      ),
    ),
    key: Type.Optional(
      Type.String({ maxLength: MAX_CREDENTIAL_LENGTH, description: 'The whole key, in place of its hash' }),
    ),
    start: Type.Optional(
      Type.String({ maxLength: 16, pattern: READABLE, description: 'With a hash: how the key begins' }),
    ),
    id: Type.Optional(ForeignId),
    name: Type.Optional(Name),
    description: Type.Optional(Description),
    external_id: Type.Optional(ExternalId),
    metadata: Type.Optional(Metadata),
    scopes: Type.Optional(ScopeInput),
    expires_at: Type.Optional(Moment),
    rate_limit: Type.Optional(RateLimit),
    credits: Type.Optional(Credits),
    allowed_ips: Type.Optional(Networks),
    is_active: Type.Optional(Type.Boolean()),
    created_at: Type.Optional(Moment),
  },
  { $id: 'ImportKey', additionalProperties: false },
)

type Written = Static<typeof KeyItem>

/** A key that has been read, with the name of its owner, which has not been looked up yet. */
export type ReadKeyItem = {
  owner: Written['owner']
  key: Omit<ImportedKey, 'owner'>
}

/**
 * Reads one key to import.
 * @param createdBy the id that is stored as the creator; null: none
 * @returns a fault where the item is invalid. The fault repeats no value.
 */
export function readKeyItem(context: Context, item: unknown, createdBy: string | null): ReadKeyItem | Fault {
  const present = withoutNulls(item, 'owner')
  const fault = faultOfShape(KeyItem, present)
  if (fault !== null) return { fault }
  const written = present as Written
  const { owner } = written
  if (Object.keys(owner).length !== 1) {
    return { fault: 'owner: Must have one of user_id, service_account_id and email' }
  }
  const secret = readSecret(context, written)
  if ('fault' in secret) return secret
  const createdAt = written.created_at === undefined ? null : readMoment(written.created_at)
  if (written.created_at !== undefined && createdAt === null) return { fault: `created_at: ${NO_MOMENT}` }
  if (written.expires_at !== undefined && readMoment(written.expires_at) === null) {
    return { fault: `expires_at: ${NO_MOMENT}` }
  }
  const read = readSettingsOf(written, context.clock())
  if ('fault' in read) return read
  const { settings, credits } = read
  const own = written.id === undefined ? null : String(written.id)
  const id = importedId(own, createdAt, 'key', secret.hash.toHex())
  const row = {
    scopes: [],
    ...settings,
    id,
    createdBy,
    createdAt: createdAt ?? new Date(context.clock()),
  }
  return { owner, key: { row, secret, lastUsedAt: null, credits, raisesCeiling: false } }
}

const NO_MOMENT = 'Must be a time in RFC 3339, from 1970 to 9999'

/**
 * Reads a time; null where it cannot be read or lies before 1970. PostgreSQL has no year 0, and no API key is that old.
 */
function readMoment(text: string): Date | null {
  const at = parseInstant(text)
  return at && at.getTime() >= 0 ? at : null
}

function readSecret({ config }: Context, written: Written): ImportedSecret | Fault {
  const { key, hash, hash_encoding: encoding, start } = written
  if ((key === undefined) === (hash === undefined)) return { fault: 'Must have either key or hash' }
  if (key !== undefined) {
    if (encoding !== undefined || start !== undefined)
      return { fault: 'hash_encoding and start belong to hash, not to key' }
    return secretOfKey(config.apiKeyPrefix, key)
  }
  return secretOfHash(hash ?? '', encoding ?? 'hex', start ?? null)
}

function readSettingsOf(
  written: Written,
  nowMs: number,
): { settings: ReturnType<typeof readSettings>; credits: ReadKeyItem['key']['credits'] } | Fault {
  try {
    const credits = written.credits ? readCredits('/credits', written.credits, nowMs) : null
    return { settings: readSettings(written), credits }
  } catch (error) {
    if (!(error instanceof Problem) || error.problem !== 'validation_failed') throw error
    const [first] = error.extra.errors ?? []
    // Only the first name of the path is repeated. A deeper one may be a name in the metadata, and so a secret in the
    // wrong place.
    const [, member] = first?.path.split('/') ?? []
    return { fault: first ? `${member}: ${first.message}` : 'One of its members is invalid' }
  }
}
