import pino from 'pino'
import { prettyFactory } from 'pino-pretty'
import { hideCredentials } from './secret.ts'

/** The log: structured events, and one finished line for each request. */
export type Log = Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error'> & {
  /**
   * Writes a finished JSON line, given without its newline, within 100 ms. Null where LOG_LEVEL hides access
   * lines.
   */
  access: ((line: string) => void) | null
  /** Writes everything that is buffered now. */
  flush(): void
}

/** The settings LOG_LEVEL, LOG_FORMAT and API_KEY_HEADERS. */
type LogOptions = {
  logLevel: 'debug' | 'info' | 'warn' | 'error'
  logFormat: 'json' | 'pretty'
  /** API_KEY_HEADERS, whose values a line never has. */
  apiKeyHeaders?: readonly string[]
}

const FLUSH_AFTER_MS = 50
const FLUSH_AT_CHARACTERS = 64 * 1024

/**
 * Creates the structured log: one JSON object a line, or readable lines with LOG_FORMAT=pretty.
 * @param write receives finished lines, several at a time
 */
export function createLog(options: LogOptions, write: (text: string) => void = writeStdout): Log {
  const pretty =
    options.logFormat === 'pretty'
      ? prettyFactory({
          colorize: true,
          singleLine: true,
          translateTime: 'SYS:HH:MM:ss',
          messageKey: 'message',
          timestampKey: 'time',
        })
      : null
  const format = pretty ? (line: string) => pretty(line) : (line: string) => `${line}\n`
  let buffer = ''
  let timer: Timer | null = null

  const flush = () => {
    if (timer) clearTimeout(timer)
    timer = null
    if (buffer === '') return
    const text = buffer
    buffer = ''
    write(text)
  }
  const push = (line: string) => {
    buffer += format(line)
    if (buffer.length >= FLUSH_AT_CHARACTERS) flush()
    else timer ??= setTimeout(flush, FLUSH_AFTER_MS)
  }

  const logger = pino(
    {
      level: options.logLevel,
      base: null,
      messageKey: 'message',
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
      redact: { paths: secretHeaders(options.apiKeyHeaders ?? []), censor: '[redacted]' },
    },
    { write: (line: string) => push(hideCredentials(line.trimEnd())) },
  )
  return {
    debug: logger.debug.bind(logger),
    info: logger.info.bind(logger),
    warn: logger.warn.bind(logger),
    error: logger.error.bind(logger),
    access: logger.isLevelEnabled('info') ? push : null,
    flush,
  }
}

/** Where an event that names the headers of a request would have a credential, also one of no known form. */
const secretHeaders = (more: readonly string[]): string[] =>
  ['authorization', 'cookie', 'x-api-key', ...more].flatMap((name) => [
    `headers["${name}"]`,
    `*.headers["${name}"]`,
  ])

/** A log that discards everything, for commands whose output a person reads. */
export const silentLog: Log = createLog({ logLevel: 'error', logFormat: 'json' }, () => {})

function writeStdout(text: string): void {
  process.stdout.write(text)
}

/**
 * What the log may contain of an error: its kind, SQLSTATE, constraint and stack. Never the text of a failed
 * query with its parameters, nor a database's `detail`: both repeat what people submitted, passwords and
 * e-mail addresses included.
 */
function describeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { type: typeof error }
  const database = findDatabaseError(error)
  if (database) {
    const { code, message, severity, routine, table_name, table, constraint_name, constraint } = database
    return {
      type: 'database',
      code,
      severity,
      ...(REPEATS_VALUES.test(code) ? {} : { message }),
      routine,
      table: table_name ?? table,
      constraint: constraint_name ?? constraint,
      stack: framesOf(error),
    }
  }
  const cause = error.cause === undefined ? {} : { cause: describeError(error.cause) }
  const isQuery = 'query' in error && 'params' in error
  return {
    type: error.name,
    message: isQuery ? 'Failed query' : error.message,
    stack: framesOf(error),
    ...cause,
  }
}

/**
 * The SQLSTATE classes "data exception" and "integrity constraint violation". Messages of these classes
 * repeat submitted values.
 */
const REPEATS_VALUES = /^2[23]/

/** The stack frames without the first line, which repeats the message. */
function framesOf(error: Error): string {
  return (error.stack ?? '')
    .split('\n')
    .filter((line) => line.startsWith('    at '))
    .join('\n')
}

type DatabaseError = { code: string; message: string } & Record<
  'severity' | 'routine' | 'table_name' | 'table' | 'constraint_name' | 'constraint',
  unknown
>

/** The database server's error, which has a SQLSTATE, among the causes of drizzle's error. */
function findDatabaseError(error: unknown): DatabaseError | null {
  for (let e = error; e instanceof Error; e = e.cause) {
    if ('code' in e && 'severity' in e && typeof e.code === 'string') return e as unknown as DatabaseError
  }
  return null
}
