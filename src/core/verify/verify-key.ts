import { Problem } from '../../lib/errors.ts'
import { readClientAddress } from '../../lib/ip.ts'
import { requireScopes } from '../../lib/scopes.ts'
import { formatInstant } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { ownerOf } from '../owners.ts'
import type { KeyPrincipal, Principal, Refusal } from '../principal.ts'
import type { EntryPoint } from '../verifier/model.ts'
import type { VerifyRequest, VerifyResult } from './model.ts'
import { type RateState, tighterOf } from './rates.ts'
import { useKey } from './use-key.ts'
import { DEFAULT_COST, type UseOutcome } from './use-key-here.ts'
import { recallCredential, verifyCredential } from './verify-credential.ts'

/**
 * Verifies a key for the use that a service names, and counts the use. The checks run in the order of API.md, and
 * nothing is charged unless all of them pass. A user's access token is answered NOT_FOUND, as any unknown key.
 * @throws Problem validation_failed for scopes that cannot be read
 */
export function verifyKey(context: Context, question: VerifyRequest) {
  return answer(context, readQuestion(question, ''))
}

/**
 * Verifies several keys, one after the other: of two questions about one key, the first is charged first.
 * @throws Problem validation_failed where one question cannot be read; then nothing is charged
 */
export async function verifyKeys(context: Context, questions: readonly VerifyRequest[]) {
  const results: VerifyResult[] = []
  const read = questions.map((question, at) => readQuestion(question, `/keys/${at}`))
  if (context.region !== null) return answerInRegion(context, read)
  for (const question of read) results.push(await answer(context, question))
  return results
}

const UNAVAILABLE: VerifyResult = { valid: false, code: 'UNAVAILABLE' }

/**
 * The same in a region, where some keys are asked about at home: those of different keys at once, since each takes half a
 * second where home is late. An item about which home does not answer is UNAVAILABLE by itself.
 */
function answerInRegion(context: Context, questions: readonly ReadQuestion[]): Promise<VerifyResult[]> {
  const lastOf = new Map<string, Promise<VerifyResult>>()
  const results = questions.map((question) => {
    const before = lastOf.get(question.key) ?? Promise.resolve(null)
    const result = before
      .then(() => answer(context, question))
      .catch((error: unknown) => {
        if (error instanceof Problem && error.problem === 'unavailable') return UNAVAILABLE
        throw error
      })
    lastOf.set(question.key, result)
    return result
  })
  return Promise.all(results)
}

type ReadQuestion = { key: string } & Purpose
/** What a credential is to be used for. */
export type Purpose = { scopes: string[]; cost: number; ip: string | null }

/** @param path of the question in the body, for what is wrong with it */
function readQuestion({ key, ...purpose }: VerifyRequest, path: string): ReadQuestion {
  return { key, ...readPurpose(purpose, path) }
}

/** @throws Problem validation_failed for scopes that cannot be read */
export function readPurpose({ scopes: asked, cost, ip }: Omit<VerifyRequest, 'key'>, path: string): Purpose {
  const scopes = requireScopes(`${path}/scopes`, asked)
  // An address that cannot be read is an unknown one, which only a key that is bound to addresses refuses.
  return { scopes, cost: cost ?? DEFAULT_COST, ip: readClientAddress(ip) }
}

const NOT_FOUND: VerifyResult = { valid: false, code: 'NOT_FOUND' }

function answer(context: Context, question: ReadQuestion): VerifyResult | Promise<VerifyResult> {
  const known = recallCredential(context, question.key)
  return known
    ? decide(context, known, question)
    : verifyCredential(context, question.key).then((verdict) => decide(context, verdict, question))
}

function decide(
  context: Context,
  verdict: Principal | Refusal,
  question: ReadQuestion,
): VerifyResult | Promise<VerifyResult> {
  if (verdict.kind === 'refused') {
    if (verdict.code === 'NOT_FOUND' || verdict.keyId === undefined) return NOT_FOUND
    context.usage.refuse(verdict.keyId, verdict.code, question.ip)
    return { valid: false, code: verdict.code, key_id: verdict.keyId }
  }
  // A token for which a key was exchanged is good at its resource alone, and this question names none.
  if (verdict.kind !== 'key' || verdict.resource !== null) return NOT_FOUND
  return useForPurpose(context, verdict, 'keys_verify', question)
}

/** Uses a key that is good, and says what verify answers. */
export function useForPurpose(
  context: Context,
  key: KeyPrincipal,
  at: EntryPoint,
  { scopes, cost, ip }: Purpose,
): VerifyResult | Promise<VerifyResult> {
  const outcome = useKey(context, key, { at, scopes, cost, address: ip })
  return outcome instanceof Promise
    ? outcome.then((used) => presentOutcome(key, used))
    : presentOutcome(key, outcome)
}

/** What verify answers for the use of a key that is good. */
export function presentOutcome(key: KeyPrincipal, outcome: UseOutcome): VerifyResult {
  const refusal = { valid: false, code: outcome.code, key_id: key.keyId }
  switch (outcome.code) {
    case 'NOT_FOUND':
      return NOT_FOUND
    case 'REVOKED':
    case 'EXPIRED':
    case 'DISABLED':
    case 'OWNER_DISABLED':
    case 'IP_NOT_ALLOWED':
      return refusal
    case 'INSUFFICIENT_SCOPE':
      return { ...refusal, missing_scopes: outcome.missingScopes }
    case 'RATE_LIMITED':
      return {
        ...refusal,
        limited_by: outcome.limitedBy,
        retry_after_seconds: outcome.retryAfterSeconds,
      }
    case 'CREDITS_EXHAUSTED': {
      const seconds = outcome.retryAfterSeconds
      return {
        ...refusal,
        limited_by: outcome.limitedBy,
        ...(seconds === null ? {} : { retry_after_seconds: seconds }),
      }
    }
    case 'VALID':
      return presentUse(outcome.key ?? key, outcome)
  }
}

function presentUse(
  key: KeyPrincipal,
  { rates, remainingCredits, remainingOwnerCredits }: UseOutcome & { code: 'VALID' },
) {
  return {
    valid: true,
    code: 'VALID',
    key_id: key.keyId,
    name: key.name,
    external_id: key.externalId,
    owner: ownerOf(key),
    scopes: [...key.scopes],
    expires_at: formatInstant(key.endsAt),
    metadata: key.metadata,
    ...(remainingCredits !== undefined && { credits: presentRemaining(remainingCredits) }),
    ...(remainingOwnerCredits !== undefined && { owner_credits: presentRemaining(remainingOwnerCredits) }),
    rate_limit: presentRate(rates, ({ of }) => of !== 'owner'),
    owner_rate_limit: presentRate(rates, ({ of }) => of === 'owner'),
  }
}

const presentRemaining = (remaining: number | null) => (remaining === null ? null : { remaining })

/** What remains of some of a key's rates, by the tighter one; null: no limit. */
function presentRate(rates: readonly RateState[] | null, isShown: (rate: RateState) => boolean) {
  if (rates === null) return null
  const [first, ...others] = rates.filter(isShown)
  if (first === undefined) return null
  const { limit, remaining, resetAtMs, scope } = others.reduce(tighterOf, first)
  return { limit, remaining, reset_at: new Date(resetAtMs).toISOString(), ...(scope && { scope }) }
}
