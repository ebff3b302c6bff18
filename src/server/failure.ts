import { errorCode, isUnavailable } from '../db/errors.ts'
import { catalogue, Problem } from '../lib/errors.ts'

/**
 * SQLSTATE classes whose messages name what to correct and contain no stored data: log-in, catalogue,
 * privileges.
 */
const TELLING_STATES = /^(28|3D|3F|42501|53300|57P)/

/**
 * Describes an error in one sentence for the person at the terminal. Contains no query, parameters or stack,
 * because they repeat what people submitted.
 */
export function describeFailure(error: unknown): string {
  if (error instanceof Problem) return describeProblem(error)
  if (!(error instanceof Error)) return String(error)
  const isQuery = 'query' in error
  // The message of Latchkey's own error is already a sentence for that person.
  if (!isQuery && !('code' in error)) return error.message
  const code = errorCode(error)
  const reason = `${innermostMessage(error)}${code ? ` (${code})` : ''}`
  if (code !== null && TELLING_STATES.test(code)) return `the database refused: ${reason}`
  if (isUnavailable(error) && !isAboutFile(error)) return `the database cannot be reached: ${reason}`
  return isQuery ? `the database failed (${code ?? 'no code'}); LOG_LEVEL=debug tells more` : error.message
}

function describeProblem({ problem, extra }: Problem): string {
  const [, , detail] = catalogue[problem]
  const fields = extra.errors?.map(({ path, message }) => `${path.replace(/^[/?]/, '')}: ${message}`)
  return fields ? fields.join('; ') : (extra.detail ?? detail)
}

/** ENOENT may concern the database's socket or a file. */
function isAboutFile(error: Error): boolean {
  return 'path' in error && 'syscall' in error && error.syscall !== 'connect'
}

/**
 * The message of drizzle's error contains the query with its parameters. The message of its cause says what
 * failed.
 */
function innermostMessage(error: Error): string {
  let at = error
  while (at.cause instanceof Error) at = at.cause
  return at.message || at.name
}
