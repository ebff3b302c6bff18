import { failField } from '../../lib/errors.ts'
import { readClientAddress } from '../../lib/ip.ts'
import type { Context } from '../context.ts'
import type { KeyPrincipal, Principal, Refusal } from '../principal.ts'
import { useKey } from '../verify/use-key.ts'
import type { UseOutcome } from '../verify/use-key-here.ts'
import { verifyHashedKey, verifyTokenOfKey } from '../verify/verify-credential.ts'
import type { RegionAnswer, RegionQuestion } from './model.ts'

/**
 * Answers a verifier's question about a key, at home: decides by the present rows, counts, charges and records the use. The
 * verifier's address counts for nothing.
 * @throws Problem validation_failed for a credential that is both or neither
 */
export async function answerQuestion(context: Context, question: RegionQuestion): Promise<RegionAnswer> {
  const verdict = await verify(context, question)
  const { cost = null, scopes, entry_point: at, counts_rate: countsRate } = question
  const address = readClientAddress(question.ip)
  if (verdict.kind === 'refused') {
    const { code, keyId } = verdict
    if (code !== 'NOT_FOUND' && keyId !== undefined) context.usage.refuse(keyId, code, address)
    return { code }
  }
  if (verdict.kind !== 'key' || (verdict.resource?.identifier ?? null) !== (question.resource ?? null))
    return { code: 'NOT_FOUND' }
  // The uses of the copy are those of the key: they are one object.
  const key = countsRate ? verdict : { ...verdict, rates: null }
  return present(key, await useKey(context, key, { at, scopes, cost, address }))
}

function verify(context: Context, { credential }: RegionQuestion): Promise<Principal | Refusal> {
  const { hash, token } = credential
  if (hash !== undefined && token === undefined) return verifyHashedKey(context, Buffer.from(hash, 'hex'))
  if (hash !== undefined || token === undefined)
    failField('/credential', 'Must have hash or token, and not both')
  const { jti, sub, sid, aud, kid, scope, exp } = token
  return verifyTokenOfKey(context, {
    tokenId: jti,
    subject: sub,
    audience: aud,
    clientId: sub,
    sessionId: sid,
    isOfKey: true,
    isNarrowed: false,
    scopes: scope.split(' ').filter((name) => name !== ''),
    expiresAtMs: exp * 1000,
    keyId: kid,
  })
}

function present(key: KeyPrincipal, outcome: UseOutcome): RegionAnswer {
  switch (outcome.code) {
    case 'VALID': {
      const { rates, remainingCredits, remainingOwnerCredits } = outcome
      return {
        code: 'VALID',
        credits: remainingCredits ?? null,
        owner_credits: remainingOwnerCredits ?? null,
        rates:
          rates?.map(({ of, limit, remaining, resetAtMs }) => ({
            of,
            limit,
            remaining,
            reset_at: new Date(resetAtMs).toISOString(),
          })) ?? null,
        key: describeKey(key),
      }
    }
    case 'INSUFFICIENT_SCOPE':
      return { code: outcome.code, missing_scopes: outcome.missingScopes }
    case 'RATE_LIMITED': {
      const { limitedBy, limit, retryAfterSeconds } = outcome
      return { code: outcome.code, limited_by: limitedBy, limit, retry_after_seconds: retryAfterSeconds }
    }
    case 'CREDITS_EXHAUSTED': {
      const { limitedBy, refill, retryAfterSeconds } = outcome
      return {
        code: outcome.code,
        limited_by: limitedBy,
        limit: refill,
        retry_after_seconds: retryAfterSeconds,
      }
    }
    default:
      return { code: outcome.code }
  }
}

function describeKey({ name, externalId, metadata, scopes, endsAt, owner }: KeyPrincipal) {
  return {
    name,
    external_id: externalId,
    metadata,
    scopes: [...scopes],
    ends_at: endsAt?.toISOString() ?? null,
    owner:
      owner.type === 'user'
        ? {
            type: owner.type,
            id: owner.id,
            email: owner.email,
            email_verified: owner.emailVerified,
            role: owner.role,
          }
        : { type: owner.type, id: owner.id, name: owner.name },
  }
}
