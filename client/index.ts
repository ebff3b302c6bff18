import { createTokenVerifier, introspect } from './access-token.ts'
import { verifyKey } from './api-key.ts'
import type { Latchkey } from './ask.ts'
import { isAccessToken, readCredential, readKeyNames, standsForKey } from './credential.ts'
import { type Exactly, type Need, type PrincipalOf, requireNeed, requirePlain } from './need.ts'
import type { Principal, UserPrincipal } from './principal.ts'
import { type Refusal, refuse } from './refusal.ts'
import { challengeAt, fetchMetadata, type ResourceMetadata, verifyAtResource } from './resource.ts'
import { createSharedAnswers } from './shared-answers.ts'

export type { Need, PrincipalOf } from './need.ts'
export type { ClientPrincipal, KeyPrincipal, Principal, UserPrincipal } from './principal.ts'
export { type Refusal, type RefusalCode, toResponse } from './refusal.ts'
export type { ResourceMetadata } from './resource.ts'

export type ClientOptions = {
  /** The base URL of Latchkey, such as `http://latchkey:8000`. */
  url: string
  /**
   * This service's own API key, with the scope `latchkey:verify`. Without it, only users' access tokens are accepted.
   */
  key?: string | undefined
  /**
   * The identifier of the resource that this service protects. Keys are accepted, and access tokens of apps that were made
   * for this resource; Latchkey is asked about each (`POST /verify`), so it needs a `key`. Users' own tokens are refused.
   */
  resource?: string
  /** Latchkey's API_KEY_HEADERS: headers that carry a key besides X-API-Key. */
  apiKeyHeaders?: readonly string[]
  /** Latchkey's API_KEY_SCHEMES: schemes of Authorization that carry a key besides Bearer and Basic. */
  apiKeySchemes?: readonly string[]
  /** Latchkey's PUBLIC_URL; by default the issuer that its metadata name. */
  issuer?: string
  /** Latchkey's JWT_AUDIENCE; by default the issuer. */
  audience?: string
  /**
   * true: Latchkey is also asked about users' tokens, which needs a key with `latchkey:introspect`. A token of an ended
   * session is then refused within `cacheSeconds`, and not only when it expires.
   */
  online?: boolean
  /**
   * How long an answer of Latchkey is used, positive or negative: 0 to 60, by default 5. A revocation takes effect here
   * within this time.
   */
  cacheSeconds?: number
  /** Milliseconds for one question to Latchkey, all tries together; by default 2,000. */
  timeLimitMs?: number
  /**
   * Is called with the reason where Latchkey could not be asked, and for a validly signed token of another issuer or
   * audience. The error names no credential.
   */
  onError?: (error: unknown) => void
}

/** What a route requires, and the client's address. Without an address, a key with `allowed_ips` is refused. */
export type Question = Need & { ip?: string | null | undefined }

export type Client = {
  /**
   * Verifies the credential of a request.
   * @param request any object with `headers`
   * @returns the caller, or a refusal. Where Latchkey cannot be asked, the refusal has the status 503.
   * @throws TypeError for an invalid question
   */
  authenticate<const N extends Question>(
    request: { headers: Headers },
    question?: Exactly<N, Question>,
  ): Promise<PrincipalOf<N> | Refusal>
  /**
   * The metadata of the resource (RFC 9728), for a service that answers them by itself at the place of the identifier.
   * @throws TypeError where the client has no `resource`; Error where Latchkey cannot answer or does not know the resource
   */
  metadata(): Promise<ResourceMetadata>
}

const MAX_ANSWERS = 10_000
const MAX_CACHE_SECONDS = 60

/**
 * Creates a client for a service that protects its own routes with Latchkey.
 * @throws TypeError for invalid options
 * @example
 * const client = createClient({ url: 'http://latchkey:8000', key: process.env.LATCHKEY_KEY })
 * const principal = await client.authenticate(request, { scopes: ['read'] })
 * if (principal.kind === 'refused') return toResponse(principal)
 */
export function createClient(options: ClientOptions): Client {
  const {
    key,
    resource,
    online = false,
    cacheSeconds = 5,
    timeLimitMs = 2_000,
    onError,
    issuer,
    audience,
    apiKeyHeaders = [],
    apiKeySchemes = [],
  } = options
  const url = readUrl(options.url)
  const keyNames = readKeyNames(apiKeyHeaders, apiKeySchemes)
  if (!(cacheSeconds >= 0 && cacheSeconds <= MAX_CACHE_SECONDS)) throw new TypeError('cacheSeconds is 0…60')
  if (!(timeLimitMs > 0)) throw new TypeError('timeLimitMs is positive')
  if (key === '') throw new TypeError('key is empty: leave it out, or set it')
  if (resource !== undefined && !/^https?:\/\//.test(resource))
    throw new TypeError('resource is the identifier of a resource, a URL')
  if (resource !== undefined && key === undefined) throw new TypeError('resource needs a key to ask with')
  if (online && key === undefined) throw new TypeError('online needs a key to ask with')

  const latchkey: Latchkey | null = key === undefined ? null : { url, key, timeLimitMs }
  const answers = createSharedAnswers(cacheSeconds * 1000, MAX_ANSWERS)
  const verifyToken = createTokenVerifier({ url, issuer, audience, timeLimitMs, onError })

  const verifyUser = async (token: string, genuine: UserPrincipal, need: Need) => {
    if (need.kind === 'key' || need.kind === 'client') return refuse('wrong_credential_kind')
    const user = online && latchkey ? await introspect(latchkey, answers, token, genuine) : genuine
    return user ? permitUser(user, need) : refuse('invalid_token')
  }
  const verify = async (token: string, ip: string | undefined, need: Need): Promise<Principal | Refusal> => {
    const genuine = isAccessToken(token) ? await verifyToken(token) : 'key'
    if (genuine === null) return refuse('invalid_token')
    if (genuine !== 'key' && genuine.kind === 'user') return verifyUser(token, genuine, need)
    // Decided before Latchkey is asked, so that a key that this route does not accept is not charged.
    const wantsUser = need.kind === 'user' || need.kind === 'client' || need.role !== undefined
    if (wantsUser || latchkey === null) {
      // A text that begins like a token is far more often a forged token than an imported key.
      const isForged = genuine === 'key' && token.startsWith('eyJ')
      return refuse(isForged ? 'invalid_token' : 'wrong_credential_kind')
    }
    if (need.mfa) return refuse('forbidden')
    return verifyKey(latchkey, answers, token, ip, need)
  }

  const verifyHere = async (token: string, here: string, ip: string | undefined, need: Need) => {
    const { kind, role, mfa } = need
    if (latchkey === null || kind === 'user' || role !== undefined) return refuse('wrong_credential_kind')
    // As above: before Latchkey is asked.
    const isToken = isAccessToken(token)
    if (!isToken || standsForKey(token)) {
      const isForged = !isToken && token.startsWith('eyJ')
      if (kind === 'client') return refuse(isForged ? 'invalid_token' : 'wrong_credential_kind')
      if (mfa) return refuse('forbidden')
    }
    const verdict = await verifyAtResource(latchkey, answers, token, here, ip, need)
    if (verdict.kind === 'refused') return verdict
    if (kind !== undefined && verdict.kind !== kind) return refuse('wrong_credential_kind')
    if (mfa && !(verdict.kind === 'client' && verdict.amr.includes('mfa'))) return refuse('forbidden')
    return verdict
  }
  const challenged = <V extends Principal | Refusal>(verdict: V, { scopes }: Need): V | Refusal =>
    resource !== undefined && verdict.kind === 'refused' ? challengeAt(resource, verdict, scopes) : verdict

  return {
    async metadata() {
      if (resource === undefined) throw new TypeError('This client has no resource')
      return fetchMetadata({ url, timeLimitMs }, resource)
    },
    async authenticate<N extends Question>(request: { headers: Headers }, question?: N) {
      const { ip, ...rest }: Question = requirePlain(question ?? {})
      const need = requireNeed(rest)
      try {
        const token = readCredential(request.headers, keyNames)
        const ask = (token: string) =>
          resource === undefined
            ? verify(token, ip || undefined, need)
            : verifyHere(token, resource, ip || undefined, need)
        const verdict = typeof token === 'string' ? await ask(token) : token
        return challenged(verdict, need) as PrincipalOf<N> | Refusal
      } catch (error) {
        onError?.(error)
        return refuse('unavailable')
      }
    },
  }
}

function permitUser(user: UserPrincipal, { role, mfa, scopes = [] }: Need): UserPrincipal | Refusal {
  if (role !== undefined && user.role !== role) return refuse('forbidden')
  if (mfa && !user.amr.includes('mfa')) return refuse('forbidden')
  const missing = user.role === 'admin' ? [] : scopes.filter((scope) => !user.scopes.includes(scope))
  return missing.length === 0 ? user : refuse('insufficient_scope', { missing })
}

/**
 * The URL without slashes at its end.
 * @throws TypeError where it is not a plain HTTP URL
 */
function readUrl(text: string): string {
  const { protocol, username, password, search, hash } = new URL(text)
  const isPlain = `${username}${password}${search}${hash}` === ''
  if (!/^https?:$/.test(protocol) || !isPlain)
    throw new TypeError('url is http(s)://host, and holds no credential')
  return text.replace(/(?<!\/)\/+$/, '')
}
