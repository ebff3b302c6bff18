/** A column, as information_schema describes it. */
export type Column = { table: string; name: string; type: string }

/** A table of the seed. */
type Table = { schema: string; name: string; columns: readonly Column[] }

/** How to read the two tables of the seed: one SELECT for each, whose columns are those of `SeedUser` and `SeedKey`. */
export type SeedShape = {
  users: string
  keys: string
  /** Whether the name of the key's column says that it holds hashes. */
  isHashed: boolean
  /** false in the seed's second version. */
  hasScopes: boolean
  /** What was found, for the person who waits. */
  summary: string
}

/** The names that a column may have, the most certain first. */
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

const GOOD = /^(is_)?(active|enabled)$/
const BAD = /^(is_)?(disabled|deactivated|inactive|revoked|deleted|blocked|banned|suspended|locked|archived)$/
const BAD_SINCE = /^(disabled|deactivated|revoked|deleted|blocked|banned|suspended|locked|archived)_at$/
/** Names of columns that may say, in values unknown here, that a user or key is not valid. */
const STATE =
  /^(\w+_)?(status|state)$|^(is_)?(active|enabled|disabled|deactivated|revoked|deleted|blocked|banned|suspended|locked|archived)(_at|_on|_until)?$/

const INTEGER = new Set(['smallint', 'integer', 'bigint'])
const TIME = new Set(['timestamp without time zone', 'timestamp with time zone', 'date'])

/**
 * How to read the seed's tables, in any of the seed's versions.
 * @throws Error with one sentence that names the column, where a necessary column is missing or not understood
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
      // The seed did not check this column at log-in, so users whose value is NULL could log in.
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
      // For a key, the seed required the value TRUE, so a key whose value is NULL did not work.
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

/** The rows are read oldest first. Of two addresses that differ only in case, the older user is imported. */
function select({ schema, name }: Table, expressions: Record<string, string>): string {
  const list = Object.entries(expressions).map(([as, sql]) => `${sql} AS ${as}`)
  return `SELECT ${list.join(', ')} FROM ${quote(schema)}.${quote(name)} ORDER BY created_ms NULLS FIRST, id`
}

/** A quoted identifier of SQL. */
const quote = (name: string) => `"${name.replaceAll('"', '""')}"`

/** `schema.table.column`, for error messages. */
const tell = (table: Table, column: Column) => `${table.schema}.${table.name}.${column.name}`

const asText = (column: Column | null) => (column ? `${quote(column.name)}::text` : 'NULL::text')

/** A SHA-256 that is stored as bytes is read as hex. */
const asSecret = (column: Column) =>
  column.type === 'bytea' ? `encode(${quote(column.name)}, 'hex')` : asText(column)

/** A list of scopes is read as one text, in whatever type it is stored. */
const asList = (column: Column | null) =>
  column?.type === 'ARRAY' ? `array_to_json(${quote(column.name)})::text` : asText(column)

/** A time is read as milliseconds since the epoch. A time without a zone counts as UTC. */
function asEpochMs(table: Table, column: Column | null): string {
  if (!column) return 'NULL::float8'
  if (TIME.has(column.type)) return `(extract(epoch FROM ${quote(column.name)}) * 1000)::float8`
  throw new Error(`${tell(table, column)} is ${column.type}, and must be a timestamp`)
}

/** @param unset the value of NULL, and of a missing column */
function asFlag(table: Table, column: Column | null, unset: boolean): string {
  if (!column) return String(unset)
  if (column.type === 'boolean') return `coalesce(${quote(column.name)}, ${unset})`
  if (INTEGER.has(column.type)) return `coalesce(${quote(column.name)} <> 0, ${unset})`
  throw new Error(`${tell(table, column)} is ${column.type}, and must be a boolean`)
}

/**
 * The condition that a row is valid, from every column that says so.
 * @param unset the value of NULL in `is_active`
 * @throws Error for a column that may say so and is not understood, because a user or key that was revoked at the
 * source must not become valid here
 */
function isInForce(table: Table, unset: boolean): string {
  const conditions = table.columns.flatMap((column) => {
    if (GOOD.test(column.name)) return [asFlag(table, column, unset)]
    if (BAD.test(column.name)) return [`NOT ${asFlag(table, column, false)}`]
    if (BAD_SINCE.test(column.name) && TIME.has(column.type)) return [`${quote(column.name)} IS NULL`]
    if (!STATE.test(column.name)) return []
    throw new Error(
      `${tell(table, column)} may say that a row is no longer good, and is not understood: make views "users" and "api_keys" in a schema of their own that say it by "is_active", and name that schema by --schema`,
    )
  })
  return conditions.length > 0 ? conditions.map((each) => `(${each})`).join(' AND ') : 'true'
}
