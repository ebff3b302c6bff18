/** What carries an error's SQLSTATE or the driver's own code. */
type Coded = Error & { code: string }

/** Of the drivers and of `gate.ts`: no answer came from the database. */
const CONNECTION_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'CONNECT_TIMEOUT',
  'CONNECTION_CLOSED',
  'CONNECTION_DESTROYED',
  'CONNECTION_ENDED',
  'POOL_TIMEOUT',
  'POOL_FULL',
  'NO_ANSWER',
  'STANDBY',
  'EMBEDDED_CLOSED',
])

/**
 * SQLSTATEs by which a server says "not now": statement or lock timeout, shutdown, crash recovery, idle session ended,
 * too many connections, out of memory or disk, read-only after a failover, a deadlock or serialisation failure that
 * would pass when tried again.
 */
const TRANSIENT_STATES = new Set([
  '57014',
  '55P03',
  '57P01',
  '57P02',
  '57P03',
  '57P05',
  '25P03',
  '25006',
  '40001',
  '40P01',
])

/** Whether the database could not be asked or gave up, which is a 503 and says nothing about the data. */
export function isUnavailable(error: unknown): boolean {
  for (const { code } of codedCauses(error)) {
    if (CONNECTION_CODES.has(code) || TRANSIENT_STATES.has(code)) return true
    // 08: connection exception, 53: insufficient resources.
    if (/^(08|53)[0-9A-Z]{3}$/.test(code)) return true
  }
  return false
}

/** The name of the constraint or unique index that refused a row, or null: postgres.js and PGlite name the field differently. */
export function violatedConstraint(error: unknown): string | null {
  for (const cause of codedCauses(error)) {
    if (!cause.code.startsWith('23')) continue
    if ('constraint_name' in cause && typeof cause.constraint_name === 'string') return cause.constraint_name
    if ('constraint' in cause && typeof cause.constraint === 'string') return cause.constraint
  }
  return null
}

/** The SQLSTATE or driver's code of the innermost error that has one, or null. */
export function errorCode(error: unknown): string | null {
  return codedCauses(error).at(-1)?.code ?? null
}

/** Whether the embedded database is held by another process. */
export function isHeldElsewhere(error: unknown): boolean {
  return errorCode(error) === 'EMBEDDED_HELD'
}

/** An error of this layer's own, with a code that the functions above know. */
export function databaseError(
  code: 'POOL_TIMEOUT' | 'POOL_FULL' | 'NO_ANSWER' | 'STANDBY' | 'EMBEDDED_CLOSED' | 'EMBEDDED_HELD',
  message: string,
): Error {
  return Object.assign(new Error(message), { code })
}

/** drizzle wraps the driver's error: the error and its causes, as far as they carry a code. */
function codedCauses(error: unknown): Coded[] {
  const found: Coded[] = []
  let at = error
  for (let depth = 0; depth < 8 && at instanceof Error; depth++, at = at.cause) {
    if ('code' in at && typeof at.code === 'string') found.push(at as Coded)
  }
  return found
}
