import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify } from 'jose'
import { ask, fetchIssuer, type Latchkey } from './ask.ts'
import type { UserPrincipal } from './principal.ts'
import type { SharedAnswers } from './shared-answers.ts'

/**
 * A valid access token: of a user, or of a service account, whose token stands for the key with which it was obtained.
 */
export type AccessToken = UserPrincipal | { kind: 'service_account' }

export type TokenSettings = {
  url: string
  /** undefined: the issuer that Latchkey's metadata name. */
  issuer: string | undefined
  /** undefined: the issuer. */
  audience: string | undefined
  timeLimitMs: number
  /** Is called for a validly signed token of another issuer or audience, which is a mistake in the configuration. */
  onError: ((error: unknown) => void) | undefined
}

/**
 * The signature algorithms that Latchkey publishes keys for. HS256 is left out: a service that can verify with a shared
 * secret can also sign with it.
 */
const ALGORITHMS = ['ES256', 'RS256', 'EdDSA']
const REQUIRED_CLAIMS = ['iss', 'aud', 'sub', 'jti', 'iat', 'exp', 'sid', 'scope']
const CLOCK_TOLERANCE_SECONDS = 5
/** How long fetched keys are used. Latchkey publishes a new key for at least this long before it signs with it. */
const KEYS_LAST_MS = 300_000
/**
 * The shortest time between two fetches that an unknown `kid` causes. A sender chooses the `kid`, so without this bound
 * forged tokens would cause a fetch each.
 */
const REREAD_AFTER_MS = 5_000

/** Codes of jose's errors when the keys cannot be fetched. Such an error says nothing about the token. */
const NO_KEYS = new Set(['ERR_JOSE_GENERIC', 'ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID'])

/**
 * Verifies access tokens locally with Latchkey's published keys: signature, issuer, audience, type (RFC 9068) and
 * expiry. A signature does not show that the session has ended or the user was disabled since; `introspect` does.
 * @returns a function that gives null for an invalid token, and throws where the keys cannot be fetched
 */
export function createTokenVerifier({ url, timeLimitMs, onError, ...expected }: TokenSettings) {
  const keys = createRemoteJWKSet(new URL(`${url}/.well-known/jwks.json`), {
    cacheMaxAge: KEYS_LAST_MS,
    cooldownDuration: REREAD_AFTER_MS,
    timeoutDuration: timeLimitMs,
  })
  let known: Promise<string> | null = null
  /** Fetches the issuer once. A failure is not kept, so the next token tries again. */
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

/**
 * Why a token that Latchkey signed is not for this client. jose checks the claims only after the signature, so a forged
 * token never gets here.
 */
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
  // An app's token has no role. One of Latchkey's own apps gets a user's token, under a client_id of its own.
  if (role !== 'admin' && role !== 'user') return null
  return { kind: 'user', userId: sub, sessionId: sid, role, scopes: scopesOf(scope), amr: amrOf(amr) }
}

const NO_ANSWER = 'Not an answer of /oauth/introspect'

/** A Latchkey of before second factors says nothing of them. */
const amrOf = (amr: unknown): readonly string[] =>
  Object.freeze(Array.isArray(amr) ? amr.filter((value) => typeof value === 'string') : [])

const scopesOf = (scope: string) => Object.freeze(scope.split(' ').filter((name) => name !== ''))

/**
 * What Latchkey says now about a token whose signature is valid (RFC 7662). null: the session has ended, or the user is
 * disabled.
 * @throws Error where Latchkey cannot answer
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
