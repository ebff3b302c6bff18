/** Server settings by their names, as the server writes them. */
export type SessionSettings = Readonly<Record<string, string>>

/** The four that poolers know: PgBouncer keeps them for each client and lends no connection that differs. */
export const TRACKED_SETTINGS: SessionSettings = {
  client_encoding: 'UTF8',
  datestyle: 'ISO, MDY',
  timezone: 'UTC',
  standard_conforming_strings: 'on',
}

/** A process that is frozen within a transaction holds its locks no longer than this. */
const IDLE_IN_TRANSACTION_MS = 60_000

/**
 * Every setting that changes what text means, what a statement does or how long it may take: nothing is inherited from
 * the role, the database or the server's file. With another datestyle, day and month of an expiry change places.
 */
export const sessionSettings = (statementTimeoutMs: number): SessionSettings => ({
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
  default_transaction_read_only: 'off',
  default_transaction_deferrable: 'off',
  statement_timeout: String(statementTimeoutMs),
  lock_timeout: '0',
  idle_in_transaction_session_timeout: String(IDLE_IN_TRANSACTION_MS),
  idle_session_timeout: '0',
})

/**
 * Those that came after the oldest PostgreSQL that Latchkey runs on: an older server refuses a connection that begins with
 * one. It has no such setting to inherit, either.
 */
export const LATER_SETTINGS: SessionSettings = { transaction_timeout: '0' }

/** Begins a transaction that has these settings, whatever the session has. */
export function beginWith(settings: SessionSettings): string {
  const calls = Object.entries(settings).map(
    ([name, value]) => `pg_catalog.set_config('${name}', '${value}', true)`,
  )
  // The settings of the session decide how a transaction begins, so those three are said here.
  const begin = 'BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE, NOT DEFERRABLE'
  return calls.length === 0 ? begin : `${begin}; SELECT ${calls.join(', ')}`
}
