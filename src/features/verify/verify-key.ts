import type { Context } from '../../context.ts'
import { failField } from '../../lib/errors.ts'
import { parseAddress } from '../../lib/ip.ts'
import { parseScopes } from '../../lib/scopes.ts'
import { admitKey } from './admit.ts'
import { chargeKey } from './credits.ts'
import type { KeyPrincipal } from './principal.ts'
import type { RateState } from './rates.ts'
import { recallCredential, verifyCredential } from './service.ts'

/** What another service asks of a key that was shown to it. */
export type Question = {
  key: string
  scopes?: string | string[] | null
  cost?: number | null
  ip?: string | null
}

/**
 * Whether a key is good for what it was shown for. The checks run in the order of API.md, and nothing is charged unless
 * all before passed. A token of a user, or of nobody, is NOT_FOUND like any other guess.
 * @throws Problem validation_failed for scopes or an address that are none
 */
export function verifyKey(context: Context, question: Question) {
  return answer(context, readQuestion(question, ''))
}

/**
 * The same for several, answered in order: of two questions about one key, the first is charged first.
 * @throws Problem validation_failed where one is wrong; nothing is charged then
 */
export async function verifyKeys(context: Context, questions: readonly Question[]) {
  const results: Awaited<ReturnType<typeof answer>>[] = []
  const read = questions.map((question, at) => readQuestion(question, `/keys/${at}`))
  for (const question of read) results.push(await answer(context, question))
  return results
}

type ReadQuestion = { key: string; scopes: string[]; cost: number; ip: string | null }

/** @param path of the question in the body, for what is wrong with it */
function readQuestion({ key, scopes: asked, cost, ip }: Question, path: string): ReadQuestion {
  const scopes = parseScopes(asked)
  if ('fault' in scopes) failField(`${path}/scopes`, scopes.fault)
  if (ip != null && !parseAddress(ip)) failField(`${path}/ip`, 'Must be an IP address')
  return { key, scopes, cost: cost ?? 1, ip: ip ?? null }
}

async function answer(context: Context, question: ReadQuestion) {
  const verdict = recallCredential(context, question.key) ?? (await verifyCredential(context, question.key))
  if (verdict.kind === 'refused') {
    if (verdict.code === 'NOT_FOUND' || verdict.keyId === undefined)
      return { valid: false, code: 'NOT_FOUND' }
    context.usage.count(verdict.keyId, verdict.code)
    return { valid: false, code: verdict.code, key_id: verdict.keyId }
  }
  if (verdict.kind !== 'key') return { valid: false, code: 'NOT_FOUND' }
  return judge(context, verdict, question)
}

async function judge(context: Context, key: KeyPrincipal, { scopes, cost, ip }: ReadQuestion) {
  const admission = await admitKey(context, key, ip, scopes)
  const refuse = (code: Parameters<Context['usage']['count']>[1], more: object = {}) => {
    context.usage.count(key.keyId, code)
    return { valid: false, code, key_id: key.keyId, ...more }
  }
  if (admission.code === 'IP_NOT_ALLOWED') return refuse(admission.code)
  if (admission.code === 'INSUFFICIENT_SCOPE')
    return refuse(admission.code, { missing_scopes: admission.missingScopes })
  if (admission.code === 'RATE_LIMITED') {
    return refuse(admission.code, { retry_after_seconds: admission.retryAfterSeconds })
  }
  const charge = key.hasCredits ? await chargeKey(context, key.keyId, cost) : null
  if (charge?.code === 'CREDITS_EXHAUSTED') {
    const { retryAfterSeconds } = charge
    return refuse(charge.code, retryAfterSeconds === null ? {} : { retry_after_seconds: retryAfterSeconds })
  }
  context.usage.count(key.keyId, 'VALID', key.secretId)
  return {
    valid: true,
    code: 'VALID',
    key_id: key.keyId,
    name: key.name,
    external_id: key.externalId,
    owner: { type: key.owner.type, id: key.owner.id },
    scopes: [...key.scopes],
    expires_at: key.secretExpiresAt?.toISOString() ?? null,
    metadata: key.metadata,
    credits: charge === null || charge.remaining === null ? null : { remaining: charge.remaining },
    rate_limit: admission.rate && presentRate(admission.rate),
  }
}

const presentRate = ({ limit, remaining, resetAtMs }: RateState) => ({
  limit,
  remaining,
  reset_at: new Date(resetAtMs).toISOString(),
})
