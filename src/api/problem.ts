import { BEARER_CHALLENGE, catalogue, type ErrorCode, type Extra } from '../lib/errors.ts'
import type { RequestState } from './request-state.ts'
import { pathOf } from './route-table.ts'

/** An error before it is sent: what `onError` sets on the response. */
export type ErrorAnswer = { status: number; headers: Record<string, string>; body: string }

/** An error in the words of the door at which the request came in. */
export function errorAnswer(code: ErrorCode, extra: Extra, state: RequestState): ErrorAnswer {
  const isOAuth = pathOf(state.request).startsWith('/oauth/')
  return isOAuth ? oauthAnswer(code, extra) : problemAnswer(code, extra, state)
}

/** RFC 9457. */
export function problemAnswer(code: ErrorCode, extra: Extra, state: RequestState): ErrorAnswer {
  const [status, title, detail] = catalogue[code]
  const errors = extra.errors ? { errors: extra.errors } : {}
  const body = {
    type: `/errors/${code}`,
    title,
    status,
    detail: extra.detail ?? detail,
    code,
    request_id: state.id,
    ...errors,
    ...extra.members,
  }
  return { status, headers: headersOf(code, extra, 'application/problem+json'), body: JSON.stringify(body) }
}

/** RFC 6749, section 5.2. */
export function oauthAnswer(code: ErrorCode, extra: Extra): ErrorAnswer {
  const [status, , detail] = catalogue[code]
  const [oauthError, oauthStatus = status] =
    OAUTH_ERRORS[code] ?? (status >= 500 ? ['server_error'] : ['invalid_request'])
  const description =
    extra.detail ?? extra.errors?.map((field) => `${field.path}: ${field.message}`).join('; ') ?? detail
  const body = { error: oauthError, error_description: spellDescription(description), ...extra.members }
  const { 'WWW-Authenticate': challenge, ...headers } = headersOf(code, extra, 'application/json')
  // A client that is challenged looks no further: a dead token among the parameters is no challenge.
  const isChallenge = challenge !== undefined && (oauthStatus === 401 || oauthStatus === 403)
  return {
    status: oauthStatus,
    headers: isChallenge ? { ...headers, 'WWW-Authenticate': challenge } : headers,
    body: JSON.stringify(body),
  }
}

/** The characters that RFC 6749 allows there: printable ASCII but for `"` and `\`. */
function spellDescription(text: string): string {
  return text.replaceAll('"', "'").replace(/[^\x20-\x5b\x5d-\x7e]/g, '?')
}

/** What a code is called under /oauth/, and its status there where it is another. */
const OAUTH_ERRORS: Partial<Record<ErrorCode, readonly [error: string, status?: number]>> = {
  invalid_login: ['invalid_grant', 400],
  invalid_token: ['invalid_grant', 400],
  too_many_attempts: ['invalid_grant'],
  rate_limited: ['temporarily_unavailable'],
  unavailable: ['temporarily_unavailable'],
  validation_failed: ['invalid_request', 400],
  unsupported_grant_type: ['unsupported_grant_type'],
  invalid_client: ['invalid_client'],
  ip_not_allowed: ['unauthorized_client', 400],
  mfa_required: ['mfa_required'],
  email_not_verified: ['email_not_verified'],
  mfa_enrolment_required: ['mfa_enrolment_required'],
  invalid_scope: ['invalid_scope'],
  insufficient_scope: ['insufficient_scope'],
}

function headersOf(code: ErrorCode, extra: Extra, type: string): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': type }
  if (code === 'missing_credential') headers['WWW-Authenticate'] = BEARER_CHALLENGE
  if (code === 'invalid_token' && !extra.isInBody)
    headers['WWW-Authenticate'] = `${BEARER_CHALLENGE}, error="invalid_token"`
  if (code === 'unavailable') headers['Retry-After'] = '1'
  return { ...headers, ...extra.headers }
}
