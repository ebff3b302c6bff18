/** A column as information_schema tells of it. */
export type Column = { table: string; name: string; type: string }

/** A table of the seed's. */
export type Table = { schema: string; name: string; columns: readonly Column[] }

const GOOD = /^(is_)?(active|enabled)$/
const BAD = /^(is_)?(disabled|deactivated|inactive|revoked|deleted|blocked|banned|suspended|locked|archived)$/
const BAD_SINCE = /^(disabled|deactivated|revoked|deleted|blocked|banned|suspended|locked|archived)_at$/
/** May say that a user or a key is no good, in words that are not known here. */
const STATE =
  /^(\w+_)?(status|state)$|^(is_)?(active|enabled|disabled|deactivated|revoked|deleted|blocked|banned|suspended|locked|archived)(_at|_on|_until)?$/

const INTEGER = new Set(['smallint', 'integer', 'bigint'])
const TIME = new Set(['timestamp without time zone', 'timestamp with time zone', 'date'])

/** A name as SQL has it. */
export const quote = (name: string) => `"${name.replaceAll('"', '""')}"`

/** `schema.table.column`, for people. */
const tell = (table: Table, column: Column) => `${table.schema}.${table.name}.${column.name}`

export const asText = (column: Column | null) => (column ? `${quote(column.name)}::text` : 'NULL::text')

/** SHA-256 kept as bytes comes as hex. */
export const asSecret = (column: Column) =>
  column.type === 'bytea' ? `encode(${quote(column.name)}, 'hex')` : asText(column)

/** A list of scopes as one text, however it is stored. */
export const asList = (column: Column | null) =>
  column?.type === 'ARRAY' ? `array_to_json(${quote(column.name)})::text` : asText(column)

/** Milliseconds since the epoch; a time without a zone is UTC. */
export function asEpochMs(table: Table, column: Column | null): string {
  if (!column) return 'NULL::float8'
  if (TIME.has(column.type)) return `(extract(epoch FROM ${quote(column.name)}) * 1000)::float8`
  throw new Error(`${tell(table, column)} is ${column.type}, and must be a timestamp`)
}

/** @param unset what NULL, and a missing column, count as */
export function asFlag(table: Table, column: Column | null, unset: boolean): string {
  if (!column) return String(unset)
  if (column.type === 'boolean') return `coalesce(${quote(column.name)}, ${unset})`
  if (INTEGER.has(column.type)) return `coalesce(${quote(column.name)} <> 0, ${unset})`
  throw new Error(`${tell(table, column)} is ${column.type}, and must be a boolean`)
}

/**
 * Whether a row is in force, by every column that says so.
 * @param unset what NULL in `is_active` counts as
 * @throws Error for a column that may say so and is not understood: what was revoked there must not live here
 */
export function isInForce(table: Table, unset: boolean): string {
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
