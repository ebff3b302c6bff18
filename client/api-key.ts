import { ask, type Latchkey } from './ask.ts'
import type { Need } from './need.ts'
import type { KeyPrincipal } from './principal.ts'
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
  const { credits, ownerCredits, rate, secretExpiresAt } = verdict
  const isCounted = credits !== null || ownerCredits !== null || rate !== null
  return !isCounted && (secretExpiresAt === null || secretExpiresAt.getTime() > Date.now())
}

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
  /** Missing: the server is of an earlier release, in which owners have no credits. */
  owner_credits?: { remaining: number } | null
  rate_limit: { limit: number; remaining: number; reset_at: string } | null
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
  const { expires_at, rate_limit } = answer
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
    rate: rate_limit && {
      limit: rate_limit.limit,
      remaining: rate_limit.remaining,
      resetAt: new Date(rate_limit.reset_at),
    },
  })
}
