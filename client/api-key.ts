import { ask, type Latchkey } from './ask.ts'
import type { Need } from './need.ts'
import type { KeyPrincipal } from './principal.ts'
import { type Refusal, refuse } from './refusal.ts'
import type { SharedAnswers } from './shared-answers.ts'

/** The longest that `/keys/verify` takes. */
const MAX_LENGTH = 8192

/**
 * Asks Latchkey about an API key, or a service account's access token, which stands for its key everywhere. The scopes
 * are asked along, so that a request that lacks one is not charged. An answer is kept under key and address; one that
 * counted the use, or that depends on the scopes asked, is not.
 * @param ip the client's address; a key that is bound to addresses is refused without one
 * @throws Error where Latchkey cannot say
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

/** Whether the next use of the same key from the same address gets the same answer, and nothing has to be counted. */
function isLasting(verdict: KeyPrincipal | Refusal): boolean {
  if (verdict.kind === 'refused') return verdict.code === 'invalid_token' || verdict.code === 'ip_not_allowed'
  const { credits, rate, secretExpiresAt } = verdict
  return (
    credits === null && rate === null && (secretExpiresAt === null || secretExpiresAt.getTime() > Date.now())
  )
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
  rate_limit: { limit: number; remaining: number; reset_at: string } | null
  missing_scopes?: string[]
  retry_after_seconds?: number
}

/** @throws Error for what is no answer of `/keys/verify` */
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
  // An answer without these would be taken for one that counts nothing.
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
    rate: rate_limit && {
      limit: rate_limit.limit,
      remaining: rate_limit.remaining,
      resetAt: new Date(rate_limit.reset_at),
    },
  })
}
