import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify } from 'jose'
import { ask, fetchIssuer, type Latchkey } from './ask.ts'
import type { UserPrincipal } from './principal.ts'
import type { SharedAnswers } from './shared-answers.ts'

/** A genuine token: of a user, or of a service account, which stands for the key that it was made with. */
export type AccessToken = UserPrincipal | { kind: 'service_account' }

export type TokenSettings = {
  url: string
  /** Undefined: what Latchkey's metadata name. */
  issuer: string | undefined
  /** Undefined: the issuer. */
  audience: string | undefined
  timeLimitMs: number
  /** Hears of a genuine token that is another issuer's, or for another audience. */
  onError: ((error: unknown) => void) | undefined
}

/** What Latchkey signs with, shared secrets aside: whoever can verify by one of those can also sign. */
const ALGORITHMS = ['ES256', 'RS256', 'EdDSA']
const REQUIRED_CLAIMS = ['iss', 'aud', 'sub', 'jti', 'iat', 'exp', 'sid', 'scope']
/** The `client_id` of a person's own token; a service account's is its `sub`. */
const FIRST_PARTY_CLIENT = 'latchkey'
const CLOCK_TOLERANCE_SECONDS = 5
/** Latchkey publishes a key this long before it signs. */
const KEYS_LAST_MS = 300_000
/** A stranger chooses the `kid`: an unknown one has the keys read anew at most this often. */
const REREAD_AFTER_MS = 5_000

/** How jose says that the keys cannot be had, rather than that the token is bad. */
const NO_KEYS = new Set(['ERR_JOSE_GENERIC', 'ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID'])

/**
 * Verifies access tokens here, by Latchkey's published keys: signature, issuer, audience, type (RFC 9068), expiry. What
 * happened to the session or the user since it was signed, a signature does not know.
 * @returns a function that gives null for whatever is not a genuine token, and throws where the keys cannot be had
 */
export function createTokenVerifier({ url, timeLimitMs, onError, ...expected }: TokenSettings) {
  const keys = createRemoteJWKSet(new URL(`${url}/.well-known/jwks.json`), {
    cacheMaxAge: KEYS_LAST_MS,
    cooldownDuration: REREAD_AFTER_MS,
    timeoutDuration: timeLimitMs,
  })
  let known: Promise<string> | null = null
  /** Asked for once. A failure is no answer. */
  const discoverIssuer = () => {
    known ??= fetchIssuer({ url, timeLimitMs }).catch((error) => {
      known = null
      throw error
    })
    return known
  }
  return async (token: string): Promise<AccessToken | null> => {
    const issuer = expected.issuer ?? (await discoverIssuer())
    const audience = expected.audience ?? issuer
    try {
      const { payload } = await jwtVerify(token, keys, {
        algorithms: ALGORITHMS,
        issuer,
        audience,
        typ: 'at+jwt',
        requiredClaims: REQUIRED_CLAIMS,
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
      })
      return readPayload(payload)
    } catch (error) {
      const mismatch = describeMismatch(error, { iss: issuer, aud: audience })
      if (mismatch) onError?.(new Error(mismatch))
      if (error instanceof errors.JOSEError && !NO_KEYS.has(error.code)) return null
      throw error
    }
  }
}

/** Why a token that Latchkey signed is not for this client: the claims are looked at after the signature. */
function describeMismatch(error: unknown, expected: { iss: string; aud: string }): string | null {
  if (!(error instanceof errors.JWTClaimValidationFailed) || error.reason !== 'check_failed') return null
  const { claim, payload } = error
  if (claim === 'iss') return `The token's issuer is ${payload.iss}, this client expects ${expected.iss}`
  if (claim === 'aud') return `The token's audience is ${payload.aud}, this client expects ${expected.aud}`
  return null
}

function readPayload({ sub, sid, role, scope, client_id, amr }: JWTPayload): AccessToken | null {
  if (typeof sub !== 'string' || typeof sid !== 'string' || typeof scope !== 'string') return null
  if (client_id === sub) return { kind: 'service_account' }
  if (client_id !== undefined && client_id !== FIRST_PARTY_CLIENT) return null
  if (role !== 'admin' && role !== 'user') return null
  return { kind: 'user', userId: sub, sessionId: sid, role, scopes: scopesOf(scope), amr: amrOf(amr) }
}

const NO_ANSWER = 'Not an answer of /oauth/introspect'

/** A Latchkey of before second factors says nothing of them. */
const amrOf = (amr: unknown): readonly string[] =>
  Object.freeze(Array.isArray(amr) ? amr.filter((value) => typeof value === 'string') : [])

const scopesOf = (scope: string) => Object.freeze(scope.split(' ').filter((name) => name !== ''))

/**
 * What Latchkey says of a genuine token now (RFC 7662); null: its session ended, or its user may no longer.
 * @throws Error where Latchkey cannot say
 */
export function introspect(
  latchkey: Latchkey,
  answers: SharedAnswers,
  token: string,
  user: UserPrincipal,
): Promise<UserPrincipal | null> {
  const form = new URLSearchParams({ token }).toString()
  const read = async (): Promise<UserPrincipal | null> => {
    const json = await ask(latchkey, '/oauth/introspect', form, 'application/x-www-form-urlencoded')
    const answer = json as Record<'active' | 'sub' | 'role' | 'scope' | 'amr', unknown> | null
    if (answer?.active === false) return null
    if (answer?.active !== true || answer.sub !== user.userId) throw new Error(NO_ANSWER)
    const { role, scope, amr } = answer
    if ((role !== 'admin' && role !== 'user') || typeof scope !== 'string') throw new Error(NO_ANSWER)
    return Object.freeze({ ...user, role, scopes: scopesOf(scope), amr: amrOf(amr) })
  }
  return answers.get(['token', token], read, () => true)
}
