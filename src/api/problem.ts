import { BEARER_CHALLENGE, catalogue, type ErrorCode, type Extra } from '../lib/errors.ts'
import { pathOf } from './elysia.ts'
import { isOAuthPath } from './oauth-path.ts'
import type { RequestState } from './request-state.ts'

/** The parts of an error's answer. */
export type ErrorAnswer = { status: number; headers: Record<string, string>; body: string }

/**
 * The answer of an error: by RFC 6749 at the endpoints of OAuth, by RFC 9457 everywhere else. A request that belongs to home
 * did not reach an endpoint.
 */
export function errorAnswer(code: ErrorCode, extra: Extra, state: RequestState): ErrorAnswer {
  const isOAuth = isOAuthPath(pathOf(state.request)) && code !== 'misdirected'
  return isOAuth ? oauthAnswer(code, extra) : problemAnswer(code, extra, state)
}

/** The answer of an error by RFC 9457. */
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

/** The answer of an error by RFC 6749, section 5.2. */
export function oauthAnswer(code: ErrorCode, extra: Extra): ErrorAnswer {
  const [status, , detail] = catalogue[code]
  const [oauthError, oauthStatus = status] =
    OAUTH_ERRORS[code] ?? (status >= 500 ? ['server_error'] : ['invalid_request'])
  const description =
    extra.detail ?? extra.errors?.map((field) => `${field.path}: ${field.message}`).join('; ') ?? detail
  // A member of problems, which RFC 6749 does not know.
  const { limited_by: _, ...members } = extra.members ?? {}
  const body = { error: oauthError, error_description: spellDescription(description), ...members }
  const { 'WWW-Authenticate': challenge, ...headers } = headersOf(code, extra, 'application/json')
  // A challenge makes a client authenticate itself again, which does not help where a token in the form is invalid (400).
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

/** The OAuth error of a code below /oauth/, and its status where that differs from the catalogue's. */
const OAUTH_ERRORS: Partial<Record<ErrorCode, readonly [error: string, status?: number]>> = {
  invalid_login: ['invalid_grant', 400],
  invalid_token: ['invalid_grant', 400],
  too_many_attempts: ['invalid_grant'],
  rate_limited: ['temporarily_unavailable'],
  unavailable: ['temporarily_unavailable'],
  stale: ['temporarily_unavailable'],
  validation_failed: ['invalid_request', 400],
  unsupported_grant_type: ['unsupported_grant_type'],
  invalid_client: ['invalid_client'],
  invalid_target: ['invalid_target'],
  unauthorized_client: ['unauthorized_client'],
  access_denied: ['access_denied'],
  authorization_pending: ['authorization_pending'],
  slow_down: ['slow_down'],
  expired_token: ['expired_token'],
  ip_not_allowed: ['unauthorized_client', 400],
  mfa_required: ['mfa_required'],
  email_not_verified: ['email_not_verified'],
  mfa_enrolment_required: ['mfa_enrolment_required'],
  invalid_scope: ['invalid_scope'],
  insufficient_scope: ['insufficient_scope'],
  invalid_redirect_uri: ['invalid_redirect_uri'],
  invalid_client_metadata: ['invalid_client_metadata'],
}

function headersOf(code: ErrorCode, extra: Extra, type: string): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': type }
  const isChallenged = extra.isChallenged ?? true
  if (isChallenged && code === 'missing_credential') headers['WWW-Authenticate'] = BEARER_CHALLENGE
  if (isChallenged && code === 'invalid_token')
    headers['WWW-Authenticate'] = `${BEARER_CHALLENGE}, error="invalid_token"`
  if (code === 'unavailable' || code === 'stale') headers['Retry-After'] = '1'
  return { ...headers, ...extra.headers }
}
