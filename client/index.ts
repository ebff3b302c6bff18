import { createTokenVerifier, introspect } from './access-token.ts'
import { verifyKey } from './api-key.ts'
import type { Latchkey } from './ask.ts'
import { isAccessToken, readCredential } from './credential.ts'
import { type Exactly, type Need, type PrincipalOf, requireNeed, requirePlain } from './need.ts'
import type { Principal, UserPrincipal } from './principal.ts'
import { type Refusal, refuse } from './refusal.ts'
import { createSharedAnswers } from './shared-answers.ts'

export type { Need, PrincipalOf } from './need.ts'
export type { KeyPrincipal, Principal, UserPrincipal } from './principal.ts'
export { type Refusal, type RefusalCode, toResponse } from './refusal.ts'

export type ClientOptions = {
  /** Where Latchkey is reached: `http://latchkey:8000`. */
  url: string
  /**
   * This service's own API key, with the scope `latchkey:verify`. Without one, users' access tokens are all that is
   * accepted.
   */
  key?: string | undefined
  /** Latchkey's PUBLIC_URL; what its metadata name unless given. */
  issuer?: string
  /** Latchkey's JWT_AUDIENCE; the issuer unless given. */
  audience?: string
  /**
   * Asks Latchkey about users' tokens too (the key needs `latchkey:introspect`): an ended session is then refused within
   * `cacheSeconds`, and not only when its token expires.
   */
  online?: boolean
  /** How old an answer of Latchkey's may be, good or bad: 0…60, 5 unless given. */
  cacheSeconds?: number
  /** For one question to Latchkey, all tries together: 2,000 unless given. */
  timeLimitMs?: number
  /**
   * Hears why Latchkey could not be asked, in the words of its refusal, and of a token that Latchkey signed for another
   * issuer or audience than this client expects. What it hears names no credential.
   */
  onError?: (error: unknown) => void
}

/** What a route asks for, and the client's address: a key that is bound to addresses is refused without one. */
export type Question = Need & { ip?: string | null | undefined }

export type Client = {
  /**
   * Who is asking, or why they may not go on: what cannot be decided is refused with 503.
   * @param request anything with `headers`
   * @throws TypeError for a need that is none
   */
  authenticate<const N extends Question>(
    request: { headers: Headers },
    question?: Exactly<N, Question>,
  ): Promise<PrincipalOf<N> | Refusal>
}

const MAX_ANSWERS = 10_000
const MAX_CACHE_SECONDS = 60

/**
 * A client for services that protect their own routes.
 * @throws TypeError for options that cannot work
 * @example
 * const client = createClient({ url: 'http://latchkey:8000', key: process.env.LATCHKEY_KEY })
 * const principal = await client.authenticate(request, { scopes: ['read'] })
 * if (principal.kind === 'refused') return toResponse(principal)
 */
export function createClient(options: ClientOptions): Client {
  const { key, online = false, cacheSeconds = 5, timeLimitMs = 2_000, onError, issuer, audience } = options
  const url = readUrl(options.url)
  if (!(cacheSeconds >= 0 && cacheSeconds <= MAX_CACHE_SECONDS)) throw new TypeError('cacheSeconds is 0…60')
  if (!(timeLimitMs > 0)) throw new TypeError('timeLimitMs is positive')
  if (key === '') throw new TypeError('key is empty: leave it out, or set it')
  if (online && key === undefined) throw new TypeError('online needs a key to ask with')

  const latchkey: Latchkey | null = key === undefined ? null : { url, key, timeLimitMs }
  const answers = createSharedAnswers(cacheSeconds * 1000, MAX_ANSWERS)
  const verifyToken = createTokenVerifier({ url, issuer, audience, timeLimitMs, onError })

  const judgeUser = async (token: string, genuine: UserPrincipal, need: Need) => {
    if (need.kind === 'key') return refuse('wrong_credential_kind')
    const user = online && latchkey ? await introspect(latchkey, answers, token, genuine) : genuine
    return user ? permitUser(user, need) : refuse('invalid_token')
  }
  const judge = async (token: string, ip: string | undefined, need: Need): Promise<Principal | Refusal> => {
    const genuine = isAccessToken(token) ? await verifyToken(token) : 'key'
    if (genuine === null) return refuse('invalid_token')
    if (genuine !== 'key' && genuine.kind === 'user') return judgeUser(token, genuine, need)
    // Before Latchkey is asked: a key that is of no use here is not charged.
    const wantsUser = need.kind === 'user' || need.role !== undefined
    if (wantsUser || latchkey === null) {
      // A token that is no whole one is far more often forged than an imported key.
      const isForged = genuine === 'key' && token.startsWith('eyJ')
      return refuse(isForged ? 'invalid_token' : 'wrong_credential_kind')
    }
    if (need.mfa) return refuse('forbidden')
    return verifyKey(latchkey, answers, token, ip, need)
  }

  return {
    async authenticate<N extends Question>(request: { headers: Headers }, question?: N) {
      const { ip, ...rest }: Question = requirePlain(question ?? {})
      const need = requireNeed(rest)
      try {
        const token = readCredential(request.headers)
        const verdict = typeof token === 'string' ? await judge(token, ip || undefined, need) : token
        return verdict as PrincipalOf<N> | Refusal
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

/** The address without a slash at its end. */
function readUrl(text: string): string {
  const { protocol, username, password, search, hash } = new URL(text)
  const isPlain = `${username}${password}${search}${hash}` === ''
  if (!/^https?:$/.test(protocol) || !isPlain)
    throw new TypeError('url is http(s)://host, and holds no credential')
  return text.replace(/(?<!\/)\/+$/, '')
}
