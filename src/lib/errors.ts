/**
 * Every error that Latchkey answers with: code → status, RFC 9457 `title`, and default `detail`, a sentence
 * that a person can act on. No other place connects a code with a status.
 */
export const catalogue = {
  malformed_json: [400, 'Malformed JSON', 'The body is not valid JSON in UTF-8.'],
  ambiguous_credentials: [
    400,
    'Ambiguous credentials',
    'Send one credential: either Authorization or X-API-Key, once.',
  ],
  invalid_request: [400, 'Invalid request', 'The request cannot be read.'],
  invalid_scope: [400, 'Invalid scope', 'A scope is asked for that cannot be granted.'],
  invalid_target: [400, 'Invalid target', 'The resource is not known here, or it cannot be had.'],
  unauthorized_client: [400, 'Unauthorized client', 'The client may not use this grant.'],
  access_denied: [400, 'Access denied', 'The person did not allow it, or may not allow what was asked for.'],
  authorization_pending: [400, 'Authorization pending', 'The person has not answered yet. Ask again.'],
  slow_down: [400, 'Slow down', 'The device asks too often. Wait five seconds longer each time from now on.'],
  expired_token: [400, 'Expired device code', 'The person did not answer in time. Begin again.'],
  unsupported_grant_type: [400, 'Unsupported grant type', 'This grant type is not offered here.'],
  invalid_redirect_uri: [400, 'Invalid redirect URI', 'A redirect URI cannot be used.'],
  invalid_client_metadata: [400, 'Invalid client metadata', 'The app cannot be registered like this.'],
  missing_credential: [401, 'Missing credential', 'Send an access token or an API key.'],
  invalid_token: [401, 'Invalid credential', 'The credential is not valid, or no longer.'],
  invalid_login: [401, 'Invalid login', 'Incorrect email or password'],
  invalid_client: [401, 'Invalid client', 'The client is not known here, or its secret is wrong.'],
  insufficient_scope: [403, 'Insufficient scope', 'The credential lacks a scope that is needed here.'],
  wrong_credential_kind: [403, 'Wrong kind of credential', 'This route takes another kind of credential.'],
  ip_not_allowed: [403, 'Address not allowed', 'This key may not be used from this address.'],
  cross_site: [403, 'Another site asks', 'This takes a request from a page of this origin.'],
  mfa_required: [403, 'Second factor required', 'The password is right; a second factor is needed too.'],
  mfa_enrolment_required: [
    403,
    'Second factor must be set up',
    'Set up a second factor first; until then nothing else is open.',
  ],
  email_not_verified: [
    403,
    'E-mail not verified',
    'Open the link that was mailed to this address, then log in.',
  ],
  reauthentication_required: [
    403,
    'Recent authentication required',
    'Prove again who you are (POST /auth/reauthenticate), then repeat the request.',
  ],
  password_required: [403, 'Password required', "Send the account's password too."],
  invalid_code: [403, 'Invalid code', 'The code is wrong, used or too old.'],
  forbidden: [403, 'Forbidden', 'You may not do this.'],
  signup_closed: [403, 'Sign-up is closed', 'Ask an administrator for an account.'],
  quota_exceeded: [
    403,
    'Quota exceeded',
    'The owner has as many live keys as it may have; revoke one first.',
  ],
  not_found: [404, 'Not found', 'There is nothing here.'],
  method_not_allowed: [405, 'Method not allowed', 'This path takes other methods: see Allow.'],
  email_taken: [409, 'E-mail taken', 'This e-mail is already registered.'],
  last_admin: [409, 'Last admin', 'The last active admin cannot be demoted, disabled or deleted.'],
  already_created: [
    409,
    'Already created',
    'A key was made with this Idempotency-Key before; it is not shown a second time.',
  ],
  conflict: [409, 'Conflict', 'The request conflicts with the present state.'],
  misdirected: [
    421,
    'Misdirected request',
    'This instance is a verifier in a region: send the request home.',
  ],
  body_too_large: [413, 'Body too large', 'The body is larger than this route takes.'],
  unsupported_media_type: [415, 'Unsupported media type', 'Send the body as application/json.'],
  validation_failed: [422, 'Validation failed', 'Some members of the request are not valid: see errors.'],
  rate_limited: [429, 'Rate limited', 'Too many requests; wait before the next one.'],
  too_many_attempts: [
    429,
    'Too many attempts',
    'Too many failed attempts for this account; wait, then try again.',
  ],
  credits_exhausted: [429, 'Credits exhausted', 'This key has no credits left for this.'],
  internal: [500, 'Internal error', 'Something went wrong here. The request id finds it in the log.'],
  stale: [503, 'Stale copy', "The region's copy is not proved to be recent enough; try again shortly."],
  unavailable: [503, 'Unavailable', 'A part that this needs is out of reach; try again shortly.'],
} as const satisfies Record<string, readonly [status: number, title: string, detail: string]>

export type ErrorCode = keyof typeof catalogue

const REALM = 'realm="latchkey"'
/**
 * WWW-Authenticate challenges (RFC 9110, section 11.6.1): Bearer for access tokens and API keys, Basic for
 * the id and secret of an OAuth client.
 */
export const BEARER_CHALLENGE = `Bearer ${REALM}`
export const BASIC_CHALLENGE = `Basic ${REALM}`

/**
 * One invalid member of a request: its place (see `failField`) and what is allowed. Never the submitted
 * value, which may be a secret.
 */
export type FieldError = { path: string; message: string }

/** What a call of `fail` may add to the entry of the catalogue. */
export type Extra = {
  detail?: string
  errors?: FieldError[]
  headers?: Record<string, string>
  /** false: no `WWW-Authenticate`, because the credential was not in a header. */
  isChallenged?: false
  /** For a refusal by kind, role or scope: the details of its audit row (docs/decisions/0033). */
  audit?: Record<string, unknown>
  /** Further members of the answer (RFC 9457, section 3.2). */
  members?: Record<string, unknown>
  /** Logged with the request id, never sent. */
  cause?: unknown
}

/** An expected refusal. `api/errors.ts` alone turns it into an answer. */
export class Problem extends Error {
  readonly problem: ErrorCode
  readonly extra: Extra
  constructor(problem: ErrorCode, extra: Extra = {}) {
    super(problem, extra.cause === undefined ? undefined : { cause: extra.cause })
    this.name = 'Problem'
    this.problem = problem
    this.extra = extra
  }
}

/**
 * Ends the current request with an error of the catalogue.
 * @param extra replaces or extends the catalogue's entry
 * @throws Problem always
 * @example fail('email_taken')
 */
export function fail(code: ErrorCode, extra?: Extra): never {
  throw new Problem(code, extra)
}

/**
 * Ends the current request with 401 for a token of a body or a link that is unknown, used, void or expired: one answer
 * for all.
 * @throws Problem invalid_token always
 */
export function failToken(): never {
  fail('invalid_token', { isChallenged: false })
}

/**
 * Ends the current request with 422 for one member.
 * @param path a JSON pointer into the body, `?name` for a query parameter, or the name of a header
 * @param message a sentence that says what is allowed
 * @throws Problem validation_failed always
 */
export function failField(path: string, message: string): never {
  fail('validation_failed', { errors: [{ path, message }] })
}

/** The JSON pointer to a member of the body (RFC 6901, section 3). */
export function pointerTo(name: string): string {
  return `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
}

/**
 * The response headers of a rate limit or quota that is used up.
 * @param limit the maximum in one window; 0 where the limit allows nothing more
 * @param resetSeconds the seconds until uses are available again; null if no such time is known
 */
export function spentHeaders(limit: number, resetSeconds: number | null): Record<string, string> {
  const spent = { 'RateLimit-Limit': String(limit), 'RateLimit-Remaining': '0' }
  if (resetSeconds === null) return spent
  const seconds = String(resetSeconds)
  return { ...spent, 'RateLimit-Reset': seconds, 'Retry-After': seconds }
}
