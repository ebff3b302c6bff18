import { errorCode, isUnavailable } from '../db/errors.ts'
import { catalogue, Problem } from '../lib/errors.ts'

/** SQLSTATE classes whose text tells the operator what to mend and repeats nothing that was stored: log-in, catalogue, rights. */
const TELLING_STATES = /^(28|3D|3F|42501|53300|57P)/

/** One sentence for the person at the terminal. Never a query, its parameters, or a stack. */
export function describeFailure(error: unknown): string {
  if (error instanceof Problem) return describeProblem(error)
  const { innermost, isQuery } = unwrap(error)
  const code = errorCode(error)
  if (code !== null && TELLING_STATES.test(code)) return `the database refused: ${innermost} (${code})`
  if (isUnavailable(error)) return `the database cannot be reached: ${innermost}${code ? ` (${code})` : ''}`
  if (isQuery) return `the database failed (${code ?? 'no code'}); LOG_LEVEL=debug tells more`
  return error instanceof Error ? error.message : String(error)
}

function describeProblem({ problem, extra }: Problem): string {
  const [, , detail] = catalogue[problem]
  const fields = extra.errors?.map(({ path, message }) => `${path.replace(/^[/?]/, '')}: ${message}`)
  return fields ? fields.join('; ') : (extra.detail ?? detail)
}

/** drizzle's error tells the query with its parameters; its cause tells what went wrong. */
function unwrap(error: unknown): { innermost: string; isQuery: boolean } {
  let innermost = ''
  let isQuery = false
  for (let at = error; at instanceof Error; at = at.cause) {
    if ('query' in at) isQuery = true
    innermost = at.message || at.name
  }
  return { innermost, isQuery }
}
