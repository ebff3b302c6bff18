/** Server settings by name, with values as the server writes them. */
export type SessionSettings = Readonly<Record<string, string>>

/**
 * The four settings that poolers track. PgBouncer keeps them for each client and lends no connection with
 * other values.
 */
export const TRACKED_SETTINGS: SessionSettings = {
  client_encoding: 'UTF8',
  datestyle: 'ISO, MDY',
  timezone: 'UTC',
  standard_conforming_strings: 'on',
}

/** The longest time that a process frozen inside a transaction holds its locks. */
const IDLE_IN_TRANSACTION_MS = 60_000

/**
 * Every setting that changes the meaning of text, the effect of a statement, or how long a statement may
 * take. Nothing is inherited from the role, the database or the server's file: with another `datestyle`, for
 * example, the day and month of an expiry would be exchanged.
 * @param isReadOnly whether transactions write nothing; NOTIFY is allowed in them
 */
export const sessionSettings = (statementTimeoutMs: number, isReadOnly = false): SessionSettings => ({
  ...TRACKED_SETTINGS,
  intervalstyle: 'postgres',
  bytea_output: 'hex',
  extra_float_digits: '1',
  array_nulls: 'on',
  transform_null_equals: 'off',
  quote_all_identifiers: 'off',
  row_security: 'on',
  search_path: 'latchkey, pg_temp',
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: isReadOnly ? 'on' : 'off',
  default_transaction_deferrable: 'off',
  statement_timeout: String(statementTimeoutMs),
  lock_timeout: '0',
  idle_in_transaction_session_timeout: String(IDLE_IN_TRANSACTION_MS),
  idle_session_timeout: '0',
})

/**
 * Settings that are newer than the oldest PostgreSQL that Latchkey supports. An older server refuses a connection that
 * begins with one. It has no such setting to inherit, either.
 */
export const LATER_SETTINGS: SessionSettings = { transaction_timeout: '0' }

/** The statement that begins a transaction with these settings, whatever the settings of the session are. */
export function beginWith(settings: SessionSettings): string {
  const calls = Object.entries(settings).map(
    ([name, value]) => `pg_catalog.set_config('${name}', '${value}', true)`,
  )
  // The session's settings decide how a plain BEGIN starts, so these three are written out.
  const access = settings.default_transaction_read_only === 'on' ? 'READ ONLY' : 'READ WRITE'
  const begin = `BEGIN ISOLATION LEVEL READ COMMITTED, ${access}, NOT DEFERRABLE`
  return calls.length === 0 ? begin : `${begin}; SELECT ${calls.join(', ')}`
}
