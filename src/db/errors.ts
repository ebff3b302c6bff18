/** An error that carries a SQLSTATE or a code of the driver. */
type Coded = Error & { code: string }

/** Codes of the driver and of src/db which mean that the database did not answer. */
const CONNECTION_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EMFILE',
  'CONNECT_TIMEOUT',
  'CONNECTION_CLOSED',
  'CONNECTION_DESTROYED',
  'CONNECTION_ENDED',
  'SASL_SIGNATURE_MISMATCH',
  'POOL_TIMEOUT',
  'POOL_FULL',
  'POOL_CLOSED',
  'NO_ANSWER',
  'OUT_OF_TIME',
  'CONNECTION_LOST',
  'STANDBY',
  'NO_PRIMARY',
  'UNCONFIRMED',
  'CONNECT_FAILED',
  'UNWRITABLE',
  'EMBEDDED_DOWN',
])

/** Those of these codes, and of the SQLSTATEs, that end once a server has started. */
const WAITED_FOR =
  /^(E(CONN|HOST|NET)[A-Z]+|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_[A-Z]+|CONNECT_TIMEOUT|CONNECTION_[A-Z]+|NO_ANSWER|NO_PRIMARY|08(000|001|003|004|006)|53300|57P0[123])$/

/** TLS to the database failed, for example because a certificate expired or belongs to another host. */
const TLS_CODE = /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH|ERR_TLS_|ERR_SSL_|EPROTO)/

/**
 * SQLSTATEs by which a server refuses for now, or refuses this user: 08 connection, 28 log-in, 3D no such
 * database, 53 resources, 57 operator (shutdown, statement timeout), 58 system error, 25P03 idle in
 * transaction, 25006 read-only after a failover, 55P03 lock timeout.
 */
const UNAVAILABLE_STATE = /^(08...|28...|3D...|53...|57...|58...|25P03|25006|55P03)$/

/** Serialization failure, deadlock, and rows that changed before they were locked (docs/decisions/0026). */
const RETRYABLE_CODES = new Set(['40001', '40P01', 'CHANGED_MEANWHILE'])

/**
 * Whether the database could not be reached or gave up. The answer is then 503, because such an error says
 * nothing about the data: a credential must not become "not found" during an outage.
 */
export function isUnavailable(error: unknown): boolean {
  return codedCauses(error).some(
    (cause) =>
      isConnectionError(cause) || UNAVAILABLE_STATE.test(cause.code) || RETRYABLE_CODES.has(cause.code),
  )
}

/** Whether the same transaction may succeed if it is tried again. */
export function isRetryable(error: unknown): boolean {
  return codedCauses(error).some(({ code }) => RETRYABLE_CODES.has(code))
}

/**
 * The name of the constraint or unique index that refused a row, or null. postgres.js and PGlite give it in
 * different fields.
 */
export function violatedConstraint(error: unknown): string | null {
  for (const cause of codedCauses(error)) {
    if (!cause.code.startsWith('23')) continue
    if ('constraint_name' in cause && typeof cause.constraint_name === 'string') return cause.constraint_name
    if ('constraint' in cause && typeof cause.constraint === 'string') return cause.constraint
  }
  return null
}

/** Whether the database refused a text that contains NUL, which no text column can hold. */
export function isUnstorableText(error: unknown): boolean {
  const code = errorCode(error)
  return code === '22021' || code === '22P05'
}

/** The SQLSTATE or driver's code of the innermost error that has one, or null. */
export function errorCode(error: unknown): string | null {
  return codedCauses(error).at(-1)?.code ?? null
}

/** Whether another process has the embedded database open. */
export function isHeldElsewhere(error: unknown): boolean {
  return errorCode(error) === 'EMBEDDED_HELD'
}

/**
 * Whether the server refused a write because it accepts none: a standby, or a server that was made read-only.
 */
export function isReadOnly(error: unknown): boolean {
  return errorCode(error) === '25006'
}

/** The messages of PgBouncer while it cannot reach its server. */
const POOLER_WAITS = /server login has been failing|cannot connect to server/

/**
 * Whether waiting may help a start: the server does not exist yet, is starting, or has no free connection. A
 * wrong password or database name does not become right by waiting.
 */
export function mayPass(error: unknown): boolean {
  return codedCauses(error).some(({ code, message }) => {
    if (code === '08P01') return POOLER_WAITS.test(message)
    return WAITED_FOR.test(code) || (code === 'ENOENT' && isUnavailable(error))
  })
}

/** Whether the connection that gave this error cannot be used again, even if it has not closed yet. */
export function endsConnection(error: unknown): boolean {
  return codedCauses(error).some(
    (cause) =>
      isConnectionError(cause) ||
      ('severity' in cause && (cause.severity === 'FATAL' || cause.severity === 'PANIC')),
  )
}

/** ENOENT: the Unix socket does not exist, as while a server restarts. */
function isConnectionError(cause: Coded): boolean {
  if (cause.code === 'ENOENT') return 'syscall' in cause && cause.syscall === 'connect'
  return CONNECTION_CODES.has(cause.code) || TLS_CODE.test(cause.code)
}

type OwnCode =
  | 'ECONNRESET'
  | 'CONNECT_TIMEOUT'
  | 'CONNECT_FAILED'
  | 'UNWRITABLE'
  | 'POOL_TIMEOUT'
  | 'POOL_FULL'
  | 'POOL_CLOSED'
  | 'NO_ANSWER'
  | 'OUT_OF_TIME'
  | 'CONNECTION_LOST'
  | 'STANDBY'
  | 'NO_PRIMARY'
  | 'UNCONFIRMED'
  | 'EMBEDDED_DOWN'
  | 'EMBEDDED_HELD'
  | 'CHANGED_MEANWHILE'

/** Makes an error with one of the codes that the functions above know. */
export function databaseError(code: OwnCode, message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, { cause }), { code })
}

/** The error and its causes, as far as they have a code. drizzle wraps the driver's error. */
function codedCauses(error: unknown): Coded[] {
  const found: Coded[] = []
  let at = error
  for (let depth = 0; depth < 8 && at instanceof Error; depth++, at = at.cause) {
    if ('code' in at && typeof at.code === 'string') found.push(at as Coded)
  }
  return found
}
