import { Elysia } from 'elysia'
import { catalogue, type ErrorCode, fail } from '../../lib/errors.ts'

/**
 * What each error means and what to do about it. docs/errors.md holds the same texts, and a test compares them. A page
 * shows neither the request nor its `detail`, so it says nothing that depends on a caller.
 */
export const EXPLANATIONS: Record<ErrorCode, string> = {
  malformed_json:
    'The body is not JSON in UTF-8. Look for a missing quote or comma, or for a shell that removed the quotes.',
  ambiguous_credentials:
    'The request carries two credentials: Authorization beside X-API-Key, or one of the two headers twice. Send one. Check whether a proxy or an HTTP library adds the other.',
  invalid_request:
    'The request breaks a rule of its format: a parameter is missing or repeated, the body ended early, a text holds the character NUL, or the policy of a forward-auth question cannot be read. The detail says which.',
  invalid_scope:
    'The scope that was asked for at the token endpoint is malformed, or goes beyond what the user, the session or the key holds. Ask for less, or have an admin raise the ceiling.',
  invalid_target:
    'The resource that was asked for is unknown or disabled, was named twice, was left out where it is needed, or is not that of the session. Name one registered resource, byte for byte.',
  unauthorized_client:
    'The client is known, and may not use this grant. An admin sets the grants of a client.',
  access_denied:
    'The person did not allow the app what it asked for, or none of the scopes that were asked for is left for this client and this person.',
  authorization_pending:
    'The person has not yet answered at /device. Ask again after the seconds of interval.',
  slow_down:
    'The device asked again before the seconds of interval were over. Wait five seconds longer than before, from now on.',
  expired_token:
    'The device code is older than ten minutes, and no person allowed it in time. Begin again at /oauth/device_authorization.',
  unsupported_grant_type:
    'The token endpoint takes authorization_code, client_credentials, refresh_token, unless ALGORITHM=HS256 urn:ietf:params:oauth:grant-type:device_code and token exchange, and, unless OAUTH_PASSWORD_GRANT=false, password.',
  invalid_redirect_uri:
    'An app that registers itself has a redirect URI that cannot be used. Use https, or http on localhost, 127.0.0.1 or [::1]; the detail says what is wrong.',
  invalid_client_metadata:
    'An app that registers itself declares something that is not taken here. Such an app is a public client with the grant authorization_code; the detail says what is wrong.',
  missing_credential:
    'The route needs a credential, and the request carries none. Send Authorization: Bearer with an access token or an API key, or X-API-Key with an API key.',
  invalid_token:
    'The credential is unknown, expired, revoked or disabled, or its owner is disabled; the answer does not tell which. With an access token, refresh or log in again. With an API key, its owner finds the reason in the key list.',
  invalid_login:
    'The e-mail address or the password is wrong, or the account cannot log in; the answer does not tell which. Try again, or have an admin make a password reset.',
  invalid_client:
    'The client could not be authenticated. A service account has its own id, and one of its live API keys as the secret. An app has its client_id, and one of its secrets; a public one has none and sends none. Send both in one way: by HTTP Basic or in the form.',
  insufficient_scope:
    'The credential is good, and lacks a scope that the route needs, or one that the request would give to a key, an account or a user. The detail names the scope. Use a credential that holds it, or have an admin raise the ceiling.',
  wrong_credential_kind:
    'The route takes either access tokens of users or API keys, and the request carries the other kind. Send the other kind.',
  ip_not_allowed:
    "The key has allowed_ips, and the client's address is not among them or is not known. Call from an allowed address, or change the list. Behind a proxy, check TRUSTED_PROXIES.",
  cross_site:
    'Pages and the routes below /session take requests that change something from pages of their own origin alone, and this one came from somewhere else. Call the JSON API with a bearer credential instead. Behind a proxy, check PUBLIC_URL.',
  mfa_required:
    'The password is right, and the account has a second factor. Send a code, a recovery code or the answer of a passkey with the mfa_token of this answer, within five minutes. See docs/second-factors.md.',
  mfa_enrolment_required:
    'REQUIRE_MFA asks this person for a second factor, which is not set up yet. Set it up by /auth/mfa/totp or /auth/passkeys; until then only these routes are open.',
  email_not_verified:
    'EMAIL_VERIFICATION=required, and the address of the account was never proved. Open the link that was mailed, or ask for another by POST /auth/verify-email/resend.',
  reauthentication_required:
    'The log-in of this session is older than ten minutes, and the request changes something that a stolen session must not. Prove who you are by POST /auth/reauthenticate, then repeat the request.',
  password_required:
    "A mailed link proves an address, not who chose the password. Send the account's password too, or a bearer token of the account. A person who does not know it asks for a password reset.",
  invalid_code:
    'The code of the authenticator app or the recovery code is wrong, was used before or is too old, or the answer of the passkey does not fit. Wait for the next code, and check the clock of the device.',
  forbidden:
    "The credential is good, and does not have the power for this. The detail says what is needed: for example an admin's own access token, or an admin, because an admin lowered or disabled what the request would raise.",
  signup_closed:
    'SIGNUP=closed: sign-up is off. An admin makes the account, by POST /users or latchkey users create.',
  quota_exceeded:
    'The owner has as many live keys, or the person as many service accounts, as the settings allow. The detail names the setting and its value. Revoke keys or delete accounts that are not used, or have the setting raised.',
  not_found:
    'Nothing has this path, or what the path names does not exist or belongs to somebody else; the answer does not tell which. Check the path and the id.',
  method_not_allowed: 'The path takes other methods. The Allow header lists them.',
  email_taken:
    'An account with this e-mail address exists. Addresses are compared in lower case. Log in, or have an admin make a password reset.',
  last_admin:
    'The change would leave no active admin. Make another admin first, by PATCH /users/:id or latchkey admin create.',
  already_created:
    'A key was created with this Idempotency-Key before. The answer has its id, and never its secret again. If the secret was lost, revoke that key, and create another one with a new Idempotency-Key.',
  conflict:
    'The present state rules the change out: for example the key is revoked, a rotation is under way, or the password was changed at the same time. Read the state again, then decide.',
  misdirected:
    'This instance is a verifier in a region: it answers whether credentials are good, and nothing else. Send the request to the URL in home.',
  body_too_large:
    'The body is larger than the route takes: 64 KiB, and 8 MiB for /keys/import. Send several smaller requests.',
  unsupported_media_type:
    'Send the body as application/json, and below /oauth/ as application/x-www-form-urlencoded; in UTF-8, and not compressed.',
  validation_failed:
    'At least one member, parameter or header is not allowed as it is. Each entry of errors names one by its path, and its message says what is allowed.',
  rate_limited:
    'A limit is used up: that of the client address, the rate limit of the key, or the one that all keys of its owner share; limited_by says key or owner. Wait for the seconds of Retry-After. The RateLimit headers describe the limit.',
  too_many_attempts:
    'Ten checks of the password of this account failed within fifteen minutes, from any address. Wait for the seconds of Retry-After, or have the password reset. Open sessions go on.',
  credits_exhausted:
    'The key, or its owner, has fewer credits left than this use costs; limited_by says which of the two. Retry-After says when a refill brings enough; without that header no refill will, and the credits have to be raised.',
  internal:
    'A fault of Latchkey, which the client cannot correct. The operator finds the cause in the log by the request_id. Please report it.',
  stale:
    "This instance is a verifier in a region, and nothing proves that the region's copy is recent: an ended credential could still pass. Try again after the seconds of Retry-After, or ask home. See docs/regions.md.",
  unavailable:
    'The database did not answer in time, too many passwords wait to be hashed, or this instance is shutting down. The change may have been made all the same. Try again after the seconds of Retry-After.',
}

const pages = new Map<string, string>(
  Object.entries(catalogue).map(([code, [status, title]]) => [
    code,
    `${title}\n\ncode: ${code}\nstatus: ${status}\n\n${EXPLANATIONS[code as ErrorCode]}\n`,
  ]),
)

/** A page for the `type` of each error (RFC 9457, section 3.1.1). */
export const errorPages = () =>
  new Elysia().get(
    '/errors/:code',
    ({ params }) =>
      new Response(pages.get(params.code) ?? fail('not_found'), {
        headers: { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'public, max-age=3600' },
      }),
    { detail: { hide: true } },
  )
