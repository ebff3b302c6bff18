import { Elysia } from 'elysia'
import type { RateLimitName } from '../config/rate-limits.ts'
import { countEvent } from '../core/audit/counted-events.ts'
import type { Context } from '../core/context.ts'
import { isUnavailable, isUnstorableText } from '../db/errors.ts'
import { catalogue, type ErrorCode, Problem } from '../lib/errors.ts'
import { elysiaCodeOf, isAboutResponse, pathOf } from './elysia.ts'
import { fieldErrorsOf } from './field-errors.ts'
import { isOAuthPath } from './oauth-path.ts'
import { errorPage, PAGE_HEADERS, prefersPage, siteOf } from './pages/answer.tsx'
import { type ErrorAnswer, errorAnswer } from './problem.ts'
import type { Limits } from './rate-limit.ts'
import { originOf, type RequestState, stated } from './request-state.ts'
import { limitOf } from './route-table.ts'
import { traceMembers } from './trace.ts'

/**
 * The one `onError`. A request that failed before a rate limit counted it is counted here; otherwise a client could send
 * any number of requests that fail (docs/decisions/0005).
 * @param missing what a request is answered that no route takes
 */
export function errors(context: Context, limits: Limits, missing: (path: string) => Problem) {
  const site = siteOf(context.config)
  return new Elysia({ name: 'errors' })
    .use(stated)
    .onError({ as: 'global' }, async ({ error, request, state, set }) => {
      const failure = elysiaCodeOf(error) === 'NOT_FOUND' ? missing(pathOf(request)) : error
      const counted = await countFailure(limits, failure, request, state)
      const refusal = await auditRefusal(context, counted, state)
      const answer = answerError(context, refusal, state)
      const problem = toProblem(refusal)
      const page = wantsPage(request, problem) ? errorPage(site, problem) : null
      set.status = answer.status
      Object.assign(set.headers, answer.headers, page && PAGE_HEADERS)
      return page ?? answer.body
    })
}

/**
 * The OAuth endpoints answer by their standards whatever `Accept` says, but for the pages among them. What is home's says
 * where home is, in a member.
 */
const wantsPage = (request: Request, { problem }: Problem) =>
  prefersPage(request) && !isOAuthPath(pathOf(request)) && problem !== 'misdirected'

/**
 * What a request is answered that no route takes: 405 where its path takes other methods.
 * @param methodsOf the methods that a path takes; none for a path that does not exist
 */
export const missingAmong =
  (methodsOf: (path: string) => readonly string[]) =>
  (path: string): Problem => {
    const methods = methodsOf(path)
    return methods.length === 0
      ? new Problem('not_found')
      : new Problem('method_not_allowed', { headers: { Allow: methods.join(', ') } })
  }

/** Gives back the error, or rate_limited where the client has sent too many requests. */
async function countFailure(
  limits: Limits,
  error: unknown,
  request: Request,
  state: RequestState,
): Promise<unknown> {
  const { problem } = toProblem(error)
  // A request that is home's costs less than the count of it.
  if (state.counted || catalogue[problem][0] >= 500 || problem === 'misdirected') return error
  return limits.consume(LIMIT_OF[problem] ?? limitOf(request) ?? 'other', state).then(
    () => error,
    (exceeded: unknown) => exceeded,
  )
}

/** Failed authentication and refused authorization have rate limits of their own, independent of the route's. */
const LIMIT_OF: Partial<Record<ErrorCode, RateLimitName>> = {
  missing_credential: 'unknown_credential',
  invalid_token: 'unknown_credential',
  forbidden: 'other',
  insufficient_scope: 'other',
  wrong_credential_kind: 'other',
}

const AUDITED = new Set<ErrorCode>(['forbidden', 'insufficient_scope', 'wrong_credential_kind'])

/**
 * Audits a refusal by kind, role or scope, whether the guard or a function of `core/` refused. There is one row for each
 * caller, route, reason and minute; otherwise a caller could fill the audit trail (docs/decisions/0033).
 * @returns the error itself, or why it could not be audited
 */
async function auditRefusal(context: Context, error: unknown, state: RequestState): Promise<unknown> {
  const { problem, extra } = toProblem(error)
  // A verifier writes nothing, and refuses callers of its questions alone.
  if (!AUDITED.has(problem) || context.region !== null) return error
  const route = `${state.request.method} ${state.route}`
  const details = { ...extra.audit, reason: problem, route }
  const event = { action: 'access.denied', outcome: 'refused', details } as const
  return countEvent(context, originOf(state), event).then(
    () => error,
    (failure: unknown) => failure,
  )
}

/**
 * Turns any error into an answer: a Problem, an error of Elysia's or of the database's, and anything unexpected. A private
 * cause goes to the log with the request id, and never into the answer.
 */
export function answerError(context: Context, error: unknown, state: RequestState): ErrorAnswer {
  const problem = toProblem(error)
  const { problem: code, extra } = problem
  const [status] = catalogue[code]
  if (status >= 500 || extra.cause !== undefined) {
    const level = status >= 500 ? 'error' : 'debug'
    const ids = { request_id: state.id, ...traceMembers(state.trace) }
    context.log[level]({ err: extra.cause ?? error, ...ids, code }, 'A request failed')
  }
  return errorAnswer(code, extra, state)
}

/** The Problem behind an error, which Elysia may have wrapped; `unavailable` without the database; else `internal`. */
function toProblem(error: unknown): Problem {
  for (let e = error; e instanceof Error; e = e.cause) if (e instanceof Problem) return e
  if (isUnavailable(error)) return new Problem('unavailable', { cause: error })
  if (isUnstorableText(error))
    return new Problem('invalid_request', { detail: 'No text may hold the character NUL.', cause: error })
  const kind = elysiaCodeOf(error)
  if (kind === 'NOT_FOUND') return new Problem('not_found')
  if (kind === 'VALIDATION' && error instanceof Error && !isAboutResponse(error))
    return new Problem('validation_failed', { errors: fieldErrorsOf(error) })
  if (kind === 'INVALID_COOKIE_SIGNATURE' || kind === 'INVALID_FILE_TYPE')
    return new Problem('invalid_request')
  return new Problem('internal', { cause: error })
}
