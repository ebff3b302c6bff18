import { ask, type Latchkey } from './ask.ts'
import type { Need } from './need.ts'
import type { KeyPrincipal, RateLimit } from './principal.ts'
import { type Refusal, refuse } from './refusal.ts'
import type { SharedAnswers } from './shared-answers.ts'

/** The longest credential that `/keys/verify` accepts. */
const MAX_LENGTH = 8192

/**
 * Asks Latchkey to verify an API key, or a service account's access token, which stands for a key. The question names
 * the required scopes, so that a request that lacks one is not charged. An answer is kept by key and address, unless it
 * counted the use or depends on the scopes of the question (docs/decisions/0013).
 * @param ip the client's address. Without it, a key with `allowed_ips` is refused.
 * @throws Error where Latchkey cannot answer
 */
export async function verifyKey(
  latchkey: Latchkey,
  answers: SharedAnswers,
  key: string,
  ip: string | undefined,
  need: Need,
): Promise<KeyPrincipal | Refusal> {
  if (key.length > MAX_LENGTH) return refuse('invalid_token')
  const { scopes = [], cost } = need
  const question = JSON.stringify({ key, scopes, ip, cost })
  const verdict = await answers.get(
    ['key', key, ip],
    async () => readAnswer(await ask(latchkey, '/keys/verify', question, 'application/json')),
    isLasting,
  )
  if (verdict.kind === 'refused') return verdict
  const missing = scopes.filter((scope) => !verdict.scopes.includes(scope))
  return missing.length === 0 ? verdict : refuse('insufficient_scope', { missing })
}

/**
 * Whether an answer also holds for the next use of the key from the same address. An answer that counted the use does
 * not: a kept answer would be a use that is not counted.
 */
function isLasting(verdict: KeyPrincipal | Refusal): boolean {
  if (verdict.kind === 'refused') return verdict.code === 'invalid_token' || verdict.code === 'ip_not_allowed'
  const { credits, ownerCredits, rateLimit, secretExpiresAt } = verdict
  const isCounted = credits !== null || ownerCredits !== null || rateLimit !== null
  return !isCounted && (secretExpiresAt === null || secretExpiresAt.getTime() > Date.now())
}

type WrittenRate = { limit: number; remaining: number; reset_at: string }

type Answer = {
  valid: boolean
  code: string
  key_id: string
  name: string | null
  external_id: string | null
  owner: KeyPrincipal['owner']
  scopes: string[]
  expires_at: string | null
  metadata: Record<string, unknown> | null
  credits: { remaining: number } | null
  /** Missing, like the owner's rate: the server is of an earlier release, in which owners have no limits. */
  owner_credits?: { remaining: number } | null
  rate_limit: WrittenRate | null
  owner_rate_limit?: WrittenRate | null
  missing_scopes?: string[]
  retry_after_seconds?: number
}

/** @throws Error where the JSON is not an answer of `/keys/verify` */
function readAnswer(json: unknown): KeyPrincipal | Refusal {
  const answer = json as Answer
  if (answer?.valid === true && answer.code === 'VALID') return readPrincipal(answer)
  if (answer?.valid !== false) throw new Error('Not an answer of /keys/verify')
  const retryAfterSeconds = answer.retry_after_seconds
  const more = retryAfterSeconds === undefined ? {} : { retryAfterSeconds }
  switch (answer.code) {
    case 'NOT_FOUND':
    case 'REVOKED':
    case 'EXPIRED':
    case 'DISABLED':
    case 'OWNER_DISABLED':
      return refuse('invalid_token')
    case 'IP_NOT_ALLOWED':
      return refuse('ip_not_allowed')
    case 'INSUFFICIENT_SCOPE':
      return refuse('insufficient_scope', { missing: answer.missing_scopes ?? [] })
    case 'RATE_LIMITED':
      return refuse('rate_limited', more)
    case 'CREDITS_EXHAUSTED':
      return refuse('credits_exhausted', more)
    default:
      throw new Error('Not a code of /keys/verify')
  }
}

function readPrincipal(answer: Answer): KeyPrincipal {
  // An answer without these members would be taken for one that counted nothing, and would be kept.
  if (answer.credits === undefined || answer.rate_limit === undefined || !Array.isArray(answer.scopes))
    throw new Error('Not an answer of /keys/verify')
  const { expires_at } = answer
  const rate = readRate(answer.rate_limit)
  return Object.freeze({
    kind: 'key' as const,
    keyId: answer.key_id,
    name: answer.name,
    owner: answer.owner,
    externalId: answer.external_id,
    metadata: answer.metadata,
    secretExpiresAt: expires_at === null ? null : new Date(expires_at),
    scopes: answer.scopes,
    credits: answer.credits,
    ownerCredits: answer.owner_credits ?? null,
    rate,
    rateLimit: tighterOf(rate, readRate(answer.owner_rate_limit ?? null)),
  })
}

const readRate = (rate: WrittenRate | null): RateLimit | null =>
  rate && { limit: rate.limit, remaining: rate.remaining, resetAt: new Date(rate.reset_at) }

/** The rate with fewer uses left, then the one with the later reset, then the key's: as Latchkey's own headers choose. */
function tighterOf(ofKey: RateLimit | null, ofOwner: RateLimit | null): RateLimit | null {
  if (ofKey === null || ofOwner === null) return ofKey ?? ofOwner
  if (ofKey.remaining !== ofOwner.remaining) return ofKey.remaining < ofOwner.remaining ? ofKey : ofOwner
  return ofOwner.resetAt > ofKey.resetAt ? ofOwner : ofKey
}
