/** Status, title and detail of each refusal, in Latchkey's own words. */
export const catalogue = {
  ambiguous_credentials: [
    400,
    'Ambiguous credentials',
    'Send one credential: either Authorization or X-API-Key, once.',
  ],
  missing_credential: [401, 'Missing credential', 'Send an access token or an API key.'],
  invalid_token: [401, 'Invalid credential', 'The credential is not valid, or no longer.'],
  insufficient_scope: [403, 'Insufficient scope', 'The credential lacks a scope that is needed here.'],
  wrong_credential_kind: [403, 'Wrong kind of credential', 'This route takes another kind of credential.'],
  mfa_enrolment_required: [
    403,
    'Second factor must be set up',
    'Set up a second factor first; until then nothing else is open.',
  ],
  ip_not_allowed: [403, 'Address not allowed', 'This key may not be used from this address.'],
  forbidden: [403, 'Forbidden', 'You may not do this.'],
  rate_limited: [429, 'Rate limited', 'Too many requests; wait before the next one.'],
  credits_exhausted: [429, 'Credits exhausted', 'This key has no credits left for this.'],
  unavailable: [503, 'Unavailable', 'A part that this needs is out of reach; try again shortly.'],
} as const satisfies Record<string, readonly [status: number, title: string, detail: string]>

export type RefusalCode = keyof typeof catalogue

/** Why a request is refused, with the answer to send: a problem of RFC 9457. */
export type Refusal = {
  kind: 'refused'
  code: RefusalCode
  status: number
  headers: Readonly<Record<string, string>>
  body: string
}

const CHALLENGE = 'Bearer realm="latchkey"'

/** Optional parts of a refusal: the missing scopes, and the seconds until a retry makes sense. */
type More = { missing?: readonly string[]; retryAfterSeconds?: number }

/** A refusal with the text and headers of Latchkey's own answer. */
export function refuse(code: RefusalCode, more: More = {}): Refusal {
  const [status, title, standard] = catalogue[code]
  const scope = more.missing?.join(' ')
  const detail = scope === undefined ? standard : `Missing required scope: ${scope}`
  const headers: Record<string, string> = {
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
  }
  if (code === 'missing_credential') headers['www-authenticate'] = CHALLENGE
  if (code === 'invalid_token') headers['www-authenticate'] = `${CHALLENGE}, error="invalid_token"`
  if (scope !== undefined)
    headers['www-authenticate'] = `${CHALLENGE}, error="insufficient_scope", scope="${scope}"`
  const retryAfterSeconds = code === 'unavailable' ? 1 : more.retryAfterSeconds
  if (retryAfterSeconds !== undefined) headers['retry-after'] = String(retryAfterSeconds)
  const body = JSON.stringify({ type: `/errors/${code}`, title, status, detail, code })
  return Object.freeze({ kind: 'refused', code, status, headers: Object.freeze(headers), body })
}

/** A refusal as a `Response`, for frameworks that use the Fetch API. */
export function toResponse({ status, headers, body }: Refusal): Response {
  return new Response(body, { status, headers })
}
