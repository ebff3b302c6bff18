import { ask, type Latchkey } from './ask.ts'
import type { Need } from './need.ts'
import type { ClientPrincipal, KeyPrincipal, RateLimit } from './principal.ts'
import { type Refusal, refuse } from './refusal.ts'
import type { SharedAnswers } from './shared-answers.ts'

/** The longest credential that `/keys/verify` and `/verify` accept. */
export const MAX_LENGTH = 8192

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
    async () => readKey(await ask(latchkey, '/keys/verify', question, 'application/json')),
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
export function isLasting(verdict: KeyPrincipal | ClientPrincipal | Refusal): boolean {
  if (verdict.kind === 'client') return verdict.expiresAt.getTime() > Date.now()
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
  /** Missing in an answer of `/keys/verify`. */
  kind?: 'key' | 'user' | 'client'
}

/** What `/verify` answers of an app. */
type AnswerOfClient = {
  subject: string
  client_id: string
  grant_id: string
  scopes: string[]
  expires_at: string
  email?: string
  amr: string[]
  auth_time: number
}

const NO_ANSWER = 'Not an answer of /keys/verify or /verify'

/** @throws Error where the JSON is not an answer about a key */
function readKey(json: unknown): KeyPrincipal | Refusal {
  const verdict = readAnswer(json)
  if (verdict.kind === 'client') throw new Error(NO_ANSWER)
  return verdict
}

/** @throws Error where the JSON is not an answer of `/keys/verify`, or of `/verify` for a resource */
export function readAnswer(json: unknown): KeyPrincipal | ClientPrincipal | Refusal {
  const answer = json as Answer
  if (answer?.valid === true && answer.code === 'VALID')
    return answer.kind === 'client' ? readClient(json as AnswerOfClient) : readPrincipal(answer)
  if (answer?.valid !== false) throw new Error(NO_ANSWER)
  const retryAfterSeconds = answer.retry_after_seconds
  const more = retryAfterSeconds === undefined ? {} : { retryAfterSeconds }
  switch (answer.code) {
    case 'NOT_FOUND':
    case 'REVOKED':
    case 'EXPIRED':
    case 'DISABLED':
    case 'OWNER_DISABLED':
    case 'WRONG_RESOURCE':
      return refuse('invalid_token')
    case 'MFA_ENROLMENT_REQUIRED':
      return refuse('mfa_enrolment_required')
    case 'IP_NOT_ALLOWED':
      return refuse('ip_not_allowed')
    case 'INSUFFICIENT_SCOPE':
      return refuse('insufficient_scope', { missing: answer.missing_scopes ?? [] })
    case 'RATE_LIMITED':
      return refuse('rate_limited', more)
    case 'CREDITS_EXHAUSTED':
      return refuse('credits_exhausted', more)
    default:
      throw new Error('Not a code of /keys/verify or /verify')
  }
}

function readClient(answer: AnswerOfClient): ClientPrincipal {
  const { subject, client_id, grant_id, scopes, amr, auth_time, email = null } = answer
  const expiresAt = new Date(answer.expires_at)
  const areTexts = [subject, client_id, grant_id].every((text) => typeof text === 'string' && text !== '')
  if (!areTexts || !Array.isArray(scopes) || !Array.isArray(amr) || Number.isNaN(expiresAt.getTime()))
    throw new Error(NO_ANSWER)
  return Object.freeze({
    kind: 'client' as const,
    userId: subject,
    clientId: client_id,
    grantId: grant_id,
    scopes,
    email,
    amr,
    authTime: new Date(auth_time * 1000),
    expiresAt,
  })
}

function readPrincipal(answer: Answer): KeyPrincipal {
  // An answer without these members would be taken for one that counted nothing, and would be kept.
  if (answer.credits === undefined || answer.rate_limit === undefined || !Array.isArray(answer.scopes))
    throw new Error(NO_ANSWER)
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
