import {
  asEpochMs,
  asFlag,
  asList,
  asSecret,
  asText,
  type Column,
  isInForce,
  quote,
  type Table,
} from './seed-sql.ts'

/** How to read the two tables: a SELECT for each, whose columns are those of `SeedUser` and `SeedKey`. */
export type SeedShape = {
  users: string
  keys: string
  /** Whether the column of the keys says by its name that it holds hashes. */
  isHashed: boolean
  /** Keys of the second version have none. */
  hasScopes: boolean
  /** What was found, for the person who waits. */
  summary: string
}

/** The names that a column may have, the surer first. */
const NAMES = {
  password: ['hashed_password', 'password_hash'],
  verified: ['email_verified', 'is_verified'],
  created: ['created_at', 'created', 'created_on'],
  hash: ['key_hash', 'hashed_key', 'api_key_hash', 'hash'],
  key: ['key', 'api_key'],
  prefix: ['key_prefix', 'prefix'],
  name: ['name', 'service_name', 'label'],
  scopes: ['scopes', 'scope', 'permissions'],
  owner: ['user_id', 'owner_id'],
  expires: ['expires_at', 'expires', 'expires_on', 'expiry', 'expiration', 'expiration_date', 'valid_until'],
  used: ['last_used_at', 'last_used'],
}

/**
 * How to read the seed's tables, whichever of its versions made them.
 * @throws Error with one sentence that names the column, where something that matters is missing or is not understood
 */
export function readShape(schema: string, columns: readonly Column[]): SeedShape {
  const users = tableOf(schema, 'users', columns)
  const keys = tableOf(schema, 'api_keys', columns)
  const hash = find(keys, NAMES.hash)
  const secret = hash ?? need(keys, 'the keys', [...NAMES.hash, ...NAMES.key])
  const scopes = find(keys, NAMES.scopes)
  return {
    users: select(users, {
      id: asText(need(users, 'the ids', ['id'])),
      email: asText(need(users, 'the addresses', ['email'])),
      password_hash: asText(need(users, 'the hashes of the passwords', NAMES.password)),
      role: asText(find(users, ['role'])),
      email_verified: asFlag(users, find(users, NAMES.verified), false),
      // The seed let people in without a look at it: NULL is what nobody set.
      is_active: isInForce(users, true),
      created_ms: asEpochMs(users, find(users, NAMES.created)),
    }),
    keys: select(keys, {
      id: asText(need(keys, 'the ids', ['id'])),
      user_id: asText(need(keys, "the owners' ids", NAMES.owner)),
      secret: asSecret(secret),
      prefix: asText(find(keys, NAMES.prefix)),
      name: asText(find(keys, NAMES.name)),
      description: asText(find(keys, ['description'])),
      scopes: asList(scopes),
      // Here the seed asked for TRUE.
      is_active: isInForce(keys, false),
      created_ms: asEpochMs(keys, find(keys, NAMES.created)),
      expires_ms: asEpochMs(keys, find(keys, NAMES.expires)),
      used_ms: asEpochMs(keys, find(keys, NAMES.used)),
    }),
    isHashed: hash !== null,
    hasScopes: scopes !== null,
    summary: `keys in ${schema}.api_keys.${secret.name}, ${scopes ? `scopes in ${scopes.name}` : 'no scopes'}`,
  }
}

function tableOf(schema: string, name: string, all: readonly Column[]): Table {
  const columns = all.filter((column) => column.table === name)
  if (columns.length > 0) return { schema, name, columns }
  throw new Error(`there is no table ${schema}.${name} to read: is this the seed's database, and its schema?`)
}

function find({ columns }: Table, names: readonly string[]): Column | null {
  const found = names.map((name) => columns.find((column) => column.name === name))
  return found.find((column) => column !== undefined) ?? null
}

function need(table: Table, what: string, names: readonly string[]): Column {
  const found = find(table, names)
  if (found) return found
  throw new Error(
    `${table.schema}.${table.name} has no column for ${what} (${names.join(', ')}): it is no form of the seed that is understood`,
  )
}

/** The oldest first: of two addresses that differ in case, the first one's stays. */
function select({ schema, name }: Table, expressions: Record<string, string>): string {
  const list = Object.entries(expressions).map(([as, sql]) => `${sql} AS ${as}`)
  return `SELECT ${list.join(', ')} FROM ${quote(schema)}.${quote(name)} ORDER BY created_ms NULLS FIRST, id`
}
